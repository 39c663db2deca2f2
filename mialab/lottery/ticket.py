"""The construction of Theorem 1: each layer of f becomes two layers of random weights, most of them pruned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mialab.lottery.networks import Matrices, Signed, bounded
from mialab.lottery.subset_sum import nearest
from mialab.seeds import derive

MOST = 24  # random weights per weight: a layer of a million weights takes minutes with as many
_ROWS = 256  # samples that are answered at a time


@dataclass(frozen=True, eq=False)
class Layer:
    """Two layers of g in place of one of f, without what is pruned anyway: a bunch of neurons per input coordinate.

    entering: float64 [in, bunch], the one incoming weight that a neuron keeps, from the bunch's coordinate; 0 where no
    neuron was left for the place. leaving: float64 [out, in, bunch], the neurons' outgoing weights; kept: bool, those
    of them that are kept. neuron: int [in, bunch], the neuron's number in the random network, which has in * bunch.
    """

    entering: np.ndarray
    leaving: np.ndarray
    kept: np.ndarray
    neuron: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """What the two masked layers answer, [batch, in] to [batch, out]."""
        hidden = np.maximum(x[:, :, None] * self.entering, 0)
        masked = np.where(self.kept, self.leaving, 0.0)
        return hidden.reshape(len(x), -1) @ masked.reshape(len(masked), -1).T

    @property
    def signed(self) -> tuple[np.ndarray, np.ndarray]:
        """The weights that it amounts to, both [out, in]: y = plus @ relu(x) - minus @ relu(-x)."""
        products = np.where(self.kept, self.leaving * np.abs(self.entering), 0.0)
        plus, minus = (np.where(side, products, 0.0).sum(axis=2) for side in (self.entering > 0, self.entering < 0))
        return plus, -minus

    @property
    def used(self) -> np.ndarray:
        """The neurons that are left, bool [in, bunch]: those with an outgoing weight."""
        return np.logical_or.reduce(self.kept, axis=0)

    @property
    def weights(self) -> tuple[int, int]:
        """How many weights are kept, and how many the two random layers have."""
        out, entries, bunch = self.leaving.shape
        return int(self.kept.sum() + self.used.sum()), entries * bunch * (entries + out)


@dataclass(frozen=True, eq=False)
class Ticket:
    """A masked random network g of 2n layers (Eq. 6) that answers about as a network f of n layers does.

    factor: what its answers are multiplied by, as its weights are bounded and f's need not be (`bounded`).
    """

    layers: tuple[Layer, ...]
    factor: float
    seed: int

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The masked network's answers, [batch, in] to [batch, out], times the factor."""
        return np.concatenate([self._answers(x[start : start + _ROWS]) for start in range(0, len(x), _ROWS)])

    def _answers(self, x: np.ndarray) -> np.ndarray:
        for number, layer in enumerate(self.layers):
            x = layer(np.maximum(x, 0) if number else x)
        return self.factor * x

    @property
    def signed(self) -> Signed:
        """The weights that it amounts to, without the factor."""
        return [layer.signed for layer in self.layers]

    @property
    def weights(self) -> tuple[int, int]:
        """How many weights are kept, and how many the random network has."""
        kept, drawn = zip(*(layer.weights for layer in self.layers), strict=True)
        return sum(kept), sum(drawn)

    def matrices(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """g and its masks P as the paper has them: 2n pairs of weights [out, in] in [-1, 1] and of bools.

        All weights are there, the pruned ones too, so that this is for small networks.
        """
        return [matrix for number, layer in enumerate(self.layers) for matrix in _dense(layer, self.seed, number)]


def find(matrices: Matrices, per_weight: int, *, seed: int) -> Ticket:
    """Draw a random network and find in it the subnetwork that answers as the given one does (Theorem 1).

    matrices: f, as in `answers`; where weights exceed 1/2 it is scaled first (`bounded`). per_weight: random numbers
    among which a subset is chosen for each weight of f, from 1 to 24. All weights of g are drawn independently and
    uniformly on [-1, 1], before anything is chosen. Of m inputs the first random layer has 2 m per_weight neurons; in
    place of f's later layers it has m per_weight.

    The gadget is w x = w relu(x) - w relu(-x). A neuron that keeps one incoming weight a > 0 gives a relu(x), one with
    a < 0 |a| relu(-x). So each coordinate gets a bunch of neurons of either sort, and for each weight w of f one subset
    of the first sort is kept whose products a b sum to about w (b the outgoing weight), and one of the second whose
    |a| b sum to about -w. Behind a layer of f inputs are never negative, and the first sort is enough. Which coordinate
    a neuron serves is the mask's choice, by the signs of its incoming weights.

    Such a product is not uniform: its density is -log|z| / 2 on [-1, 1], high near 0. That suffices for the lemma, as
    the density is at least log(2) / 2 on [-1/2, 1/2]. Nor are all sums independent: the weights of f that leave one
    coordinate share the a's of its bunch; each has its own b's. Explained in the chapter "The lottery".

    Raises ValueError for another per_weight, or a network that is none.
    """
    if not 1 <= per_weight <= MOST:
        raise ValueError(f"per_weight must be from 1 to {MOST}, not {per_weight}")
    small = bounded(matrices)
    layers = []
    for number, matrix in enumerate(small.matrices):
        signs = (1, -1) if number == 0 else (1,)
        drawn = _entering(matrix.shape[1], len(signs) * per_weight, seed, number)
        neuron = _bunches(drawn, np.repeat(signs, per_weight))
        entering = np.where(neuron < 0, 0.0, drawn[neuron, np.arange(matrix.shape[1])[:, None]])
        leaving = _leaving(len(matrix), len(drawn), seed, number)[:, neuron]
        kept = np.zeros(leaving.shape, dtype=bool)
        for sign in signs:
            _choose(kept, sign * matrix, entering, leaving, sign)
        layers.append(Layer(entering, leaving, kept, neuron))
    return Ticket(tuple(layers), small.factor, seed)


def _entering(entries: int, bunch: int, seed: int, number: int) -> np.ndarray:
    """All weights of g's odd layer, [in * bunch, in]."""
    return np.random.default_rng(derive(seed, "entering", number)).uniform(-1, 1, (entries * bunch, entries))


def _leaving(out: int, neurons: int, seed: int, number: int) -> np.ndarray:
    """All weights of g's even layer, [out, in * bunch]."""
    return np.random.default_rng(derive(seed, "leaving", number)).uniform(-1, 1, (out, neurons))


def _bunches(drawn: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Which neuron fills each place of a bunch, int [in, bunch]; -1 where none is left.

    Neuron after neuron goes where most places of the sign of its incoming weight are free. Of many coordinates one
    nearly always has a place for it, so that the last few places alone may stay empty.
    """
    entries = drawn.shape[1]
    places = {sign: np.flatnonzero(signs == sign) for sign in np.unique(signs)}
    free = np.stack([np.full(entries, len(places.get(sign, ()))) for sign in (-1, 1)])
    neuron = np.full((entries, len(signs)), -1)
    coordinates = np.arange(entries)
    for number, positive in enumerate((drawn > 0).astype(np.int8)):
        fitting = free[positive, coordinates]
        at = int(fitting.argmax())
        if left := int(fitting[at]):
            sign = 1 if positive[at] else -1
            neuron[at, places[sign][-left]] = number
            free[positive[at], at] -= 1
    return neuron


def _choose(kept: np.ndarray, targets: np.ndarray, entering: np.ndarray, leaving: np.ndarray, sign: int) -> None:
    """Mark in `kept` the outgoing weights of neurons of one sign whose products sum to the targets [out, in].

    Coordinates whose bunches have equally many neurons of this sign are done together.
    """
    fits = sign * entering > 0
    counts = fits.sum(axis=1)
    first = np.argsort(~fits, axis=1, kind="stable")  # the places of this sign's neurons, then the others
    for count in np.unique(counts[counts > 0]):
        bunches = np.flatnonzero(counts == count)
        rows, places = bunches[:, None], first[bunches, :count]
        products = leaving[:, rows, places] * np.abs(entering[rows, places])
        found = nearest(targets[:, bunches].ravel(), products.reshape(-1, count))
        kept[:, rows, places] = found.chosen.reshape(products.shape)


def _dense(layer: Layer, seed: int, number: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The two random matrices of a layer and their masks."""
    out, entries, bunch = layer.leaving.shape
    entering = _entering(entries, bunch, seed, number)
    leaving = _leaving(out, entries * bunch, seed, number)
    coordinate, place = np.nonzero(layer.used)
    own = np.zeros(entering.shape, dtype=bool)
    own[layer.neuron[coordinate, place], coordinate] = True
    kept = np.zeros(leaving.shape, dtype=bool)
    kept[:, layer.neuron[coordinate, place]] = layer.kept[:, coordinate, place]
    return [(entering, own), (leaving, kept)]
