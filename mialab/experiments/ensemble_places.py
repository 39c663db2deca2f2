"""Which networks on which data sets the ensemble paper's figures are drawn for, and how they are trained.

The paper names nine data sets and, of its networks, the tabular one, AlexNet, ResNet-20 and DenseNet-100. Which of
them it trained on which data, it says for a few pairs only (sections 4.1 and 4.2, the captions of Figures 1 to 3), and
epochs for AlexNet on CIFAR-10 alone (Figure 1). All that is ours is marked so. Other networks of the same family, such
as "vgg16", "preresnet110", "wrn28_10" or "resnext29", are built by their names; no figure asks for them.

Recipes are those of the implementation that the paper points to, cut after 90 epochs, unless a comment says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mialab.cells.models import Models
from mialab.cells.pipeline import Pipeline
from mialab.experiments.basics import ALEXNET, CIFAR10, DIGITS, TEXTURES
from mialab.splits import Arrangement
from mialab.training import Phase, Recipe, Steps

PAPER, OURS = "paper", "our choice"
OFFICIAL = Arrangement()  # the training set against the test set


@dataclass(frozen=True)
class Place:
    """Ten of these models make an ensemble.

    target: the cell of the first model. epochs: after which the ensemble is looked at. source: "paper" where it names
    this network on these data, else "our choice"; epochs_source: the same of the epochs. figure: the one of Figures 7,
    8 and 9 that shows the data set.
    """

    target: Models
    epochs: tuple[int, ...]
    source: str
    epochs_source: str
    figure: int

    @property
    def data(self) -> str:
        """The name of the data set."""
        return self.target.data

    @property
    def model(self) -> str:
        """The name of the architecture."""
        return self.target.pipeline.model


# Shokri et al. 2017 have 100 to 200 epochs at a rate of 0.001; Adam and the batch are our choice.
TABULAR = Recipe(epochs=100, batch=128, optimizer="adam", lr=1e-3)
# As the authors' earlier work trains its LeNet on MNIST, but for Adam's own betas.
LENET = Recipe(epochs=40, batch=64, optimizer="adam", lr=1e-3)
RESNET = replace(ALEXNET, lr=0.1, weight_decay=1e-4)
# The implementation cuts DenseNet's rate after 150 and 225 epochs, not within 90; to cut as for ResNet is our choice.
DENSENET = replace(RESNET, batch=64)
IMAGENET = Recipe(epochs=90, batch=256, lr=0.1, weight_decay=1e-4, schedule=Steps((31, 61)), augment=("crop", "flip"))
PHOTOGRAPHS = replace(IMAGENET, batch=64)
AUDITED = 50_000  # of ImageNet's members, as many as there are others: our choice, as answers take 4 kB a sample


def _place(
    data: str,
    model: str,
    recipe: Recipe,
    epochs: tuple[int, ...],
    source: str,
    figure: int,
    *,
    arrangement: Arrangement = OFFICIAL,
) -> Place:
    pipeline = Pipeline(data, model, (Phase(recipe),), arrangement=arrangement)
    return Place(Models(pipeline, epochs), epochs, source, OURS, figure)


def _unflipped(recipe: Recipe) -> Recipe:
    """A mirrored digit is no digit."""
    return replace(recipe, augment=("crop",))


SHORT, LONG = (5, 20, 40), (5, 45, 90)
RELEASED = (5, 25, 45, 90)  # 25: the epoch of the networks that the authors released

FULL = (
    _place("adult", "tabular", TABULAR, (5, 30, 100), PAPER, 9),
    _place("purchase100", "tabular", TABULAR, (5, 30, 100), PAPER, 9),
    _place("texas100", "tabular", TABULAR, (5, 30, 100), PAPER, 9),
    # Not in the paper: a small table of the same kind as Purchase-100, free to download and trained in a minute.
    _place("location30", "tabular", TABULAR, (5, 30, 100), OURS, 9),
    _place("mnist", "lenet5", LENET, SHORT, OURS, 9),
    _place("fashion-mnist", "lenet5", LENET, SHORT, OURS, 9),
    _place("svhn", "alexnet", _unflipped(ALEXNET), LONG, OURS, 7),
    _place("svhn", "resnet20", _unflipped(RESNET), RELEASED, OURS, 7),
    _place("svhn", "densenet100", _unflipped(DENSENET), LONG, OURS, 7),
    Place(CIFAR10, LONG, PAPER, PAPER, 7),
    _place("cifar10", "resnet20", RESNET, RELEASED, PAPER, 7),  # named by the released models
    _place("cifar10", "densenet100", DENSENET, LONG, PAPER, 7),
    _place("cifar100", "alexnet", ALEXNET, LONG, PAPER, 8),
    _place("cifar100", "resnet20", RESNET, RELEASED, PAPER, 8),
    _place("cifar100", "densenet100", DENSENET, LONG, OURS, 8),
    # From scratch, since ten random initialisations are needed: our choice.
    _place("imagenet", "resnet18", IMAGENET, LONG, OURS, 8, arrangement=Arrangement(audited=AUDITED)),
)
# Stand-ins, under their own names: textures for images, digits for tables. `course` has CIFAR and ten classes of
# photographs, which are read from files as ImageNet's are.
SMALL = (
    Place(TEXTURES, (4, 12, 24), OURS, OURS, 7),
    Place(TEXTURES, (4, 12, 24), OURS, OURS, 8),
    Place(DIGITS, (5, 15, 60), OURS, OURS, 9),
)
MEDIUM = (
    Place(CIFAR10, LONG, PAPER, PAPER, 7),
    _place("cifar100", "alexnet", ALEXNET, LONG, PAPER, 8),
    _place("tiny-imagenet-10", "resnet18", PHOTOGRAPHS, LONG, OURS, 8),
    Place(DIGITS, (5, 15, 60), OURS, OURS, 9),
)
PLACES = {"smoke": SMALL, "course": MEDIUM, "paper": FULL}


def places(preset: str, *, figure: int | None = None) -> tuple[Place, ...]:
    """The places of a preset, each training once; of one of Figures 7, 8 and 9 alone if it is named."""
    chosen = {place.target: place for place in PLACES[preset] if figure in (None, place.figure)}
    return tuple(chosen.values())
