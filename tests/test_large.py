"""Outputs of very many samples and classes: the same figures, without arrays that nobody needs, and a sign of life."""

import io
import subprocess
import sys

import numpy as np
import pytest

import mialab.audit.run
from mialab import divergence, fusion
from mialab.audit import Outputs, audit
from mialab.fusion import Rows, by_rows


@pytest.fixture
def rows():
    whole = np.random.default_rng(0).normal(size=(50, 7))
    order = np.random.default_rng(1).permutation(50)
    return Rows(lambda samples: whole[samples], order, 7), whole[order]


PAIRED = np.arange(9), np.arange(9) % 7


@pytest.mark.parametrize(
    "key",
    [
        3,
        -1,
        slice(2, 9),
        slice(None),
        np.array([4, 4, 0]),
        np.arange(50) % 3 == 0,
        (5, 2),
        (np.arange(9), np.arange(9) % 7),
    ],
    ids=repr,
)
def test_rows_are_indexed_as_an_array_is(rows, key, monkeypatch):
    monkeypatch.setattr(fusion.rows, "AT_ONCE", 21)
    assert np.array_equal(rows[0][key], rows[1][key])


def test_rows_are_taken_as_an_array_and_by_pieces(rows, monkeypatch):
    monkeypatch.setattr(fusion.rows, "AT_ONCE", 21)
    lazy, whole = rows
    assert len(lazy) == 50 and lazy.shape == (50, 7) and len(list(lazy.pieces())) == 17
    assert np.array_equal(np.asarray(lazy), whole) and np.array_equal(np.exp(lazy), np.exp(whole))
    assert np.array_equal(lazy[:, [1, 5]], whole[:, [1, 5]])
    for name in ("max", "argmax", "argmin"):
        assert np.array_equal(getattr(lazy, name)(axis=1), getattr(whole, name)(axis=1))
    labels = np.arange(50) % 7
    assert np.array_equal(by_rows(fusion.log_odds, lazy, labels), fusion.log_odds(whole, labels))
    assert np.array_equal(by_rows(divergence.features, lazy, labels), divergence.features(whole, labels))
    with pytest.raises(ValueError, match="axis=1"):
        lazy.max(axis=0)


def outputs(models: int = 1, n: int = 900, classes: int = 6) -> Outputs:
    rng = np.random.default_rng(0)
    member, labels = np.arange(n) % 2 == 1, rng.integers(0, classes, n)
    logits = rng.normal(0, 2, (models, n, classes)).astype(np.float32)
    logits[:, np.arange(n), labels] += 2 + 2 * member
    return Outputs(logits, labels, member)


@pytest.mark.parametrize("fused", ["confidence", "logit"])
@pytest.mark.parametrize("models", [1, 3])
def test_large_outputs_get_the_figures_of_small_ones(models, fused, monkeypatch):
    made = outputs(models)
    small = audit(made, fusion=fused)
    monkeypatch.setattr(mialab.audit.run, "LARGE", 1)
    monkeypatch.setattr(fusion.rows, "AT_ONCE", 500)
    large = audit(made, fusion=fused)
    assert isinstance(large.log_p, Rows) and np.array_equal(large.log_p, small.log_p)
    assert large.skipped == small.skipped and large.accuracy == small.accuracy
    for name, one in small.attacks.items():
        assert np.allclose(large.attacks[name].scores, one.scores, rtol=1e-4, atol=1e-4), name
        assert large.attacks[name].everyone.auc == pytest.approx(one.everyone.auc, abs=1e-3), name
    assert large.divergence.to_dict()["prediction"]["js"] == pytest.approx(small.divergence.prediction.value)
    assert large.to_html().startswith("<!DOCTYPE html>")


def test_large_probabilities_are_fused_by_sample_as_saved(monkeypatch):
    p = np.exp(fusion.log_confidence(outputs().logits[0].astype(np.float64))).astype(np.float32)
    made = Outputs.from_probabilities(p, outputs().labels, outputs().member)
    small = audit(made, attacks=["loss", "entropy"])
    monkeypatch.setattr(mialab.audit.run, "LARGE", 1)
    large = audit(made, attacks=["loss", "entropy"])
    assert large.to_dict() == small.to_dict()


PEAK = """
import resource, sys
import numpy as np
from mialab.audit import audit, read
made = read(sys.argv[1])
str(audit(made, attacks=["gap", "loss", "entropy", "modified-entropy-per-class", "neural-released"]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


BARE = """
import resource
import scipy.optimize, scipy.special, sklearn.linear_model
from mialab.audit import audit, read
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_the_memory_of_an_audit_is_less_than_three_times_the_file_s(tmp_path):
    rng = np.random.default_rng(0)
    n, classes = 20_000, 1000
    labels = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)).astype(np.float32)
    logits[np.arange(n), labels] += 3
    np.savez(tmp_path / "large.npz", logits=logits, labels=labels, member=np.arange(n) % 2)
    size_kib = (tmp_path / "large.npz").stat().st_size / 1024
    del logits
    peak_kib, bare_kib = (
        int(subprocess.run([sys.executable, "-c", code, place], capture_output=True, check=True).stdout.split()[-1])
        for code, place in ((PEAK, str(tmp_path / "large.npz")), (BARE, ""))
    )
    assert peak_kib - bare_kib < 3 * size_kib


def test_a_bar_names_the_attack_after_two_seconds_and_not_before(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for patience, seen in ((1000.0, False), (0.0, True)):
        shown = Terminal()
        monkeypatch.setattr(sys, "stderr", shown)
        monkeypatch.setattr(mialab.audit.run, "PATIENCE", patience)
        audit(outputs(), attacks=["gap", "loss"], progress=True)
        assert ("loss" in shown.getvalue()) == seen
        silent = Terminal()
        monkeypatch.setattr(sys, "stderr", silent)
        audit(outputs(), attacks=["gap", "loss"])
        assert silent.getvalue() == ""
