"""Regression by papermill: what a chapter shows may not move further than from seed to seed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from chapter_cases import HEADER

from mialab.chapters import baselines, regress
from mialab.chapters.baselines import Expected, compare, from_runs

TOY = (
    HEADER
    + """
```{{code-cell}} python3
:tags: [parameters]

preset = "smoke"
seed = 0
```

```{{code-cell}} python3
from mialab.chapters.notebook import publish

{}
```
"""
)


@pytest.fixture(scope="module")
def outside():
    """Nothing is taken from what the test run executed before, and a foreign kernel calls itself python3."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MIALAB_STATE")
        yield patch


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, outside):
    """A checkout with empty `book` and `tests`; the returned function writes a chapter, and its baseline if given."""
    root = tmp_path_factory.mktemp("checkout")
    kernel = root / "jupyter" / "kernels" / "python3"
    for folder in (root / "book", root / "tests", kernel):
        folder.mkdir(parents=True)
    (kernel / "kernel.json").write_text('{"argv": ["false"], "display_name": "Foreign", "language": "python"}')
    outside.setenv("JUPYTER_PATH", str(root / "jupyter"))

    def chapter(stem, code, **numbers):
        (root / "book" / f"{stem}.md").write_text(TOY.format(code))
        if numbers:
            expected = {name: Expected(*number) for name, number in numbers.items()}
            baselines.write(root / "tests" / "baselines" / f"{stem}.json", expected, seeds=[0])

    chapter.root = root
    return chapter


def run(checkout, *names, **options):
    return regress.regress(names, book=checkout.root / "book", out=checkout.root / "out", **options)


@pytest.fixture(scope="module")
def report(checkout):
    """Five chapters, of which one is steady."""
    here = "publish(python=sys.executable == {!r}, store=os.environ['MIALAB_STORE'] == {!r})"
    places = here.format(sys.executable, str(checkout.root / "store"))
    within = "publish(auc=0.613)\n\n\nimport os, sys\nprint(preset, seed)\n" + places
    checkout("01_steady", within, auc=(0.61, 0.6, 0.02), python=(True, 1.0, 0.0), store=(True, 1.0, 0.0))
    checkout("02_moved", "publish(auc=0.63, gap=0.1)", auc=(0.61, 0.6, 0.02), gap=(0.1, 0.1, 0.01))
    checkout("03_renamed", "publish(area=0.61)", auc=(0.61, 0.6, 0.02))
    checkout("04_broken", "publish(auc=0.7)\nassert auc > 1, 'no auc'", auc=(0.61, 0.6, 0.02), gap=(0.1, 0.1, 0.01))
    checkout("05_twice", "publish(auc=0.61)\npublish(auc=0.61)", auc=(0.61, 0.6, 0.02))
    return run(checkout, store=checkout.root / "store", jobs=2)


def lines(report, stem):
    """What the report says of one chapter."""
    found = {str(chapter).split(":")[0]: str(chapter) for chapter in report.chapters}
    assert found[stem] in report.text()
    return found[stem].split("\n    ")


# The interval of a number


def test_a_run_at_a_new_seed_lies_in_the_interval_as_often_as_is_promised():
    draws = np.random.default_rng(0).normal(0.6, 0.01, size=(3000, 6)).tolist()
    inside = [from_runs([{"auc": x} for x in runs])["auc"].admits(new) for *runs, new in draws]
    assert np.mean(inside) == pytest.approx(baselines.LEVEL, abs=3 * (0.99 * 0.01 / 3000) ** 0.5)


def test_the_tolerance_is_that_of_a_prediction_for_one_more_run():
    values = [0.52, 0.50, 0.51, 0.53, 0.54]
    expected = from_runs([{"auc": value} for value in values])["auc"]
    t = 4.604094871  # 99.5 % of Student's distribution with 4 degrees of freedom, from a table
    assert expected.tolerance == pytest.approx(t * 0.0158113883 * 1.2**0.5)
    assert (expected.value, expected.mean) == (0.52, pytest.approx(0.52))


@pytest.mark.parametrize(("always", "passes", "fails"), [(0.5, 0.5 + 1e-8, 0.50001), (0.0, 0.0, 1e-9), (7, 7, 8)])
def test_a_number_without_spread_may_differ_by_rounding_only(always, passes, fails):
    expected = from_runs([{"x": always}] * 5)["x"]
    assert expected.admits(passes) and not expected.admits(fails)


def test_a_truth_value_must_stay_what_it_is():
    expected = from_runs([{"ok": True}] * 5)["ok"]
    assert expected.admits(True) and not expected.admits(False) and not expected.admits(1)
    with pytest.raises(ValueError, match="ok is true at some seeds and false at others"):
        from_runs([{"ok": True}, {"ok": False}])


def test_a_baseline_needs_the_same_names_at_every_seed():
    with pytest.raises(ValueError, match="late is published at some seeds only"):
        from_runs([{"auc": 0.5}, {"auc": 0.5, "late": 1}])
    with pytest.raises(ValueError, match=r"no number is published; .*notebook.publish"):
        from_runs([{}, {}])


def test_a_baseline_reads_back_as_it_was_written(tmp_path):
    expected = from_runs([{"auc": 0.1 + k / 30, "n": 3, "ok": False} for k in range(5)])
    baselines.write(tmp_path / "new" / "01.json", expected, seeds=range(5))
    assert baselines.read(tmp_path / "new" / "01.json") == expected
    assert compare({"auc": 0.1, "n": 3, "ok": False}, expected) == []
    for damaged in ("", "[]", '{"numbers": {"auc": {"value": 1}}}'):
        (tmp_path / "02.json").write_text(damaged)
        with pytest.raises(ValueError, match="02.json is no baseline .* mialab regress --update"):
            baselines.read(tmp_path / "02.json")


# A comparison


def test_a_number_within_its_tolerance_passes(report):
    assert lines(report, "01_steady") == ["01_steady: as in the baseline (numbers: 3)"]


def test_a_chapter_runs_on_this_interpreter_with_the_given_store(report):
    steady = report.chapters[0].runs[0]  # publishes both; the foreign kernel could not have
    assert steady.numbers == {"auc": 0.613, "python": True, "store": True}


def test_a_moved_number_is_told_with_baseline_value_and_tolerance(report):
    head, moved = lines(report, "02_moved")
    assert head.startswith("02_moved: not as in the baseline: 1 (numbers: 2)")
    assert moved == "auc: 0.61 in the baseline, now 0.63; from seed to seed 0.6 ± 0.02"
    assert report.failed and "mialab regress --update" in report.text()


def test_new_and_gone_numbers_are_told(report):
    head, gone, new = lines(report, "03_renamed")
    assert gone == "auc: gone, 0.61 in the baseline" and new == "area: new, 0.61"
    assert head.startswith("03_renamed: not as in the baseline: 2 (numbers: 1)")


def test_a_chapter_that_fails_is_told_with_its_cell_and_the_numbers_it_came_to(report):
    head, moved = lines(report, "04_broken")
    assert head.startswith("04_broken: code cell 2, `assert auc > 1, 'no auc'`: NameError: name 'auc' is not defined")
    assert moved.startswith("auc: 0.61 in the baseline, now 0.7")


def test_a_name_published_twice_is_an_error(report):
    assert lines(report, "05_twice")[0].startswith("05_twice: auc published twice")


def test_every_executed_notebook_is_kept_also_that_of_a_failed_chapter(report, checkout):
    kept = {path.stem: nbformat.read(path, as_version=4) for path in (checkout.root / "out").glob("*.ipynb")}
    assert sorted(kept) == ["01_steady", "02_moved", "03_renamed", "04_broken", "05_twice"]
    said = [output.text for cell in kept["01_steady"].cells for output in cell.get("outputs", []) if "text" in output]
    assert said == ["smoke 0\n"]
    errors = [o.ename for c in kept["04_broken"].cells for o in c.get("outputs", []) if o.output_type == "error"]
    assert errors == ["NameError"]


def test_the_report_is_plain_json_too(report):
    found = json.loads(json.dumps(report.to_dict()))
    moved = found["chapters"][1]["moved"]
    assert found["failed"] and moved == [
        {"name": "auc", "now": 0.63, "expected": {"value": 0.61, "mean": 0.6, "tolerance": 0.02}}
    ]


def test_other_presets_are_executed_and_not_compared(checkout):
    checkout("06_other", "publish(preset_is_course=preset == 'course')")
    report = run(checkout, "6", preset="course")
    assert report.text() == "06_other: no baseline for preset course (numbers: 1)" and not report.failed


# An update


def test_update_takes_the_tolerance_from_the_spread_over_seeds_and_another_seed_then_passes(checkout, capsys):
    checkout("07_noisy", "publish(auc=0.5 + seed / 10_000, ok=True)\nassert seed in (0, 20), seed")
    updated = run(checkout, "noisy", update=True)
    assert not updated.failed and "seed 100: code cell 2, `assert seed in (0, 20), seed`" in updated.text()
    content = json.loads((checkout.root / "tests" / "baselines" / "07_noisy.json").read_text())
    assert content["preset"] == "smoke" and content["seeds"] == [0, 100, 200, 300, 400]
    auc = content["numbers"]["auc"]
    assert auc == {"value": 0.5, "mean": pytest.approx(0.52), "tolerance": pytest.approx(0.0797448, abs=1e-6)}
    assert all((checkout.root / "out" / f"seed-{seed}" / "07_noisy.ipynb").exists() for seed in content["seeds"])
    assert "[5/5] 07_noisy (seed " in capsys.readouterr().err
    assert run(checkout, "07", seed=20).text() == "07_noisy: as in the baseline (numbers: 2)"


def test_a_chapter_that_fails_at_the_first_seed_keeps_its_baseline(checkout, monkeypatch):
    checkout("08_broken", "publish(auc=0.5)", auc=(0.61, 0.6, 0.02))
    baseline = checkout.root / "tests" / "baselines" / "08_broken.json"
    before = baseline.read_bytes()
    broken = lambda runs, jobs: [regress.Executed(run, {"auc": 0.5}, "code cell 2", 0.0) for run in runs]  # noqa: E731
    monkeypatch.setattr(regress, "_execute_all", broken)
    report = run(checkout, "08", update=True)
    assert report.failed and report.text().startswith("08_broken: no baseline written: code cell 2")
    assert baseline.read_bytes() == before


def test_baselines_of_other_presets_are_refused(checkout):
    with pytest.raises(regress.RegressError, match="preset 'smoke', not 'course'"):
        run(checkout, update=True, preset="course")


# What may go wrong around it


@pytest.mark.parametrize("name", ["9", "nothing", "01_stedy", "no/such.md"])
def test_an_unknown_chapter_is_refused_with_those_that_exist(report, checkout, name):
    with pytest.raises(regress.RegressError, match=f"unknown chapter '{name}'.*01_steady, 02_moved"):
        run(checkout, name)


def test_a_chapter_is_found_by_number_slug_name_and_path_and_taken_once(report, checkout):
    book = checkout.root / "book"
    names = ["1", "01", "steady", "01_steady", str(book / "01_steady.md"), "moved"]
    assert regress.find(names, book) == [book / "01_steady.md", book / "02_moved.md"]


def test_outside_a_checkout_the_error_says_where_to_go(tmp_path):
    with pytest.raises(regress.RegressError, match="no chapters in .*book: run this in a clone of the repository"):
        regress.regress(book=tmp_path / "book", out=tmp_path)


def test_a_chapter_in_no_checkout_or_of_a_name_given_twice_is_refused(report, checkout, tmp_path):
    book = checkout.root / "book"
    for folder in ("book", "other/book", "other/tests"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in ("book", "other/book"):
        shutil.copy(book / "01_steady.md", tmp_path / folder)
    with pytest.raises(regress.RegressError, match="lies in no checkout: its baseline would be in .*tests"):
        regress.find([str(tmp_path / "book" / "01_steady.md")], book)
    with pytest.raises(regress.RegressError, match="two of these chapters have the same name"):
        regress.find(["1", str(tmp_path / "other" / "book" / "01_steady.md")], book)


def test_a_missing_extra_is_named(checkout, monkeypatch):
    found = regress.importlib.util.find_spec
    monkeypatch.setattr(regress.importlib.util, "find_spec", lambda name: None if name == "papermill" else found(name))
    with pytest.raises(regress.RegressError, match=r"papermill.*pip install 'mialab\[book\]'"):
        run(checkout)


def test_an_unwritable_folder_is_named(report, checkout):
    with pytest.raises(regress.RegressError, match="cannot keep notebooks in .*01_steady.md"):
        regress.regress(["1"], book=checkout.root / "book", out=checkout.root / "book" / "01_steady.md")


def test_a_process_that_is_killed_is_told(checkout):
    checkout("09_killer", "import os\nos.kill(os.getppid(), 9)", auc=(0.61, 0.6, 0.02))
    assert "09_killer: its process was killed" in run(checkout, "9").text()


LONG = """import os, pathlib, time
pathlib.Path("kernel").write_text(str(os.getpid()))
time.sleep(99)"""


def test_an_interrupt_ends_the_chapters_at_once(checkout):
    checkout("10_long", LONG)
    kernel = checkout.root / "book" / "kernel"
    code = f"from pathlib import Path; from mialab.chapters.regress import regress; root = Path({str(checkout.root)!r})"
    code += "\nregress(['10'], book=root / 'book', out=root / 'out')"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.DEVNULL)
    wait(lambda: kernel.exists() and kernel.read_text())
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) != 0
    wait(lambda: not alive(int(kernel.read_text())))


def wait(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_chapter_with_the_same_text_is_not_executed_twice_where_a_state_is_named(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("MIALAB_STATE", str(tmp_path / "state"))
    checkout("11_counted", "with open('count.txt', 'a') as file:\n    file.write('x')\npublish(n=1)")
    chapter, count = checkout.root / "book" / "11_counted.md", checkout.root / "book" / "count.txt"
    first = regress.execute(chapter, tmp_path)
    again = regress.execute(chapter, tmp_path)
    assert count.read_text() == "x" and first == again == tmp_path / "11_counted.ipynb"
    regress.execute(chapter, tmp_path, seed=1)
    assert count.read_text() == "xx"


def test_importing_regress_imports_neither_torch_nor_papermill():
    code = "import sys, mialab.chapters.regress; sys.exit(bool({'torch', 'papermill', 'nbformat'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# The real book

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = "01_game"
HALVED = """notebook.setup()

from dataclasses import replace

from mialab.experiments import basics

whole, *others = basics.TARGETS["smoke"]
(phase,) = whole.pipeline.phases
recipe = replace(phase.recipe, epochs=phase.recipe.epochs // 2)
kept = tuple(epoch for epoch in whole.epochs if epoch <= recipe.epochs)
pipeline = replace(whole.pipeline, phases=(replace(phase, recipe=recipe),))
basics.TARGETS["smoke"] = (replace(whole, pipeline=pipeline, epochs=kept, weights=kept[-1:]), *others)
"""


def test_halving_the_epochs_is_caught(tmp_path, state, monkeypatch):
    monkeypatch.setenv("MIALAB_STATE", state)  # the chapter as it stands may have been executed there
    shutil.copytree(ROOT / "book" / "quizzes", tmp_path / "book" / "quizzes")
    text = (ROOT / "book" / f"{CHAPTER}.md").read_text()
    baseline = (ROOT / "tests" / "baselines" / f"{CHAPTER}.json").read_bytes()
    (tmp_path / "tests" / "baselines").mkdir(parents=True)
    for stem, written in ((CHAPTER, text), ("02_halved", text.replace("notebook.setup()\n", HALVED, 1))):
        (tmp_path / "book" / f"{stem}.md").write_text(written)
        (tmp_path / "tests" / "baselines" / f"{stem}.json").write_bytes(baseline)
    as_it_stands, halved = regress.regress(book=tmp_path / "book", out=tmp_path / "out").chapters
    assert not as_it_stands.failed, str(as_it_stands)
    caught = {"epoch 40: AUC of gap", "epoch 40: AUC of confidence"}
    assert caught <= {moved.name for moved in halved.moved}, str(halved)
