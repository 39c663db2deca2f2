"""Files that people have, most of them mistaken: what each gets from `mialab audit`, in one table.

The kinds are those of public reports: wrong numbers without a word, refusals without a remedy, inputs of another form.
"""

import json
from functools import cache

import numpy as np
import pytest

from mialab.attacks.scale import ON_FEATURES
from mialab.cli import main

N, CLASSES, SHADOWS = 1000, 10, 16
MEMBER = np.arange(N) % 2


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@cache
def files() -> dict[str, dict[str, np.ndarray]]:
    """Arrays by the file's name."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, N)
    z = rng.normal(0, 1, (N, CLASSES))
    z[np.arange(N), y] += 2 + 2 * MEMBER
    right = {"logits": z.astype("f4"), "labels": y, "member": MEMBER}
    inside = MEMBER == 1
    ruled_out = np.where((np.arange(CLASSES) == 9) & (y != 9)[:, None], -np.inf, z)
    sure = rng.normal(0, 1, (N, CLASSES))
    sure[np.arange(N), y] = sure.max(axis=1) + rng.gamma(4, 3, N) + 6 * MEMBER
    one_output = rng.normal(0, 1.5, N) + (2 * (y % 2) - 1) * (1 + MEMBER)
    with_nan = np.where(np.arange(N)[:, None] == 7, np.nan, z)
    return {
        "right": right,
        "member the wrong way round": {**right, "member": 1 - MEMBER},
        "labels of another order": {**right, "labels": rng.permutation(y)},
        "labels of members of another order": {**right, "labels": np.where(inside, rng.permutation(y), y)},
        "classes from 1": {"logits": np.c_[z, np.full(N, -9.0)], "labels": y + 1, "member": MEMBER},
        "samples on both sides": {
            "logits": np.r_[z, z[inside]],
            "labels": np.r_[y, y[inside]],
            "member": np.r_[MEMBER, np.zeros(N // 2, int)],
        },
        "softmax as logits": {**right, "logits": softmax(z)},
        "class ruled out": {**right, "logits": ruled_out},
        "class ruled out, as probability": {"probabilities": softmax(ruled_out), "labels": y, "member": MEMBER},
        "sure, float16": {"probabilities": softmax(sure).astype("f2"), "labels": y, "member": MEMBER},
        "sure, float64": {"probabilities": softmax(sure), "labels": y, "member": MEMBER},
        "labels are names": {**right, "labels": np.array(list("abcdefghij"))[y]},
        "logits transposed": {**right, "logits": z.T},
        "labels one-hot of several": {**right, "labels": (rng.random((N, CLASSES)) < 0.3).astype(int)},
        "labels of -100": {**right, "labels": np.where(np.arange(N) < 9, -100, y)},
        "two decimals": {"probabilities": np.round(softmax(z), 2), "labels": y, "member": MEMBER},
        "a row of NaN": {**right, "logits": with_nan},
        "one logit": {"logits": one_output, "labels": y % 2, "member": MEMBER},
        "one probability": {"probabilities": 1 / (1 + np.exp(-one_output))[:, None], "labels": y % 2, "member": MEMBER},
        "losses alone": {"losses": -np.log(softmax(z)[np.arange(N), y]), "member": MEMBER},
        "scores alone": {"scores": z[np.arange(N), y], "member": MEMBER},
        "no labels": {"logits": z, "member": MEMBER},
        "no member": {"logits": z, "labels": y},
    }


@cache
def references() -> dict[str, dict[str, np.ndarray]]:
    """A target's reference files, by name; "target" is the target's own arrays."""
    rng = np.random.default_rng(1)
    y, hard = rng.integers(0, CLASSES, N), rng.normal(0, 1.5, N)
    member = np.stack([rng.permutation(N) < N // 2 for _ in range(SHADOWS)])

    def answers(mask):
        z = rng.normal(0, 1, (N, CLASSES))
        z[np.arange(N), y] += 2 + hard + mask
        return z.astype("f4")

    logits, target = np.stack([answers(mask) for mask in member]), answers(MEMBER)
    of_nan = np.where(np.arange(SHADOWS)[:, None, None] == 3, np.nan, logits)
    loss = -np.log(softmax(logits)[:, np.arange(N), y])
    return {
        "target": {"logits": target, "labels": y, "member": MEMBER},
        "right": {"logits": logits, "member": member},
        "holds the target": {"logits": np.r_[logits, target[None]], "member": np.r_[member, MEMBER[None] == 1]},
        "samples of another order": {"logits": logits[:, ::-1], "member": member[:, ::-1]},
        "member the wrong way round": {"logits": logits, "member": ~member},
        "one shadow is NaN": {"logits": of_nan, "member": member},
        "a number per sample": {"logits": logits[:, np.arange(N), y], "member": member},
        "losses": {"losses": loss, "member": member},
    }


# What each file gets: its notes where it is audited, else words of the refusal, which name what to do with this file.
AUDITED = {
    "right": [],
    "member the wrong way round": ["membership-inverted"],
    "labels of another order": ["labels-at-chance"],
    "labels of members of another order": ["labels-at-chance"],
    "classes from 1": ["classes-from-1"],
    "samples on both sides": ["identical-rows"],
    "softmax as logits": ["logits-are-probabilities"],
    "class ruled out": [],
    "class ruled out, as probability": [],
    "sure, float16": [],
    "sure, float64": [],
    "one logit": [],
    "one probability": [],
    "losses alone": [],
    "scores alone": [],
    "no labels": [],
}
REFUSED = {
    "labels are names": "np.unique(labels, return_inverse=True)[1]",
    "logits transposed": "use logits.T",
    "labels one-hot of several": "class by class, each as a binary model with labels[:, k]",
    "labels of -100": "labels",
    "two decimals": "np.clip(probabilities, 0, None)",
    "a row of NaN": "sample 7",
    "no member": "member",
}
WITH_REFERENCES = {
    "right": [],
    "holds the target": ["reference-is-the-model"],
    "samples of another order": ["reference-order"],
    "member the wrong way round": ["reference-membership-inverted"],
}
REFUSED_REFERENCES = {
    "one shadow is NaN": "np.delete(logits, 3, axis=0)",
    "a number per sample": "if it is the loss, call the array losses",
}


def audited(tmp_path, arrays, *options) -> tuple[int, dict]:
    np.savez(tmp_path / "file.npz", **arrays)
    code = main(["audit", str(tmp_path / "file.npz"), "--json", str(tmp_path / "out.json"), *map(str, options)])
    return code, json.loads((tmp_path / "out.json").read_text()) if (tmp_path / "out.json").exists() else {}


def test_the_table_has_every_file():
    assert AUDITED.keys() | REFUSED.keys() == files().keys()
    assert WITH_REFERENCES.keys() | REFUSED_REFERENCES.keys() | {"target", "losses"} == references().keys()


@pytest.mark.parametrize("name", AUDITED)
def test_a_file_that_is_audited_gets_these_notes(name, tmp_path, capsys):
    asked = {"right": (), "scores alone": (), "no labels": ("--attack", "entropy")}.get(name, ("--attack", "loss"))
    code, report = audited(tmp_path, files()[name], *asked)
    codes = [note["code"] for note in report["notes"] if note["code"] not in ("no-opinion", "saturated")]
    assert (code, codes) == (0, AUDITED[name])
    out = capsys.readouterr().out
    assert out.startswith("Is it bad? unclear: the file") == bool(codes and name != "softmax as logits")
    assert max(map(len, out.splitlines())) <= 120
    measured = {one: figures["auc"] for one, figures in report["attacks"].items()}
    assert measured and all(area is not None for area in measured.values())


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_refused_says_what_to_do_with_it(name, tmp_path, capsys):
    assert audited(tmp_path, files()[name]) == (2, {})
    (line,) = capsys.readouterr().err.splitlines()
    assert REFUSED[name] in line


@pytest.mark.parametrize("name", WITH_REFERENCES | REFUSED_REFERENCES)
def test_references_get_these_notes_or_this_remedy(name, tmp_path, capsys):
    np.savez(tmp_path / "ref.npz", **references()[name])
    asked = ("--reference", tmp_path / "ref.npz", "--attack", "gap", "--attack", "lira-online-fixed")
    code, report = audited(tmp_path, references()["target"], *asked)
    err = capsys.readouterr().err
    if name in REFUSED_REFERENCES:
        assert code == 2 and REFUSED_REFERENCES[name] in err
    else:
        found = [note["code"] for note in report["notes"] if note["code"] not in ("no-opinion", "saturated")]
        assert (code, found) == (0, WITH_REFERENCES[name])


def test_losses_of_shadows_serve_losses_of_a_model(tmp_path):
    target = references()["target"]
    own = -np.log(softmax(target["logits"])[np.arange(N), target["labels"]])
    np.savez(tmp_path / "ref.npz", **references()["losses"])
    code, report = audited(tmp_path, {"losses": own, "member": MEMBER}, "--reference", tmp_path / "ref.npz")
    assert code == 0 and report["attacks"]["lira-online-fixed"]["auc"] > report["attacks"]["loss"]["auc"] + 0.05


def test_the_same_information_gets_the_same_score(tmp_path):
    """One-output forms, -inf for probability 0, losses for logits, and a surer type: figures agree."""
    area = {}
    for name in set(AUDITED) - {"scores alone", "no labels"}:
        _, report = audited(tmp_path, files()[name], "--known", 0, "--attack", "loss")
        area[name] = report["attacks"]["loss"]["auc"]
    assert area["one logit"] == pytest.approx(area["one probability"], abs=1e-9)
    assert area["class ruled out"] == pytest.approx(area["class ruled out, as probability"], abs=1e-9)
    assert area["losses alone"] == pytest.approx(area["right"], abs=1e-6)
    assert area["sure, float16"] == pytest.approx(area["sure, float64"], abs=0.02)


@pytest.mark.parametrize("name", ["sure, float16", "sure, float64"])
def test_of_very_sure_models_networks_find_what_the_loss_finds_and_say_what_they_read(name, tmp_path, capsys):
    asked = [option for attack in (*ON_FEATURES, "loss") for option in ("--attack", attack)]
    _, report = audited(tmp_path, files()[name], *asked)
    (note,) = report["notes"]
    assert note["sentence"].startswith(", ".join(ON_FEATURES)) and "read -log(1 - p)" in note["sentence"]
    found = {attack: figures["auc"] for attack, figures in report["attacks"].items()}
    assert found["loss"] > 0.7 and min(found.values()) > found["loss"] - 0.06
