"""Files, streams and pipes of `mialab audit`, as a shell gives them: nothing is lost, nothing overwrites another."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

MIALAB = [sys.executable, "-m", "mialab", "audit"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    rng = np.random.default_rng(0)
    member, labels = np.arange(400) % 2, rng.integers(0, 3, 400)
    logits = rng.normal(size=(400, 3)) + 2 * np.eye(3)[labels] * (1 + member)[:, None]
    place = tmp_path_factory.mktemp("streams") / "file.npz"
    np.savez(place, logits=logits, labels=labels, member=member)
    return place


def run(*arguments, **options):
    return subprocess.run([*MIALAB, *map(str, arguments)], capture_output=True, **options)


@pytest.mark.parametrize("out", ["-", "/dev/stdout"])
def test_json_on_standard_output_is_json_alone_and_the_report_stands_on_stderr(file, tmp_path, out):
    done = run(file, "--attack", "gap", "--json", out, cwd=tmp_path)
    assert done.returncode == 0 and json.loads(done.stdout)["version"] == 1
    assert done.stderr.startswith(b"Is it bad?") and not os.listdir(tmp_path)


def test_json_on_standard_output_that_is_a_file_loses_nothing(file, tmp_path):
    with (tmp_path / "out.txt").open("wb") as whole:
        command = [*MIALAB, str(file), "--attack", "gap", "--json", "/dev/stdout"]
        done = subprocess.run(command, stdout=whole, stderr=subprocess.PIPE)
    assert done.returncode == 0 and done.stderr.startswith(b"Is it bad?")
    assert json.loads((tmp_path / "out.txt").read_text())["samples"] == {"members": 200, "nonmembers": 200}


def test_a_file_that_the_report_is_printed_to_is_refused_for_json_before_the_audit(file, tmp_path):
    with (tmp_path / "out.txt").open("wb") as whole:
        command = [*MIALAB, str(file), "--attack", "gap", "--json", str(tmp_path / "out.txt")]
        done = subprocess.run(command, stdout=whole, stderr=subprocess.PIPE)
    assert done.returncode == 2 and b"the file that the report is printed to" in done.stderr
    assert (tmp_path / "out.txt").read_bytes() == b""


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_a_file_is_read_from_a_pipe_and_told_as_from_its_place(file, name):
    there, piped = run(file, "--attack", "gap"), run(name, "--attack", "gap", input=file.read_bytes())
    assert piped.returncode == 0 and piped.stdout == there.stdout


def test_a_pipe_with_nothing_in_it_is_refused():
    done = run("-", input=b"")
    assert done.returncode == 2 and b"found an empty file" in done.stderr and done.stderr.count(b"\n") == 1


def test_the_report_survives_a_terminal_that_knows_ascii_alone(file):
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = run(file, "--attack", "gap", env=ascii_only)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
