"""What the README says of audits runs as it stands there."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from mialab.cli import main

README = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")
SECTION = README[README.index("## Audit your own model") : README.index("## On Colab")]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", SECTION, flags=re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where all of it has run, in the order of the page."""
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def names():
    """What a reader has: a model, two loaders, and arrays."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    model = torch.nn.Linear(5, 3)
    sides = [TensorDataset(torch.randn(600, 5), torch.randint(3, (600,))) for _ in range(2)]
    train_loader, test_loader = (DataLoader(one, 100) for one in sides)
    member, labels = np.arange(12_000) % 2, rng.integers(0, 3, 12_000)
    logits = rng.normal(size=(12_000, 3)) + 3 * np.eye(3)[labels] * (1 + member)[:, None]
    return {**{name: value for name, value in locals().items() if name != "rng"}, "__name__": "reader"}


def test_the_lines_of_python_run_as_they_stand(folder, names, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    python = [code for language, code in BLOCKS if language == "python"]
    assert len(python) == 5
    for code in python:
        exec(code, names)
    out = capsys.readouterr().out
    assert out.count("Is it bad?") == 3
    assert out.count("lira-online") > 2, "reference models are used"
    assert {"report.html", "outputs.npz", "losses.npz", "REF.npz", "NET.npz"} <= {one.name for one in folder.iterdir()}
    assert all(len(code.splitlines()) <= 19 for code in python)


def test_the_commands_run_as_they_stand(folder, names, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (console,) = [code for language, code in BLOCKS if language == "console"]
    lines = [shlex.split(line, comments=True) for line in console.splitlines()]
    assert [main(line[1:]) for line in lines] == [0, 0, 3, 0]
    assert main(["audit", "losses.npz"]) == 0
    assert main(["audit", "outputs.npz", "--reference", "NET.npz"]) == 2, "those are of other samples"
    capsys.readouterr()
    assert (folder / "report.json").exists()


def test_the_chapter_on_lira_shows_the_same_lines_for_references():
    chapter = (Path(__file__).resolve().parents[1] / "book" / "05_lira.md").read_text("utf-8")
    shown = [code for language, code in BLOCKS if language == "python" and "RandomForestClassifier" in code]
    assert len(shown) == 1 and all(f"```python\n{code}```" in chapter for code in shown)
