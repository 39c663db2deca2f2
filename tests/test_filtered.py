"""A table with a choice over its columns; and the networks in turn that the chapter looks at."""

import re
from dataclasses import replace

import numpy as np
import pytest
from experiment_cases import TINY

from mialab import training
from mialab.cells.sequential import Sequential
from mialab.chapters import filtered as module
from mialab.chapters import in_turn
from mialab.chapters.filtered import filtered
from mialab.chapters.in_turn import load_in_turn
from mialab.engine.store import Store
from mialab.experiments.between import SEQUENTIAL
from mialab.splits import Arrangement

ROWS = [
    {"paper": "one", "verdict": "holds", "share": "5%"},
    {"paper": "two", "verdict": "holds", "share": 0.5},
    {"paper": "one", "verdict": "a < b", "share": None},
]


@pytest.fixture
def shown(monkeypatch):
    """What filtered() displays."""
    bundles = []
    monkeypatch.setattr(module, "display", lambda bundle, raw: bundles.append(bundle))
    return bundles


def test_each_choice_lists_the_values_of_its_column_and_all(shown):
    filtered(ROWS, ("verdict", "paper"))
    page = shown[0]["text/html"]
    columns = re.findall(r'<select data-column="(\d)">(.*?)</select>', page)
    assert [number for number, _ in columns] == ["1", "0"]
    assert [re.findall(r">([^<]+)</option>", options) for _, options in columns] == [
        ["all", "holds", "a &lt; b"],
        ["all", "one", "two"],
    ]
    assert page.count("<tr>") == 1 + len(ROWS) and "5\u00a0%" in page


def test_without_scripts_the_whole_table_is_shown_and_no_choice(shown):
    filtered(ROWS, ("paper",), caption="Both")
    page = shown[0]["text/html"]
    assert "<fieldset hidden>" in page and "<caption>Both</caption>" in page and "<tr hidden" not in page
    assert shown[0]["text/plain"] == "3 rows: paper one (2), two (1)"
    assert not re.search(r"https?:|src=\"(?!data:)|@import|url\(", page), "it asks for nothing from outside"


def test_a_table_that_cannot_be_chosen_from_is_refused():
    with pytest.raises(ValueError, match="found no row"):
        filtered([], ("paper",))
    with pytest.raises(ValueError, match="no column 'author'; choose among paper, verdict, share"):
        filtered(ROWS, ("author",))


def test_networks_in_turn_are_those_of_the_experiment_and_trained_once(tmp_path, monkeypatch):
    pipeline = replace(TINY.pipeline, arrangement=Arrangement(reference=0.5))
    setting = replace(in_turn.SETTINGS["smoke"], models=2, epochs=(1, 3), recipe=TINY.pipeline.last.recipe)
    monkeypatch.setattr(type(setting), "pipeline", lambda self, seed: pipeline.seeded(seed))
    monkeypatch.setitem(in_turn.SETTINGS, "smoke", setting)
    store = Store(tmp_path)
    turn = load_in_turn(1.0, store=store, jobs=1)
    assert turn.outputs.logits.shape[:2] == (2, len(turn.outputs.labels))
    assert turn.right.shape == turn.confidence.shape == turn.kept.shape == (2, turn.outputs.member.sum())
    monkeypatch.setattr(training, "fit", None)
    again = load_in_turn(1.0, store=store)
    np.testing.assert_array_equal(again.outputs.logits, turn.outputs.logits)
    targets = {cell.audit.target for cell in SEQUENTIAL.grid("smoke", seeds=(0,)) if hasattr(cell, "audit")}
    shares = {target.leaves_out for target in targets if isinstance(target, Sequential)}
    assert 1.0 in shares, "the share that the chapter trains live is recorded, too"
