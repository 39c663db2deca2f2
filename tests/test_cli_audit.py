"""`mialab audit` with reference models, and the files it writes beside the report: scores and the figure."""

import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from reference_cases import case, overlap, world

from mialab import attacks, cli, metrics
from mialab.audit import Outputs, audit
from mialab.chapters import plots
from mialab.cli import figure, output

QUICK = ("--attack", "gap", "--attack", "confidence")


@pytest.fixture(scope="module")
def made():
    return case(world(600), 12)


@pytest.fixture
def files(made, tmp_path):
    """FILE.npz and REF.npz."""
    references = made.evidence.references
    np.savez(tmp_path / "file.npz", logits=made.evidence.log_p, labels=made.evidence.labels, member=made.member)
    np.savez(tmp_path / "ref.npz", logits=references.logits, member=references.member)
    return tmp_path / "file.npz", tmp_path / "ref.npz"


def run(*arguments):
    return cli.main(["audit", *map(str, arguments)])


def refused(capsys, *arguments, message):
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("mialab: error: ")
    assert message in err


# reference models


def test_lira_from_files_reaches_the_neyman_pearson_curve(tmp_path):
    made = case(world(4000, shift=(0.5, 3.5)), 64)
    np.savez(tmp_path / "file.npz", logits=made.evidence.log_p, labels=made.evidence.labels, member=made.member)
    references = made.evidence.references
    np.savez(tmp_path / "ref.npz", logits=references.logits, member=references.member, labels=references.labels)
    asked = ("--reference", tmp_path / "ref.npz", "--attack", "lira-online", "--known", 0)
    assert run(tmp_path / "file.npz", *asked, "--json", tmp_path / "out.json") == 0
    found = json.loads((tmp_path / "out.json").read_text())["attacks"]["lira-online"]
    best = made.world.log_ratio(made.odds)
    truth, low_fpr = metrics.auc_interval(best, made.member), metrics.tpr_at_fpr(best, made.member, 0.01)
    assert overlap(metrics.Estimate(found["auc"], *found["auc_interval"]), truth)
    assert low_fpr.low <= found["tpr"]["0.01"] <= low_fpr.high


def test_command_and_function_give_the_same_report_with_references(made, files, tmp_path, capsys):
    file, ref = files
    assert run(file, "--reference", ref, "--json", tmp_path / "out.json", "--seed", 3) == 0
    outputs = Outputs(made.evidence.log_p, made.evidence.labels, made.member)
    report = audit(outputs, references=made.evidence.references, seed=3)
    assert json.loads((tmp_path / "out.json").read_text()) == report.to_dict()
    out = capsys.readouterr().out
    assert out == f"{report}\n" and "12 reference models; each sample in the training sets of 6" in out
    assert {"lira-online", "rmia-offline", "shadow-shokri"} <= set(report.attacks)


def test_references_do_not_wait_for_torch(files):
    arguments = ["audit", *map(str, (files[0], "--reference", files[1]))]
    code = f"import sys; from mialab.cli import main; main({arguments}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("False\n") and "lira-online" in done.stdout


def test_attacks_that_lack_references_are_skipped_with_what_to_do(files, capsys):
    assert run(files[0], "--attack", "lira-online", "--attack", "nasr-paper-x") == 2
    out = capsys.readouterr().out
    assert "lira-online: needs reference models" in out and "(--reference)" in out
    assert "nasr-paper-x: needs the samples themselves" in out


def test_samples_without_an_opinion_are_a_note_and_no_warning(made, tmp_path, files, capsys):
    member = made.evidence.references.member.copy()
    member[:, :5] = True
    np.savez(tmp_path / "some.npz", logits=made.evidence.references.logits, member=member)
    assert run(files[0], "--reference", tmp_path / "some.npz", "--attack", "lira-offline-fixed") == 0
    out, err = capsys.readouterr()
    assert "note: lira-offline-fixed: 5 of 600 samples get the median score" in out and err == ""


BAD = {
    "no such file": ({}, "found no such file"),
    "no member": ({"member": None}, "expected member too"),
    "no logits": ({"logits": None}, "expected logits (or probabilities, losses, scores) too"),
    "fewer samples": ({"logits": np.s_[:, :599], "member": np.s_[:, :599]}, "found 599 samples and 3 classes"),
    "fewer classes": ({"logits": np.s_[:, :, :2]}, "found 600 samples and 2 classes; expected 600 and 3"),
    "other labels": ({"labels": np.s_[::-1]}, "labels of the reference: found"),
    "member turned": ({"member": np.s_[:5]}, "member: found shape [5, 600]; expected [12, 600]"),
    "one shadow": ({"logits": np.s_[0]}, "logits: found shape [600, 3]; expected [shadows, samples, classes]"),
}


@pytest.mark.parametrize("fault", BAD)
def test_wrong_references_are_refused_in_one_line(made, files, tmp_path, capsys, fault):
    changes, message = BAD[fault]
    references = made.evidence.references
    arrays = {"logits": references.logits, "member": references.member, "labels": references.labels}
    changed = {name: None if change is None else arrays[name][change] for name, change in changes.items()}
    if changed:
        np.savez(tmp_path / "bad.npz", **{k: v for k, v in (arrays | changed).items() if v is not None})
    refused(capsys, files[0], "--reference", tmp_path / "bad.npz", message=message)


def test_references_with_pickled_arrays_are_refused(made, files, tmp_path, capsys):
    np.savez(tmp_path / "bad.npz", logits=np.array([{}], dtype=object), member=made.evidence.references.member)
    refused(capsys, files[0], "--reference", tmp_path / "bad.npz", message="logits: cannot be read")


# scores


def test_scores_come_back_as_they_were_and_give_the_report_s_figures(made, files, tmp_path):
    file, ref = files
    asked = (*QUICK, "--attack", "lira-online-fixed", "--reference", ref)
    assert run(file, *asked, "--scores", tmp_path / "s.npz", "--json", tmp_path / "out.json") == 0
    report = json.loads((tmp_path / "out.json").read_text())
    with np.load(tmp_path / "s.npz", allow_pickle=False) as found:
        assert list(found) == ["labels", "member", "evaluated", "gap", "confidence", "lira-online-fixed"]
        np.testing.assert_array_equal(found["labels"], made.evidence.labels)
        np.testing.assert_array_equal(found["member"], made.member)
        rows = found["evaluated"]
        for name, one in report["attacks"].items():
            assert found[name].shape == (600,) and found[name].dtype == np.float64
            assert metrics.auc(found[name][rows], found["member"][rows]) == one["auc"]


def test_the_same_seed_gives_the_same_files(files, tmp_path):
    for name in ("a", "b"):
        outs = ("--scores", tmp_path / f"{name}.npz", "--plot", tmp_path / f"{name}.svg", "--json", tmp_path / name)
        assert run(files[0], *outs, "--attack", "neural-released", "--attack", "gap") == 0
    for kind in (".npz", ".svg", ""):
        assert (tmp_path / f"a{kind}").read_bytes() == (tmp_path / f"b{kind}").read_bytes()


# where files go


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--scores", "absent/out.npz"), "--scores absent/out.npz: found no folder"),
        (("--scores", "."), "--scores .: found a directory"),
        (("--scores", "file.npz"), "--scores file.npz: found a file that is read"),
        (("--scores", "ref.npz"), "--scores ref.npz: found a file that is read"),
        (("--json", "ref.npz"), "--json ref.npz: found a file that is read"),
        (("--json", "out", "--scores", "out"), "--scores out: found a file that is read, or is written by another"),
        (("--scores", "a.png", "--plot", "./a.png"), "--plot ./a.png: found a file that is read, or is written by"),
        (("--plot", "absent/a.png"), "--plot absent/a.png: found no folder"),
        (("--plot", "figure.jpeg"), "argument --plot: found 'figure.jpeg'; expected a name that ends in .png, .pdf"),
        (("--plot", "figure"), "argument --plot: found 'figure'"),
        (("--plot", "png"), "argument --plot: found 'png'"),
    ],
)
def test_places_where_nothing_can_be_written_are_refused_before_the_work(
    files, tmp_path, monkeypatch, capsys, arguments, message
):
    def never(*_, **__):
        raise AssertionError("the audit ran before its files' places were looked at")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mialab.audit.audit", never)
    before = [file.read_bytes() for file in files]
    refused(capsys, files[0], "--reference", files[1], *arguments, message=message)
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize(("option", "name"), [("--scores", "s.npz"), ("--plot", "p.png")])
def test_a_full_disk_leaves_the_old_file_and_prints_the_table(files, tmp_path, monkeypatch, capsys, option, name):
    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / name).write_text("old")
    monkeypatch.setattr(os, "replace", full)
    assert run(files[0], *QUICK, option, tmp_path / name) == 2
    out, err = capsys.readouterr()
    assert "confidence" in out and err.count("\n") == 1
    assert err.startswith(f"mialab: error: {option} ") and "No space left on device" in err
    assert (tmp_path / name).read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == sorted(["file.npz", "ref.npz", name])


def test_what_fails_while_it_is_written_leaves_no_draft(tmp_path):
    def breaks(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        output.keep(tmp_path / "out", breaks)
    assert os.listdir(tmp_path) == []


# the figure


def test_one_attack_is_drawn_as_png_pdf_and_svg(files, tmp_path):
    for kind in ("png", "pdf", "svg"):
        assert run(files[0], "--attack", "confidence", "--plot", tmp_path / f"one.{kind}") == 0
    with Image.open(tmp_path / "one.png") as image:
        assert image.size == (1200, 750) and len(image.convert("RGB").getcolors(10**6)) > 20
    assert (tmp_path / "one.pdf").read_bytes().startswith(b"%PDF")
    assert ElementTree.parse(tmp_path / "one.svg").getroot().tag.endswith("svg")


def drawn(report):
    """The axes and the legend's lines."""
    (ax,) = figure._draw(report).axes
    return ax, [text.get_text() for text in ax.get_legend().get_texts()]


def test_of_thirty_attacks_the_best_are_drawn_with_gap_and_a_legend_beside_them(made):
    outputs = Outputs(made.evidence.log_p, made.evidence.labels, made.member)
    asked = [name for name, one in (attacks.ALL | attacks.VARIANTS).items() if not one.costly]
    report = audit(outputs, attacks=asked, references=made.evidence.references, known=0.5)
    assert len(report.attacks) >= 30
    ax, legend = drawn(report)
    curves, rates = legend[:8], [float(line.split()[-2]) for line in legend[:8]]
    assert legend[8:] == ["guessing", "below 10 false positives"]
    assert rates == sorted(rates, reverse=True) and rates[-1] == 0
    assert curves[0].startswith(("lira", "rmia")) and curves[-1] == "gap: 0.00 %"
    assert f"8 of {len(report.attacks)} attacks: the best by TPR at 10 % FPR, and gap" in ax.get_title(loc="left")
    lines = [(line.get_color(), line.get_linestyle()) for line in ax.lines]
    assert len(set(lines)) == 9  # each told apart, and guessing
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    legend_box, axes_box = (part.get_window_extent(canvas.get_renderer()) for part in (ax.get_legend(), ax))
    assert legend_box.x0 > axes_box.x1 and legend_box.x1 <= ax.figure.bbox.x1  # beside the curves, and not cut off


def test_attacks_that_draw_the_same_curve_take_one_place(made):
    outputs = Outputs(made.evidence.log_p, made.evidence.labels, made.member)
    same = [attacks.from_function(f"same {k}", lambda evidence, *_: evidence.log_p[:, 0]) for k in range(12)]
    others = ["entropy-per-class", "loss-per-class", "gap"]
    _, legend = drawn(audit(outputs, attacks=[*same, *others], known=0.5))
    assert [any(line.startswith(f"{name}:") for line in legend) for name in others] == [True] * 3


def test_few_non_members_are_drawn_by_auc(made):
    outputs = Outputs(made.evidence.log_p[:60], made.evidence.labels[:60], made.member[:60])
    report = audit(outputs, attacks=["gap", "confidence"], known=0)
    ax, legend = drawn(report)
    assert ax.get_legend().get_title().get_text() == "AUC"
    assert legend[0] == f"confidence: {report.attacks['confidence'].everyone.auc.value:.3f}"


def test_a_figure_of_nothing_is_refused_after_the_table(files, tmp_path, capsys):
    assert run(files[0], "--attack", "lira-online", "--plot", tmp_path / "none.png", "--json", tmp_path / "o.json") == 2
    out, err = capsys.readouterr()
    assert "skipped" in out and err.count("\n") == 2 and "asked for by name, and not run: lira-online" in err
    assert "found no attack that was measured on members and non-members" in err
    assert sorted(os.listdir(tmp_path)) == ["file.npz", "o.json", "ref.npz"]


def test_the_figure_begins_at_one_false_positive_and_is_the_roc():
    rng = np.random.default_rng(0)
    member = np.arange(400) % 2 == 1
    scores = np.round(rng.normal(member * 1.0), 1)
    ax = plots.rocs(Figure().add_subplot(), {"mine": scores}, member)
    fpr, tpr = ax.lines[0].get_data()
    assert ax.get_xlim() == ax.get_ylim() == (1 / 200, 1) and ax.get_xscale() == ax.get_yscale() == "log"
    assert fpr[0] == 1 / 200
    for x in np.unique(fpr):
        hits = [(scores >= t)[member].mean() for t in np.unique(scores) if (scores >= t)[~member].mean() <= x]
        assert tpr[fpr == x].max() == max(hits, default=0)


def test_no_figure_asked_for_no_matplotlib(files):
    arguments = ["audit", str(files[0]), *QUICK]
    code = f"import sys; from mialab.cli import main; main({arguments}); print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("False\n")
