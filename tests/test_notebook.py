import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from mialab import metrics
from mialab.chapters import notebook, plots


@pytest.fixture
def ax():
    return Figure().add_subplot()


@pytest.fixture
def shown(monkeypatch):
    objects = []
    monkeypatch.setattr(notebook, "display", objects.append)
    return objects


def test_a_table_escapes_its_text_and_shows_missing_values_as_a_dash(shown):
    notebook.table([{"a<b": 0.12345, "c": None}], formats={"a<b": ".2f"}, caption="x & y")
    (table,) = shown
    assert "<th scope='col'>a&lt;b</th>" in table.data
    assert "<td>0.12</td><td>–</td>" in table.data
    assert "<caption>x &amp; y</caption>" in table.data


def test_numbers_in_per_cent_have_one_style_however_they_were_written(shown):
    notebook.say(f"{0.427:.1%}, 42.7% or 42.7 % of %s; a TPR % is a column's unit")
    assert shown[0].data == "42.7\u00a0%, 42.7\u00a0% or 42.7\u00a0% of %s; a TPR % is a column's unit"
    notebook.table([{"TPR at 1% FPR": 0.05}], formats={"TPR at 1% FPR": ".0%"}, caption="95 % intervals")
    for part in (">TPR at 1\u00a0% FPR<", ">5\u00a0%<", ">95\u00a0% intervals<"):
        assert part in shown[1].data


def test_a_folded_table_lies_closed_behind_its_line(shown):
    notebook.table([{"a": 1}], folded="2 < 3")
    assert "<details class='mialab-folded'><summary>2 &lt; 3</summary><table" in shown[0].data
    assert shown[0].data.endswith("</table></details>")


def test_the_banner_names_version_device_and_preset(shown):
    notebook.banner("smoke")
    (line,) = shown
    assert "mialab 0" in line.data
    assert "`smoke`" in line.data


def test_setup_sets_the_style(monkeypatch):
    with matplotlib.rc_context():
        notebook.setup()
        assert matplotlib.rcParams["figure.figsize"] == [4.6, 2.8]


def test_the_marked_point_lies_on_the_roc_curve(ax):
    scores, member = np.array([0.1, 0.4, 0.4, 0.6, 0.9]), np.array([0, 1, 0, 1, 1])
    plots.roc(ax, scores, member, mark=0.4)
    (x,), (y,) = ax.lines[-1].get_data()
    assert (x, y) == (0.5, 1.0)
    curve = metrics.roc(scores, member)
    assert (x, y) in set(zip(curve.fpr, curve.tpr, strict=True))


def test_histograms_show_each_side_under_its_name_and_hold_every_sample(ax):
    rng = np.random.default_rng(0)
    scores, member = rng.normal(size=200), rng.random(200) < 0.5
    plots.histograms(ax, scores, member, threshold=0.0)
    assert ax.get_legend_handles_labels()[1] == ["members", "non-members"]
    for container, side in zip(ax.containers, (member, ~member), strict=True):
        heights, _ = np.histogram(scores[side], np.linspace(scores.min(), scores.max() + 1e-9, 41), density=True)
        assert [bar.get_height() for bar in container] == pytest.approx(heights)
    widths = np.diff(np.linspace(scores.min(), scores.max() + 1e-9, 41))
    for container in ax.containers:
        area = sum(bar.get_height() * width for bar, width in zip(container, widths, strict=True))
        assert area == pytest.approx(1)


def test_curves_draw_a_band_where_an_interval_is_given(ax):
    rows = [{"epoch": e, "auc": 0.5 + e / 10, "auc_low": 0.4, "auc_high": 0.9} for e in (1, 2)]
    plots.curves(ax, rows, "epoch", {"auc": "gap attack"}, ylabel="AUC")
    assert len(ax.collections) == 1
    assert ax.get_legend_handles_labels()[1] == ["gap attack"]


def test_a_logarithmic_roc_starts_at_ten_false_positives_and_keeps_the_curves_heights(ax):
    rng = np.random.default_rng(0)
    member = np.arange(3000) < 1000
    scores = rng.normal(size=3000) + member
    plots.roc(ax, scores, member, log=True)
    x, y = ax.lines[-1].get_data()
    assert x[0] == 10 / 2000
    assert ax.get_xlim() == (10 / 2000, 1)
    assert y[0] == pytest.approx(metrics.tpr_at_fpr(scores, member, 10 / 2000).value)
    assert (x[-1], y[-1]) == (1, 1)


def test_published_numbers_travel_in_the_metadata_of_an_output_without_content(monkeypatch):
    calls = []
    monkeypatch.setattr(notebook, "display", lambda *data, **options: calls.append((data, options)))
    notebook.publish(auc=np.float64(0.61), n=3, ok=True)
    ((content,), options) = calls[0]
    assert content == {} and options["raw"]
    numbers = options["metadata"][notebook.PUBLISHED]
    assert numbers == {"auc": 0.61, "n": 3, "ok": True}
    assert [type(number) for number in numbers.values()] == [float, int, bool]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (np.float32(0.5), "publish: auc is numpy.float32; expected a float, int or bool"),
        ("0.5", "publish: auc is str; expected a float, int or bool: convert it"),
        (None, "publish: auc is NoneType"),
        ([0.5], "publish: auc is list"),
        (float("nan"), "publish: auc is nan; expected a finite number"),
        (np.inf, "publish: auc is inf; expected a finite number"),
    ],
)
def test_what_is_no_finite_plain_number_is_not_published(value, complaint):
    with pytest.raises((TypeError, ValueError), match=complaint):
        notebook.publish(auc=value)
