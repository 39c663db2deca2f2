"""Figures show the numbers that they were given: read back from the drawn lines and areas."""

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from mialab import attacks, divergence
from mialab.chapters import plots
from mialab.metrics import Estimate


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


# One colour per thing


ATTACKS = [*attacks.ALL, *attacks.VARIANTS, "label-augmentation", "label-noise", "label-boundary"]
ATTACKS += ["gradient-weights", "gradient-input"]


@pytest.mark.parametrize("name", [*ATTACKS, "members", "non-members", "IN", "OUT", "guessing"])
def test_everything_that_figures_compare_has_a_look_of_its_own(name):
    assert set(plots.look(name)) == {"color", "marker", "linestyle"}
    assert plots.color(name) == plots.look(name)["color"]


def test_no_attack_has_the_members_or_the_non_members_colour():
    inks = {plots.color(name) for name in ATTACKS}
    assert not inks & {plots.MEMBER, plots.NONMEMBER, plots.GUIDE}


def test_shadows_with_a_record_have_the_members_colour_and_those_without_it_the_other():
    assert (plots.color("IN"), plots.color("OUT")) == (plots.color("members"), plots.color("non-members"))


@pytest.mark.parametrize(
    "compared",
    [
        ("gap", "confidence", "neural-published", "neural-per-class"),
        ("lira-online", "lira-offline", "lira-online-fixed", "lira-offline-fixed"),
        ("rmia-online", "rmia-offline"),
        ("confidence", "loss", "entropy", "modified-entropy"),
        ("shadow-shokri", "shadow-rahman", "shadow-thresholds"),
        ("nasr-paper", "nasr-code", "nasr-paper-x"),
        ("label-augmentation", "label-noise", "label-boundary"),
        ("gradient-weights", "gradient-input"),
    ],
)
def test_attacks_that_stand_in_one_figure_have_different_lines_and_dots(compared):
    looks = [plots.look(name) for name in compared]
    assert len({(look["color"], look["linestyle"]) for look in looks}) == len(compared)
    assert len({(look["color"], look["marker"], look["linestyle"] == "-") for look in looks}) > 1


def test_a_name_without_a_colour_is_refused_with_those_that_are_close():
    with pytest.raises(ValueError, match="unknown thing with a colour 'lera'; did you mean lira"):
        plots.color("lera")


def linear(color):
    parts = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE L*a*b* of linear sRGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(np.maximum(to_xyz @ rgb, 1e-6) / np.array([0.9505, 1, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# Machado, Oliveira and Fernandes (2009), severity 1
SIGHT = {
    "all cones": np.eye(3),
    "no red cones": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "no green cones": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
}


@pytest.mark.parametrize("eyes", SIGHT)
def test_two_colours_or_their_markers_are_told_apart_by_all_eyes(eyes):
    looks = {(ink, marker) for ink, marker, _ in [*plots.ATTACKS.values(), *plots.SIDES.values()]}
    for (ink, marker), (other, mark) in itertools.combinations(sorted(looks), 2):
        if ink != other and marker == mark:
            seen = [lab(np.clip(SIGHT[eyes] @ linear(each), 0, 1)) for each in (ink, other)]
            assert np.linalg.norm(seen[0] - seen[1]) > 12, (ink, other)


@pytest.mark.parametrize("eyes", SIGHT)
def test_members_and_non_members_are_far_apart_for_all_eyes(eyes):
    blue, vermilion = (lab(np.clip(SIGHT[eyes] @ linear(ink), 0, 1)) for ink in (plots.MEMBER, plots.NONMEMBER))
    assert np.linalg.norm(blue - vermilion) > 50


# Dots with intervals


ROWS = [
    {"target": "first", "attack": "gap", "auc": 0.6, "auc_low": 0.55, "auc_high": 0.66},
    {"target": "first", "attack": "lira-offline", "auc": 0.7, "auc_low": None, "auc_high": None},
    {"target": "second", "attack": "gap", "auc": None},
    {"target": "second", "attack": "mine", "auc": Estimate(0.5, 0.4, 0.6)},
]


def test_dots_stand_at_the_values_with_their_intervals(ax):
    plots.dots(ax, ROWS, value="auc", group="target", guessing=0.5, label="AUC")
    drawn = [list(line.get_xdata()) for line in ax.lines]
    assert drawn == [[0.55, 0.66], [0.6], [0.7], [0.4, 0.6], [0.5], [0.5, 0.5]]
    assert ax.get_xlabel() == "AUC"


def test_dots_are_named_grouped_in_order_and_read_from_the_top(ax):
    plots.dots(ax, ROWS, value="auc", group="target")
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["gap", "lira-offline", "gap", "mine"]
    assert [(text.get_text(), text.get_position()[1] < 2) for text in ax.texts] == [("first", True), ("second", False)]
    assert ax.get_yticks().tolist() == sorted(ax.get_yticks()) and ax.yaxis_inverted()


def test_an_attacks_dot_has_its_colour_and_marker_and_a_variants_is_hollow(ax):
    plots.dots(ax, ROWS, value="auc")
    gap, offline = ax.lines[1], ax.lines[2]
    assert gap.get_color() == plots.color("gap") and gap.get_marker() == plots.look("gap")["marker"]
    assert offline.get_color() == plots.color("lira-online") and offline.get_markerfacecolor() == "white"


def test_more_rows_and_groups_need_a_higher_figure():
    assert plots.dots_height(ROWS) < plots.dots_height(ROWS, group="target") < plots.dots_height(ROWS * 3)


def test_panels_stack_and_keep_the_width():
    figure = Figure(figsize=(4, 1))
    same, axes = plots.panels(2, height=2, figure=figure, sharex=True)
    assert same is figure and tuple(figure.get_size_inches()) == (4, 4)
    assert [ax.get_subplotspec().rowspan.start for ax in axes] == [0, 1]
    assert plots.panels(1, figure=Figure())[1][0].get_subplotspec() is not None


def test_the_sides_of_shadows_are_named_in_and_out(ax):
    plots.histograms(ax, np.array([0.0, 1.0]), np.array([True, False]), names=("IN", "OUT"))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["IN", "OUT"]


def test_curves_of_attacks_have_the_attacks_colours(ax):
    plots.curves(ax, [{"epoch": 1, "a": 0.5, "b": 0.6}], "epoch", {"a": "rmia-online", "b": "members"}, ylabel="AUC")
    assert [line.get_color() for line in ax.lines] == [plots.color("rmia-online"), plots.MEMBER]
