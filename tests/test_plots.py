"""Figures show the numbers that they were given: read back from the drawn lines and areas."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from mialab import divergence
from mialab.chapters import plots


@pytest.fixture
def ax():
    return Figure().subplots()


def outline(collection):
    """The corners of a filled area: float [corners, 2]."""
    return collection.get_paths()[0].vertices


def test_shares_are_the_best_attack_on_the_binned_scores_whatever_the_numbers_of_the_sides(ax):
    scores = np.repeat([0.0, 0.5, 1.0], [10, 40, 50])
    member = np.repeat([True, False, True, False, True], [2, 8, 10, 30, 50])
    plots.shares(ax, scores, member, bins=3)
    (stairs,) = ax.patches
    values, edges, _ = stairs.get_data()
    p, q = np.array([2, 10, 50]) / 62, np.array([8, 30, 0]) / 38
    assert np.allclose(values, divergence.optimal_attack(p, q))
    assert edges[0] == 0 and edges[-1] == pytest.approx(1)


def test_shares_leave_a_gap_where_no_score_falls(ax):
    plots.shares(ax, np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 1, 0, 1]), bins=3)
    values = ax.patches[0].get_data().values
    assert np.isnan(values[1]) and np.allclose(values[[0, 2]], 0.5)


def test_the_cross_ends_on_the_bounds_of_divergence_and_accuracy(ax):
    js, accuracy = 0.1, 0.66
    plots.allowed(ax, js=js, accuracy=accuracy)
    lines = {tuple(map(tuple, line.get_xydata())) for line in ax.lines if len(line.get_xydata()) <= 2}
    low, high = divergence.accuracy_bounds(js)
    least, most = divergence.js_at_least(accuracy), np.log(2) * (2 * accuracy - 1)
    wanted = (((js, low), (js, high)), ((least, accuracy), (most, accuracy)), ((js, accuracy),))
    assert len(lines) == 3 and all(any(np.shape(w) == np.shape(x) and np.allclose(w, x) for x in lines) for w in wanted)


def test_known_pairs_fall_into_the_shaded_region_and_below_pinsker(ax):
    plots.allowed(ax)
    (region,), (pinsker,) = ax.collections, ax.lines
    path = region.get_paths()[0]
    for mean in (0.5, 1.0, 2.0):
        nodes = divergence.on_nodes(divergence.Mixture((mean,), (1.0,)), divergence.Mixture((0.0,), (2.0,)))
        js, best = divergence.js(nodes.p, nodes.q), divergence.optimal_accuracy(nodes.p, nodes.q)
        assert path.contains_point((js, best))
        assert best < np.interp(js, *pinsker.get_data())
    assert not path.contains_point((0.1, 0.9)) and not path.contains_point((0.6, 0.8))


def test_members_density_is_named_and_drawn_from_p(ax):
    places, p, q = np.array([0.0, 1.0, 2.0]), np.array([0.0, 3.0, 0.0]), np.array([0.0, 1.0, 0.0])
    plots.densities(ax, places, p, q)
    heights = {area.get_label(): outline(area)[:, 1].max() for area in ax.collections}
    assert heights == {"members": 3, "non-members": 1}
    assert ax.get_ylim()[0] == 0


def test_answers_are_drawn_beside_a_coins(ax):
    plots.answers(ax, np.array([0.0, 1.0]), np.array([0.2, 0.9]), label="confidence")
    assert [0.2, 0.9] in [list(line.get_ydata()) for line in ax.lines]
    assert [0.5, 0.5] in [list(line.get_ydata()) for line in ax.lines]
    assert ax.get_xlabel() == "confidence"
