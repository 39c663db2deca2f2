"""The command line: what it prints, what it writes, and how it refuses."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mialab import __version__, catalogue, cli, fusion
from mialab import audit as audits
from mialab.attacks import ALL, SCORES, VARIANTS
from mialab.audit import Outputs, audit
from mialab.cli import audit as audit_command
from mialab.cli import figure

QUICK = ("--attack", "gap", "--attack", "confidence")


def make(samples=200, classes=3, models=2):
    rng = np.random.default_rng(0)
    labels, member = rng.integers(classes, size=samples), np.arange(samples) % 2
    logits = rng.normal(size=(models, samples, classes)).astype(np.float32)
    logits[:, np.arange(samples), labels] += 1 + member
    return {"logits": logits, "labels": labels, "member": member}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "outputs.npz"
    np.savez(path, **make())
    return path


def run(*arguments):
    return cli.main(["audit", *map(str, arguments)])


def refused(capsys, *arguments, message):
    """Exit code 2, nothing printed, one line on stderr."""
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("mialab: error: ")
    assert message in err


def python(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **options)


# what it says of itself


def test_help_loads_neither_torch_nor_numpy():
    loaded = "[name for name in ('torch', 'numpy') if name in sys.modules]"
    done = python(f"import sys; from mialab.cli import main; main(['audit', '--help']); print({loaded})")
    assert done.stdout.endswith("[]\n") and "usage: mialab audit" in done.stdout and not done.stderr


def test_an_audit_does_not_wait_for_torch(file):
    code = f"import sys; from mialab.cli import main; main(['audit', {str(file)!r}]); print('torch' in sys.modules)"
    assert python(code).stdout.endswith("False\n")


def test_help_lists_every_attack_with_a_line_each(capsys):
    assert run("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    for name, what in catalogue.USUAL.items():
        assert any(line.split() == [name, *what.split()] for line in lines)


def test_help_tells_the_json_s_layout_and_whom_attacks_are_evaluated_on(file, tmp_path, capsys):
    assert run(file, *QUICK, "--json", tmp_path / "out.json") == 0
    report = json.loads((tmp_path / "out.json").read_text())
    capsys.readouterr()
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert all(f'"{key}"' in text for key in (*report, *report["samples"], *report["attacks"]["gap"]))
    assert "neural-released too, also on the classes that the paper's script skips" in text


def test_the_names_kept_for_help_are_those_of_the_package():
    defaults, white_box, reference, costly = (list(group) for group in catalogue.GROUPS.values())
    for when, listed in (((), defaults), (("log_confidences",), white_box), (("references",), reference)):
        assert listed == [name for name, one in ALL.items() if one.needs == when and not one.costly]
    assert costly == [name for name, one in ALL.items() if one.costly]
    assert tuple(catalogue.SCORES) == tuple(SCORES)
    assert set(catalogue.USUAL) == set(ALL) and tuple(VARIANTS) == catalogue.VARIANTS
    assert tuple(figure.DATELESS) == audit_command.FIGURES
    actions = {action.dest: action for action in cli._parser()._subparsers._group_actions[0].choices["audit"]._actions}
    assert tuple(actions["fusion"].choices) == tuple(catalogue.FUSIONS) == tuple(fusion.RULES)
    assert tuple(actions["split"].choices) == audits.SPLITS
    for name in ("fusion", "white_box", "known", "split", "seed"):
        assert actions[name].default == getattr(audits.Settings(), name)


def test_version_and_bare_command(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"mialab {__version__}\n"
    assert cli.main([]) == 0
    assert "audit" in capsys.readouterr().out


def test_python_m_mialab_is_the_command():
    done = subprocess.run([sys.executable, "-m", "mialab", "audit", "absent"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "mialab: error: absent: found no such file; expected an .npz archive; check the path\n"


# what it gives


def test_command_and_function_give_the_same_report(file, tmp_path, capsys):
    options = ("--fusion", "logit", "--white-box", "--known", 0.6, "--split", "file-order", "--seed", 7)
    assert run(file, *options, "--json", tmp_path / "out.json") == 0
    report = audit(Outputs(**make()), fusion="logit", white_box=True, known=0.6, split="file-order", seed=7)
    assert json.loads((tmp_path / "out.json").read_text()) == report.to_dict()
    assert capsys.readouterr().out == f"{report}\n"


def test_the_same_seed_gives_the_same_bytes(file, tmp_path):
    for name in ("a", "b"):
        assert run(file, "--json", tmp_path / name) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_attacks_keep_their_order_and_repetitions_are_dropped(file, tmp_path):
    asked = [argument for name in ("loss", "gap", "loss") for argument in ("--attack", name)]
    assert run(file, *asked, "--json", tmp_path / "out") == 0
    assert list(json.loads((tmp_path / "out").read_text())["attacks"]) == ["loss", "gap"]


def test_attacks_asked_for_by_name_and_not_run_are_exit_code_2_after_the_report(file, tmp_path, capsys):
    assert run(file, "--known", 0, "--attack", "gap", "--attack", "neural-released", "--json", tmp_path / "out") == 2
    report = json.loads((tmp_path / "out").read_text())
    reason = report["skipped"]["neural-released"]
    out, err = capsys.readouterr()
    assert reason and reason in out and "gap" in report["attacks"]
    assert err == f"mialab: error: asked for by name, and not run: neural-released: {reason}\n"


def test_attacks_that_nobody_named_are_skipped_with_exit_code_0(file, capsys):
    assert run(file, "--known", 0) == 0
    out, err = capsys.readouterr()
    assert "neural-released" in out and err == ""


def test_fusion_and_white_box_are_harmless_on_a_single_model(tmp_path):
    np.savez(tmp_path / "one.npz", **make(models=1))
    assert run(tmp_path / "one.npz", *QUICK, "--fusion", "logit", "--white-box") == 0


# wrong arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--known", "1"), "argument --known: found '1'; expected a number from 0 to below 1"),
        (("--known", "-0.1"), "argument --known"),
        (("--known", "nan"), "argument --known"),
        (("--known", "most"), "argument --known: found 'most'"),
        (("--seed", "1.5"), "argument --seed"),
        (("--split", "sorted"), "argument --split"),
        (("--fusion", "geometric"), "argument --fusion"),
        (("--attack", "neural-publised"), "did you mean neural-published"),
        (("--attack", "zzz"), "unknown attack 'zzz'; there are gap, confidence, loss"),
        (("--frobnicate",), "unrecognized arguments: --frobnicate"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(file, capsys, arguments, message):
    refused(capsys, file, *arguments, message=message)


def test_a_missing_file_argument_is_refused_in_one_line(capsys):
    refused(capsys, message="required: FILE.npz; see mialab audit --help")


@pytest.mark.parametrize("known", ["0", "0.95", "0.999999"])
def test_known_may_be_any_share_below_one(file, known):
    assert run(file, *QUICK, "--known", known) == 0


# where the report goes


def never(*_, **__):
    raise AssertionError("the audit ran before the place of its report was looked at")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("absent/out.json", "found no folder"),
        (".", "found a directory"),
        ("", "found a directory"),
        ("outputs.npz/out.json", "found no folder"),
        ("outputs.npz", "found a file that is read"),
        ("link.npz", "found a file that is read"),
        ("pipe", "found no regular file"),
        ("a" * 300, "File name too long"),
    ],
)
def test_a_place_where_no_report_can_lie_is_refused_before_the_work(
    file, tmp_path, monkeypatch, capsys, place, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(audits, "audit", never)
    os.mkfifo("pipe")
    os.symlink("outputs.npz", "link.npz")
    before = file.read_bytes()
    refused(capsys, file, "--json", place, message=message)
    assert file.read_bytes() == before


def test_a_place_without_permission_is_refused_before_the_work(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(audits, "audit", never)
    monkeypatch.setattr(os, "access", lambda *_: False)  # tests may run as root, who may write anywhere
    refused(capsys, file, "--json", tmp_path / "out.json", message="found no permission to write")


def test_a_full_disk_leaves_the_old_report_and_prints_the_table(file, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "out.json").write_text("old")
    monkeypatch.setattr(os, "replace", full)
    assert run(file, *QUICK, "--json", tmp_path / "out.json") == 2
    out, err = capsys.readouterr()
    assert "confidence" in out and err.count("\n") == 1 and "No space left on device" in err
    assert (tmp_path / "out.json").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["out.json", "outputs.npz"]


def test_a_link_stays_a_link_and_its_target_is_written(file, tmp_path):
    (tmp_path / "link").symlink_to("out.json")
    assert run(file, *QUICK, "--json", tmp_path / "link") == 0
    assert (tmp_path / "link").is_symlink() and json.loads((tmp_path / "out.json").read_text())["version"] == 1


# interruptions


def test_an_interrupted_audit_exits_with_130_and_no_traceback(file, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(audits, "audit", interrupted)
    assert run(file, "--json", tmp_path / "out.json") == 130
    assert capsys.readouterr().err == "" and not (tmp_path / "out.json").exists()


def test_too_little_memory_is_told_in_one_line(file, monkeypatch, capsys):
    def large(*_, **__):
        raise MemoryError

    monkeypatch.setattr(audits, "audit", large)
    refused(capsys, file, message="needs more memory than there is")


@pytest.mark.parametrize("arguments", ["--help", "{file} --attack gap --json {out}"])
def test_a_reader_that_stops_early_is_no_error(file, tmp_path, arguments):
    out = tmp_path / "out.json"
    command = f"{sys.executable} -m mialab audit {arguments.format(file=file, out=out)}"
    # `true` reads nothing: the pipe is closed before, or while, the command writes
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command} | true"], capture_output=True, text=True)
    assert done.stderr == "" and done.returncode == 0
    assert out.exists() == ("--json" in arguments)


# never a traceback


def test_every_refused_file_exits_with_2_in_one_line(tmp_path, capsys):
    text, empty, npy, archive = (tmp_path / name for name in ("a.txt", "b.npz", "c.npy", "line\nbreak.npz"))
    text.write_text("labels")
    empty.touch()
    np.save(npy, np.zeros(3))
    with zipfile.ZipFile(archive, "w") as entries:
        entries.writestr("new\nline", "x")
    for path in (text, empty, npy, archive, tmp_path, tmp_path / "absent"):
        refused(capsys, path, message=str(path).replace("\n", " "))


def numbers(shape):
    """Arrays of all kinds of numbers, tame, extreme, and none."""
    tame = arrays.arrays(np.float32, shape, elements=st.integers(-3, 3))
    finite = arrays.arrays(np.float64, shape, elements=st.floats(allow_nan=False, allow_infinity=False))
    any_kind = arrays.arrays(st.sampled_from([np.float64, np.int8, np.bool_, np.complex64, "U1", np.float16]), shape)
    return st.one_of(tame, finite, any_kind)


@st.composite
def contents(draw):
    """Arrays under the right names that may well be an audit's input, and may well not."""
    samples, classes = draw(st.integers(2, 30)), draw(st.integers(2, 4))
    shape = (*draw(st.sampled_from([(), (1,), (2,)])), samples, classes)
    positive = arrays.arrays(np.float64, shape, elements=st.floats(0, 1e6)).map(
        lambda x: x + (x.sum(-1) == 0)[..., None]
    )
    scores = {"logits": numbers(shape), "probabilities": positive.map(lambda x: x / x.sum(-1, keepdims=True))}
    name = draw(st.sampled_from(sorted(scores)))
    found = {
        name: draw(scores[name]),
        "labels": draw(arrays.arrays(np.int64, samples, elements=st.integers(0, classes - 1))),
        "member": draw(st.permutations(np.arange(samples) % 2)),
    }
    if draw(st.sampled_from([False, False, False, True])):
        found[draw(st.sampled_from(sorted(found)))] = draw(numbers(draw(arrays.array_shapes(min_dims=0, min_side=0))))
    return found


@given(content=contents(), known=st.sampled_from(["0", "0.5", "0.9"]), seed=st.integers())
@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.filterwarnings("error")
def test_any_arrays_give_a_report_or_one_line(tmp_path, capfd, content, known, seed):
    np.savez(tmp_path / "any.npz", **content)
    out = tmp_path / "out.json"
    out.unlink(missing_ok=True)
    code = run(tmp_path / "any.npz", "--known", known, f"--seed={seed}", "--json", out)
    err = capfd.readouterr().err
    assert code in (0, 2) and err.count("\n") == (code == 2) and out.exists() == (code == 0)
    if code == 0:
        assert set(json.loads(out.read_text(), parse_constant=never)["attacks"]) <= set(ALL)
