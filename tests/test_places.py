"""The committed list of the ensemble paper's data sets and networks, and the figures that are drawn from it."""

from dataclasses import replace

import pytest
import torch
from experiment_cases import made
from PIL import Image

from mialab import experiments, models, splits
from mialab.cells.agreed import Agreed
from mialab.cells.attacked import Attacked
from mialab.cells.rescaled import Rescaled
from mialab.data import known, streams
from mialab.engine.store import closure
from mialab.experiments import ensemble
from mialab.experiments.ensemble_places import FULL, OURS, PAPER, places
from mialab.experiments.other_ensembles import VIEWS
from mialab.training import Cyclic, Phase, Steps

NAMED_DATA = {  # section 4.1
    *("adult", "purchase100", "texas100", "mnist", "fashion-mnist", "svhn", "cifar10", "cifar100", "imagenet"),
}
BESIDE = {"location30"}  # not the paper's: free to download, and trained in a minute
NAMED_NETWORKS = {"tabular", "alexnet", "resnet20", "densenet100"}  # 4.1, captions, and the released models
NAMED_PAIRS = {  # captions of Figures 1 to 3, sections 4.1 and 4.2, and the released models
    *(("adult", "tabular"), ("purchase100", "tabular"), ("texas100", "tabular")),
    *(("cifar10", "alexnet"), ("cifar10", "resnet20"), ("cifar10", "densenet100")),
    *(("cifar100", "alexnet"), ("cifar100", "resnet20")),
}
OUR_PAIRS = {  # what the paper leaves open and its figures need
    *(("mnist", "lenet5"), ("fashion-mnist", "lenet5"), ("svhn", "alexnet"), ("svhn", "resnet20")),
    *(("svhn", "densenet100"), ("cifar100", "densenet100"), ("imagenet", "resnet18")),
}
FIGURES = {
    7: {"svhn", "cifar10"},
    8: {"cifar100", "imagenet"},
    9: {"adult", "purchase100", "texas100", "mnist", "fashion-mnist"} | BESIDE,
}


def of_paper(name):
    return experiments.get(name).grid("paper", seeds=(0,))


@pytest.mark.parametrize("figure", [4, 6])
def test_every_data_set_and_network_that_the_paper_names_has_a_cell_at_preset_paper(figure):
    columns = [cell.columns() for cell in of_paper(f"ensemble/figure{figure}")]
    assert {each["data"] for each in columns} == NAMED_DATA | BESIDE
    assert {each["model"] for each in columns} >= NAMED_NETWORKS
    assert {(each["data"], each["model"]) for each in columns} >= NAMED_PAIRS | OUR_PAIRS


@pytest.mark.parametrize("figure", FIGURES)
def test_figures_7_to_9_have_their_data_sets(figure):
    assert {cell.columns()["data"] for cell in of_paper(f"ensemble/figure{figure}")} == FIGURES[figure]


def test_what_is_ours_in_the_list_is_marked_so():
    assert len({(place.data, place.model) for place in FULL}) == len(FULL)
    for place in FULL:
        assert place.source == (PAPER if (place.data, place.model) in NAMED_PAIRS else OURS)
        stated = (place.data, place.model) == ("cifar10", "alexnet")
        assert place.epochs_source == (PAPER if stated else OURS)
        assert set(place.epochs) <= set(place.target.epochs)
    assert next(p for p in FULL if p.epochs_source == PAPER).epochs == (5, 45, 90)


def test_every_place_has_a_network_that_fits_its_data():
    for preset in experiments.PRESETS:
        for place in places(preset):
            size = known.known(place.data)
            assert models.multiply_adds(place.model, size.shape, size.classes) > 0


def test_the_figures_share_their_cells():
    first, others = set(of_paper("ensemble/figure6")), ("figure3", "figure7", "figure8", "figure9", "figure4")
    for name in others:
        audits = {cell for cell in of_paper(f"ensemble/{name}") if isinstance(cell, Attacked)}
        ends = {place.epochs for place in FULL}
        kept = {cell for cell in audits if cell.choice == "random" and any(cell.epoch in epochs for epochs in ends)}
        named = {cell for cell in kept if cell.target != ensemble.CIFAR10 or cell.epoch in (5, 45, 90)}
        assert named and named <= first, name
    trained = {cell.pipeline for cell in closure(of_paper("ensemble/figure1")) if not cell.needs()}
    again = {cell.pipeline for cell in closure(of_paper("ensemble/figure3")) if not cell.needs()}
    assert trained == again and len(trained) == 1, "one training serves Figures 1 and 3"


def test_each_epoch_of_figure_3_has_its_levels_and_the_attack_on_one_and_on_ten():
    cells = of_paper("ensemble/figure3")
    for epoch in ensemble.CIFAR10.epochs:
        own = [cell for cell in cells if cell.epoch == epoch]
        assert sum(isinstance(cell, Agreed) for cell in own) == 1
        assert sorted(cell.size for cell in own if isinstance(cell, Attacked)) == [1, 10]


def test_figure_4_audits_random_ensembles_of_each_size_and_the_first_models_with_and_without_their_answers():
    own = [cell for cell in of_paper("ensemble/figure4") if cell.columns()["data"] == "adult"]
    found = {(cell.size, cell.choice, cell.white_box) for cell in own}
    sizes = [(size, "random") for size in (1, 2, 5, 10)] + [(size, "first") for size in (1, 2, 5)]
    assert found == {(*each, view) for each in sizes for view in (False, True)}
    for cell in own:
        if cell.choice == "random":
            assert sorted(k for subset in cell._subsets() for k in subset) == list(range(10)), "each model once"


def test_imagenet_s_path_trains_a_resnet_18_from_files_and_answers_as_many_members_as_asked(tmp_path, monkeypatch):
    """The very place, its files few and small and its training short."""
    images = torch.randint(0, 256, (8, 3, 40, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    _planted(tmp_path, images)
    folder = streams.folder(tmp_path, name="imagenet", size=32)
    monkeypatch.setattr("mialab.cells.pipeline._load", lambda name, samples, seed: folder)
    place = next(place for place in FULL if place.data == "imagenet")
    pipeline = place.target.pipeline
    assert pipeline.start is None and pipeline.arrangement == splits.Arrangement(audited=50_000), "from random weights"
    short = Phase(replace(pipeline.last.recipe, epochs=1, batch=4))
    few = replace(pipeline, phases=(short,), arrangement=splits.Arrangement(audited=2))
    cell = made(replace(place.target, pipeline=few, epochs=(1,)))
    assert cell.arrays["logits_1"].shape == (1, 4, 2)
    assert cell.arrays["member"].tolist() == [True, True, False, False]


def _planted(path, images):
    for number, image in enumerate(images):
        part, name = ("train", number // 3) if number < 6 else ("val", number - 6)
        folder = path / part / f"class{name}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number}.JPEG")


def test_of_imagenet_as_many_members_are_audited_as_there_are_others():
    place = next(place for place in FULL if place.data == "imagenet")
    trained, members, nonmembers = place.target.pipeline.row_counts
    assert (trained, members, nonmembers) == (1_281_167, 50_000, 50_000)


# Figures 10 to 13


def test_figure_10_is_drawn_on_all_data_and_networks_for_each_rule_and_size():
    cells = of_paper("ensemble/figure10")
    audits = [cell for cell in cells if isinstance(cell, Attacked)]
    assert {(cell.columns()["data"], cell.columns()["model"]) for cell in audits} >= NAMED_PAIRS | OUR_PAIRS
    rules = ("confidence", "logit", "raw-logit")
    black = {(rule, size, False) for rule in rules for size in (1, 2, 5, 10)}
    own = {(cell.fusion, cell.size, cell.white_box) for cell in audits if cell.columns()["data"] == "adult"}
    assert own == black | {("confidence", 10, True), ("logit", 10, True)}
    rescaled = [cell for cell in cells if isinstance(cell, Rescaled)]
    assert {cell.columns()["data"] for cell in rescaled} == NAMED_DATA | BESIDE
    assert {cell.audit.fusion for cell in rescaled} == {"confidence", "logit"}


def test_figures_11_and_13_have_their_data_sets_and_figure_12_those_of_its_source():
    for figure, data in ((11, {"cifar10", "cifar100", "svhn"}), (12, {"cifar10", "cifar100"})):
        cells = of_paper(f"ensemble/figure{figure}")
        assert {cell.columns()["data"] for cell in cells} == data
        assert {(cell.size, cell.white_box) for cell in cells} == {(k, view) for k in (1, 2, 5, 10) for view in VIEWS}
    assert {cell.columns()["data"] for cell in of_paper("ensemble/figure13")} == {"cifar10", "cifar100", "svhn"}
    assert {cell.fusion for cell in of_paper("ensemble/figure11")} == {"weighted"}


def test_figure_12_takes_the_last_snapshots_of_one_training_of_500_epochs_that_restarts_each_50():
    for cell in of_paper("ensemble/figure12"):
        recipe = cell.target.pipeline.last.recipe
        assert (recipe.epochs, recipe.schedule) == (500, Cyclic(10))
        assert (cell.choice, cell.target.count) == ("first", 10)


def test_figure_13_trains_each_number_of_backbones_anew_as_the_paper_states():
    cells = of_paper("ensemble/figure13")
    assert {cell.target.count for cell in cells} == {1, 2, 5, 10}
    for cell in cells:
        target, recipe = cell.target, cell.target.pipeline.last.recipe
        assert (recipe.epochs, recipe.schedule, recipe.optimizer) == (60, Steps((20, 40), 0.1), "sgd")
        assert cell.size == target.count
        assert target.weight == (0.001 if cell.columns()["data"] == "cifar100" else 0.01)
