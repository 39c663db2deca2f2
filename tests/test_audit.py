"""The audit on cases with known answers, and what it refuses."""

import json
import math
import os
import pickle
import warnings
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mialab import attacks, metrics
from mialab.audit import AuditError, Outputs, audit, read

FAST = ("gap", "confidence", "loss", "entropy", "modified-entropy")
NEURAL = ("neural-published", "neural-released", "neural-per-class")


def make(members=300, nonmembers=200, *, classes=4, models=1, leak=1.0, seed=0, dtype=np.float32):
    """Logits in which the true class stands out, and `leak` more on members; in shuffled order."""
    rng = np.random.default_rng(seed)
    n = members + nonmembers
    labels, member = rng.integers(classes, size=n), rng.permutation(n) < members
    logits = rng.normal(size=(models, n, classes)) + rng.normal(size=(n, classes))
    logits[:, np.arange(n), labels] += 1 + leak * member
    return logits.astype(dtype), labels, member


def softmax(logits):
    e = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def aucs(report):
    return {name: result.everyone.auc.value for name, result in report.attacks.items()}


# what is accepted


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble", ">f4", "int32"])
def test_every_real_type_is_accepted_and_gives_the_same_audit(dtype):
    logits, labels, member = make()
    logits = np.round(4 * logits)  # exact in every type
    expected = audit(Outputs(logits, labels, member), attacks=FAST).to_dict()
    assert audit(Outputs(logits.astype(dtype), labels, member), attacks=FAST).to_dict() == expected


@pytest.mark.parametrize("labels", [np.uint8, np.float32, ">i4", list])
@pytest.mark.parametrize("member", [bool, np.int8, np.float16, list])
def test_whole_numbers_of_any_type_are_labels_and_membership(labels, member):
    logits, y, m = make(6, 5)
    cast = [array.tolist() if kind is list else array.astype(kind) for array, kind in ((y, labels), (m, member))]
    outputs = Outputs(logits, *cast)
    assert outputs.labels.dtype == np.int64 and outputs.labels.tolist() == y.tolist()
    assert outputs.member.dtype == bool and outputs.member.tolist() == m.tolist()


def test_torch_tensors_are_accepted():
    logits, labels, member = make(6, 5)
    outputs = Outputs(*(torch.from_numpy(array) for array in (logits, labels, member)))
    assert (outputs.logits == logits).all()


def test_one_model_may_come_without_the_models_axis():
    logits, labels, member = make()
    without, with_axis = (audit(Outputs(x, labels, member), attacks=FAST) for x in (logits[0], logits))
    assert without.to_dict() == with_axis.to_dict()


def test_probabilities_give_what_their_logits_give():
    logits, labels, member = make(models=3, dtype=np.float64)
    from_logits = audit(Outputs(logits, labels, member))
    from_probabilities = audit(Outputs.from_probabilities(softmax(logits), labels, member))
    for name in FAST:
        assert aucs(from_probabilities)[name] == pytest.approx(aucs(from_logits)[name], abs=1e-12)
    for name in NEURAL:
        assert aucs(from_probabilities)[name] == pytest.approx(aucs(from_logits)[name], abs=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_softmaxes_in_low_precision_are_probabilities(dtype):
    logits, labels, member = make(classes=100, leak=3)
    p = softmax(logits).astype(dtype)
    exact = aucs(audit(Outputs(logits, labels, member), attacks=FAST, known=0))
    assert aucs(audit(Outputs.from_probabilities(p, labels, member), attacks=FAST, known=0)) == pytest.approx(
        exact, abs=2e-3
    )


def test_softmaxes_rounded_to_three_decimals_are_probabilities():
    logits, labels, member = make(classes=10)
    p = np.round(softmax(logits), 3)
    assert np.abs(p.sum(axis=-1) - 1).max() > 1e-3
    Outputs.from_probabilities(p, labels, member)


@pytest.mark.parametrize("classes", [50, 100])
def test_the_tolerance_of_rounding_grows_with_the_classes(classes):
    p = np.full((20, classes), 0.0004)  # each below half a thousandth
    p[:, 0] = 1 - p[:, 1:].sum(axis=1)
    labels, member = np.zeros(20), np.arange(20) % 2
    Outputs.from_probabilities(np.round(p, 3), labels, member)
    with pytest.raises(AuditError, match="sums to 0.94"):
        Outputs.from_probabilities(0.94 * p, labels, member)
    with pytest.raises(AuditError, match="sums to"):  # few classes have no such excuse
        Outputs.from_probabilities(np.round(p[:, :2], 3) / p[:, :2].sum() * 0.98, labels, member)


def test_probabilities_are_averaged_as_they_were_saved():
    p = np.array([[[1, 0, 3e-4]] * 4, [[0, 1, 0]] * 4], np.float16)  # the mean ties: the first class is predicted
    report = audit(Outputs.from_probabilities(p, [0, 0, 0, 1], [1, 1, 0, 0]), attacks=["gap", "confidence"], known=0)
    assert report.attacks["gap"].scores.tolist() == [1, 1, 1, 0]
    mean = np.array([0.5, 0.5, np.float16(3e-4) / 2])
    odds = np.log(mean[0] / mean[1:].sum())  # of either class: they tie
    assert report.attacks["confidence"].scores.tolist() == pytest.approx([odds] * 4, abs=1e-12)


def test_a_lead_too_small_for_the_logarithm_decides_the_prediction_everywhere():
    p = np.full((4, 16), np.nextafter(1 / 16, 0))
    p[:, 15] = 1 / 16
    report = audit(Outputs.from_probabilities(p, [15, 15, 15, 0], [1, 1, 0, 0]), attacks=["gap"], known=0)
    gap = report.attacks["gap"]
    assert gap.scores.tolist() == [1, 1, 1, 0] and report.accuracy == (1.0, 0.5)
    assert (gap.correct.members, gap.correct.nonmembers, gap.misclassified.nonmembers) == (2, 1, 1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("coarse", [False, True])
def test_the_gap_attack_takes_the_first_largest_of_numpy_s_mean(dtype, coarse):
    logits, labels, member = make(models=3, dtype=np.float64)
    tenths = np.random.default_rng(0).multinomial(10, [0.25] * 4, size=(3, len(labels)))  # many ties
    p = (tenths / 10 if coarse else softmax(12 * logits)).astype(dtype)
    expected = p.astype(np.float64).mean(axis=0).argmax(axis=1) == labels
    report = audit(Outputs.from_probabilities(p, labels, member), attacks=["gap"])
    np.testing.assert_array_equal(report.attacks["gap"].scores, expected)
    assert report.accuracy == (expected[member].mean(), expected[~member].mean())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "bool"])
def test_certain_predictions_have_finite_log_probabilities_below_every_other(dtype):
    p = np.eye(3)[[0, 1, 2, 0]].astype(dtype)
    logits = Outputs.from_probabilities(p, [0, 1, 2, 1], [1, 1, 0, 0]).logits
    assert np.isfinite(logits).all()
    if np.dtype(dtype).kind == "f":
        assert logits.min() == pytest.approx(math.log(np.finfo(dtype).smallest_subnormal), rel=1e-6)


# what is refused, with what was found, what is expected, and how to mend it


def files(**changed):
    logits, labels, member = make(6, 5)
    return {"logits": logits[0], "labels": labels, "member": member.astype(int), **changed}


def put(array, index, value):
    array = array.copy()
    array[index] = value
    return array


LOGITS, LABELS, MEMBER = files().values()
P = softmax(LOGITS)
BAD_ARRAYS = {
    "one output of four classes": (files(logits=LOGITS[:, 0]), "labels: found .*expected class .*0 to 1"),
    "five axes": (files(logits=LOGITS[None, None, None]), r"found shape \[1, 1, 1, 11, 4\]"),
    "queries first": (files(logits=LOGITS[None, None]), r"labels: found shape \[11\]; expected \[1\]"),
    "other length": (files(labels=LABELS[:-1]), r"labels: found shape \[10\]; expected \[11\]"),
    "a column of labels": (files(labels=LABELS[:, None]), r"labels: found shape \[11, 1\].*ravel"),
    "samples first": (files(logits=np.zeros((11, 3, 4))), r"labels: found shape \[11\]; expected \[3\]"),
    "a column of members": (files(member=MEMBER[:, None]), r"member: found shape \[11, 1\].*ravel"),
    "a scalar label": (files(labels=np.int64(1)), r"labels: found shape \[\]"),
    "NaN": (files(logits=put(LOGITS, (2, 1), np.nan)), "found nan at model 0, sample 2, class 1"),
    "infinity": (files(logits=put(LOGITS, (2, 1), np.inf)), "found inf at model 0, sample 2, class 1"),
    "every class ruled out": (files(logits=put(LOGITS, 2, -np.inf)), "found -inf at model 0, sample 2, class 0"),
    "beyond float64": (files(logits=np.full((11, 4), np.longdouble("1e4000"))), "found inf"),
    "label too large": (files(labels=put(LABELS, 3, 4)), "labels: found 4 at sample 3; expected class .*0 to 3"),
    "negative label": (files(labels=put(LABELS, 3, -1)), "labels: found -1 at sample 3"),
    "huge label": (files(labels=np.full(11, 2**64 - 1, np.uint64)), "labels: found 18446744073709551615"),
    "label not whole": (files(labels=LABELS + 0.5), "labels: found .*5 at sample 0"),
    "label NaN": (files(labels=put(LABELS.astype(float), 3, np.nan)), "labels: found nan at sample 3"),
    "membership 2": (files(member=put(MEMBER, 3, 2)), "member: found 2 at sample 3; expected 1 for members and 0"),
    "membership -1": (files(member=2 * MEMBER - 1), "member: found -1 at sample"),
    "membership half": (files(member=MEMBER / 2), "member: found 0.5 at sample"),
    "members only": (files(member=np.ones(11)), "member: found members only"),
    "non-members only": (files(member=np.zeros(11)), "member: found non-members only"),
    "no samples": (files(logits=np.zeros((0, 4)), labels=np.zeros(0), member=np.zeros(0)), "no samples"),
    "no models": (files(logits=np.zeros((0, 11, 4))), "no models"),
    "no classes": (files(logits=np.zeros((11, 0))), "0 classes; expected at least 2"),
    "one class": (files(logits=np.zeros((11, 1))), "labels: found .*expected class .*0 to 1"),
    "text": (files(labels=np.array(["cat"] * 11)), "labels: found type <U3; expected real numbers"),
    "complex": (files(logits=LOGITS.astype(complex)), "logits: found type complex128; expected real numbers"),
    "dates": (files(labels=np.zeros(11, "datetime64[s]")), "labels: found type datetime64"),
    "records": (files(member=np.zeros(11, [("a", int)])), "member: found type"),
    "objects": (files(labels=LABELS.astype(object)), "labels: cannot be read .*[Oo]bject"),
    "two scores": (files(probabilities=P), "found both logits and probabilities"),
    "labels by another name": ({"logits": LOGITS, "member": MEMBER, "y": LABELS}, "if y is that, call it labels"),
    "nothing known": ({"x": LOGITS}, r"found x; expected logits \(or probabilities, losses, scores\) and member too"),
    "no arrays": ({}, "found no arrays"),
}
BAD_PROBABILITIES = {
    "logits": (LOGITS, "if these are raw outputs, call the array logits"),
    "negative": (put(P, (2, slice(None)), [1.2, -0.2, 0, 0]), r"from -0.2 to 1.2 .*model 0, sample 2"),
    "above one": (put(P, (2, 1), 1.5), "to 1.5 that sums to"),
    "sum too small": (0.9 * P, "sums to 0.9"),
    "per cent": (100 * P, "sums to 100"),
    "NaN": (put(P, (2, 1), np.nan), "probabilities: found nan"),
    "overflow": (np.full((11, 4), 1e308), "sums to inf"),
    "sigmoids": (P[:, :1], "labels: found .*expected class .*0 to 1"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_are_refused_in_one_line(case, tmp_path):
    arrays, message = BAD_ARRAYS[case]
    np.savez(tmp_path / "bad.npz", **arrays)
    refused(tmp_path / "bad.npz", message)


@pytest.mark.parametrize("case", BAD_PROBABILITIES)
def test_what_is_no_probability_is_refused(case, tmp_path):
    probabilities, message = BAD_PROBABILITIES[case]
    np.savez(tmp_path / "bad.npz", probabilities=probabilities, labels=LABELS, member=MEMBER)
    refused(tmp_path / "bad.npz", message)


def refused(path, message):
    with warnings.catch_warnings(), pytest.raises(AuditError, match=message) as caught:
        warnings.simplefilter("error")
        read(path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{path}: ")


def zipped(path, **entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)


def huge_header(shape):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def test_unreadable_files_are_refused_in_one_line(tmp_path):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    np.savez(good, **files())
    refused(tmp_path / "absent.npz", "found no such file")
    refused(tmp_path, "found a directory")
    refused(tmp_path / ("a" * 300), "name too long")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "found no regular file")
    for content, message in {
        b"": "found an empty file",
        b"logits,labels\n1,2\n": "found a table with columns logits, labels; expected a column member",
        b"hello\n": "found no .npz archive, but a file of another kind; save it with",
        pickle.dumps(files()): "found no .npz archive, but a file of another kind; save it with",
        good.read_bytes()[:-50]: "found no readable .npz archive",
        good.read_bytes()[:10]: "found no readable .npz archive",
        b"PK\x05\x06" + bytes(18): "found no arrays",
    }.items():
        bad.write_bytes(content)
        refused(bad, message)
    np.save(tmp_path / "one.npy", LOGITS)
    refused(tmp_path / "one.npy", r"found a single array \(.npy\)")


def test_strange_archives_are_refused_in_one_line(tmp_path):
    bad = tmp_path / "bad.npz"
    zipped(bad, readme="hello")
    refused(bad, "found readme; expected logits")
    zipped(bad, logits="hello", labels="hello", member="hello")
    refused(bad, "logits: found no NumPy array")
    zipped(bad, logits=huge_header((2**40, 10)), labels="", member="")
    refused(bad, "larger than the memory|cannot be read")
    zipped(bad, logits=huge_header((2**62, 2**62)), labels="", member="")
    refused(bad, "cannot be read")
    zipped(bad, logits=huge_header((100, 10)), labels="", member="")
    refused(bad, "cannot be read")


def test_arrays_larger_than_the_memory_are_refused_before_they_are_read(tmp_path, monkeypatch):
    np.savez(tmp_path / "big.npz", **files())
    monkeypatch.setattr("mialab.reading._memory_bytes", lambda: 100)
    refused(tmp_path / "big.npz", "larger than the memory")


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    def forbidden(*_, **__):  # as for a user other than root, who may read everything
        raise PermissionError(13, "Permission denied")

    np.savez(tmp_path / "mine.npz", **files())
    monkeypatch.setattr(np, "load", forbidden)
    refused(tmp_path / "mine.npz", r"cannot be read \(Permission denied\); check the file")


def test_other_arrays_in_the_file_are_left_alone(tmp_path):
    np.savez(tmp_path / "more.npz", **files(names=np.array([{}], dtype=object)))
    assert read(tmp_path / "more.npz").labels.tolist() == LABELS.tolist()


@given(data=st.data())
@settings(max_examples=150, derandomize=True, deadline=None)
def test_damaged_bytes_are_read_or_refused_in_one_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    np.savez(path, **files())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path.write_bytes(content)
    try:
        read(path)
    except AuditError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"known": 1.0}, "known: found 1.0; expected at least 0 and below 1"),
        ({"known": -0.1}, "known"),
        ({"known": math.nan}, "known: found nan"),
        ({"known": "0.8"}, "known: found '0.8'; expected at least 0"),
        ({"known": None}, "known: found None"),
        (
            {"known": np.zeros(10, bool)},
            r"known: found type bool and shape \[10\]; expected a share .* or a mask.*\[11\]",
        ),
        ({"known": np.zeros((1, 11), bool)}, r"shape \[1, 11\]"),
        ({"known": np.arange(11)}, "known: found type int64"),
        ({"known": [[True], [True, False]]}, "known: cannot be made an array"),
        ({"known": np.ones(11, bool)}, "expected some samples left to evaluate on"),
        ({"known": np.arange(11) < 4, "split": "file-order"}, "split: found 'file-order' beside a mask"),
        ({"split": "given"}, "split: found 'given' without a mask"),
        ({"seed": 1.5}, "seed: found 1.5; expected a whole number"),
        ({"seed": "0"}, "seed: found '0'"),
        ({"attacks": [None]}, "attacks: found None; expected names or objects of class Attack"),
        ({"attacks": 5}, "attacks: found 5; expected names"),
        ({"split": "sorted"}, "split: found 'sorted'; expected random or file-order"),
        ({"fusion": "geometric"}, "no fusion 'geometric'"),
        ({"attacks": ["confidense"]}, "unknown attack 'confidense'; did you mean confidence"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(AuditError, match=message):
        audit(Outputs(*make(6, 5)), **arguments)


def one_more(score, name="mine"):
    return attacks.from_function(name, lambda evidence, known, seed: score(evidence))


def test_an_attack_of_one_s_own_stands_beside_the_named_ones():
    mine = one_more(lambda evidence: evidence.p[np.arange(len(evidence.labels)), evidence.labels])
    outputs = Outputs(*make())
    report = audit(outputs, attacks=[mine, "confidence", mine])
    assert list(report.attacks) == ["mine", "confidence"]
    assert aucs(report)["mine"] == aucs(report)["confidence"] == aucs(audit(outputs, attacks=mine))["mine"]


def test_two_attacks_of_one_name_and_scores_that_are_none_are_refused():
    outputs = Outputs(*make(6, 5))
    with pytest.raises(AuditError, match="two that are named 'gap'"):
        audit(outputs, attacks=["gap", one_more(lambda evidence: np.zeros(11), "gap")])
    for scores in (np.zeros(5), np.full(11, np.nan), None, np.array(["high"] * 11)):
        with pytest.raises(AuditError, match="attack mine: found scores .*expected a number for each of 11"):
            audit(outputs, attacks=one_more(lambda _, scores=scores: scores))


@pytest.mark.parametrize("which", ["logits", "labels", "member"])
def test_masked_entries_are_refused(which):
    arrays = dict(zip(("logits", "labels", "member"), make(6, 5), strict=True))
    hidden = np.zeros(arrays[which].shape, bool)
    Outputs(**{**arrays, which: np.ma.MaskedArray(arrays[which], hidden)})
    hidden.flat[3] = True
    with pytest.raises(AuditError, match=f"{which}: found masked entries"):
        Outputs(**{**arrays, which: np.ma.MaskedArray(arrays[which], hidden)})


# who is known, and on whom attacks are measured


@pytest.mark.parametrize("split", ["random", "file-order"])
@pytest.mark.parametrize("known", [0.0, 0.5, 0.8, 0.95])
def test_the_known_share_holds_within_each_class_and_side(split, known):
    logits, labels, member = make(130, 70, classes=3)
    report = audit(Outputs(logits, labels, member), attacks=["gap"], known=known, split=split)
    for label in range(3):
        for side in (True, False):
            stratum = (labels == label) & (member == side)
            assert (stratum & ~report.evaluated).sum() == int(known * stratum.sum())
            if split == "file-order":
                assert not report.evaluated[stratum][: int(known * stratum.sum())].any()


def test_the_random_split_follows_the_seed():
    outputs = Outputs(*make())
    masks = [audit(outputs, attacks=["gap"], seed=seed).evaluated for seed in (0, 0, 1, -5, 10**30)]
    assert (masks[0] == masks[1]).all()
    assert all((masks[0] != other).any() for other in masks[2:])


def test_the_seed_reaches_the_neural_attacks():
    outputs = Outputs(*make())
    first, again, other = (aucs(audit(outputs, attacks=NEURAL, split="file-order", seed=seed)) for seed in (0, 0, 1))
    assert first == again and all(first[name] != other[name] for name in first)


def test_all_attacks_are_measured_on_the_same_samples():
    report = audit(Outputs(*make()))
    sides = {(figures.members, figures.nonmembers) for figures in (r.everyone for r in report.attacks.values())}
    assert sides == {(report.member[report.evaluated].sum(), (~report.member)[report.evaluated].sum())}
    assert list(report.attacks) == [name for name, one in attacks.ALL.items() if not one.needs and not one.costly]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8])
def test_a_mask_of_known_samples_gives_what_the_share_gives_that_drew_it(share):
    outputs = Outputs(*make(models=2))
    drawn = audit(outputs, known=share, white_box=True)
    given = audit(outputs, known=~drawn.evaluated, white_box=True)
    assert given.to_dict() == drawn.to_dict()
    assert (given.evaluated == drawn.evaluated).all()


def test_a_report_on_a_given_mask_says_whom_it_held_and_not_how_it_was_drawn():
    logits, labels, member = make(60, 40)
    mask = np.where(member, np.arange(100) < 30, np.arange(100) % 10 == 0)
    report = audit(Outputs(logits, labels, member), attacks=["gap", "loss-per-class"], known=mask)
    known, inside = (mask & member.astype(bool)).sum(), report.member
    lines = str(report).splitlines()
    assert f"known to the attacker: {known} members and {mask.sum() - known} non-members, as given" in lines
    rest = f"{(inside & ~mask).sum()} members, {(~inside & ~mask).sum()} non-members"
    assert f"evaluated on the rest: {rest}" in lines
    assert report.settings.split == "given" and report.settings.known == mask.mean()
    assert "class and side" not in str(report) and "best balanced" not in str(report)


def test_a_mask_that_knows_nobody_is_an_audit_without_known_samples():
    outputs = Outputs(*make())
    report = audit(outputs, known=np.zeros(len(outputs.labels), bool))
    assert str(report) == str(audit(outputs, known=0))


# figures


def test_the_confidence_attack_on_two_normals_has_the_auc_of_the_closed_form():
    rng = np.random.default_rng(0)
    member = np.arange(40_000) % 2
    margin = rng.normal(1.5 * member)
    report = audit(Outputs(np.stack([0 * margin, margin], 1), member * 0 + 1, member), attacks=["confidence"])
    figures = report.attacks["confidence"].everyone
    exact = 0.5 + 0.5 * math.erf(1.5 / 2)  # Phi(1.5 / sqrt 2)
    best = 0.5 + 0.5 * math.erf(0.75 / math.sqrt(2))  # Phi(0.75): threshold half-way
    assert figures.auc.low < exact < figures.auc.high and figures.auc.high - figures.auc.low < 0.03
    assert figures.balanced_accuracy.low < best < figures.balanced_accuracy.high


def test_figures_agree_with_scikit_learn_on_all_and_by_correctness():
    logits, labels, member = make(models=3)
    report = audit(Outputs(logits, labels, member), attacks=["confidence"])
    p = softmax(logits).mean(axis=0)
    score, right = p[np.arange(len(labels)), labels], p.argmax(axis=1) == labels
    result = report.attacks["confidence"]
    for figures, part in ((result.everyone, True), (result.correct, right), (result.misclassified, ~right)):
        rows = report.evaluated & part
        assert figures.auc.value == pytest.approx(roc_auc_score(member[rows], score[rows]), abs=1e-12)
        assert (figures.members, figures.nonmembers) == (member[rows].sum(), (~member[rows]).sum())
    assert report.accuracy == (right[member].mean(), right[~member].mean())


def balanced(score, member, threshold):
    return ((score >= threshold)[member].mean() + (score < threshold)[~member].mean()) / 2


def test_the_threshold_is_the_best_one_of_the_known_samples():
    logits, labels, member = make()
    report = audit(Outputs(logits, labels, member), attacks=["confidence"])
    score, known, rest = softmax(logits)[0, np.arange(len(labels)), labels], ~report.evaluated, report.evaluated
    threshold = max(score[known], key=lambda t: (round(balanced(score[known], member[known], t), 12), t))
    figures = report.attacks["confidence"].everyone
    assert figures.balanced_accuracy.value == pytest.approx(balanced(score[rest], member[rest], threshold), abs=1e-12)
    right = ((score >= threshold) == member)[rest].mean()
    assert figures.accuracy.value == pytest.approx(right, abs=1e-12)
    assert figures.accuracy.member_share == member[rest].mean()


def test_with_none_known_balanced_accuracy_is_the_best_over_thresholds_and_says_so():
    logits, labels, member = make()
    report = audit(Outputs(logits, labels, member), known=0)
    score = softmax(logits)[0, np.arange(len(labels)), labels]
    best = max(balanced(score, member, threshold) for threshold in score)
    estimate = report.attacks["confidence"].everyone.balanced_accuracy
    assert estimate.value == pytest.approx(best, abs=1e-12)
    assert estimate == metrics.best_balanced_accuracy(report.attacks["confidence"].scores, member)
    assert report.evaluated.all() and "best balanced acc." in str(report) and "optimistic" in str(report)


def test_with_none_known_attacks_that_learn_are_skipped_with_that_reason():
    report = audit(Outputs(*make()), known=0)
    assert tuple(report.attacks) == FAST
    usual = {name for name, one in attacks.ALL.items() if not one.needs and not one.costly}
    assert set(report.skipped) == usual - set(FAST)
    assert all("none are known" in reason for reason in report.skipped.values())


def test_the_gap_attack_is_half_plus_half_the_accuracy_gap():
    report = audit(Outputs(*make(models=2)), attacks=["gap"], known=0)
    inside, outside = report.accuracy
    figures = report.attacks["gap"].everyone
    assert figures.auc.value == pytest.approx(0.5 + (inside - outside) / 2, abs=1e-12)
    assert figures.balanced_accuracy.value == pytest.approx(0.5 + (inside - outside) / 2, abs=1e-12)


def test_too_few_samples_give_null_and_a_table_that_says_so():
    logits = np.array([[2.0, 0], [2.0, 0], [2.0, 0], [0, 2.0]])
    report = audit(Outputs(logits, [0, 0, 0, 0], [1, 1, 0, 0]), attacks=["gap", "neural-published"])
    gap = report.to_dict()["attacks"]["gap"]
    assert gap["tpr"] == gap["tpr_interval"] == {"0.1": None, "0.01": None, "0.001": None}
    assert gap["misclassified"]["auc"] is None and gap["misclassified"]["auc_interval"] is None
    assert gap["misclassified"]["evaluated"]["members"] == 0
    assert report.skipped["neural-published"] and "neural-published: fewer" in str(report)
    assert "too few" in str(report)


def test_a_threshold_that_could_not_be_chosen_gives_null():
    report = audit(Outputs(*make(1, 5, classes=2)), attacks=["confidence"])
    figures = report.to_dict()["attacks"]["confidence"]
    assert figures["auc"] is not None and figures["balanced_accuracy"] is None
    assert figures["balanced_accuracy_interval"] is None


def test_a_tpr_needs_ten_expected_false_positives():
    outputs = Outputs(*make(300, 1000))
    tpr = audit(outputs, attacks=["loss"], known=0).to_dict()["attacks"]["loss"]["tpr"]
    assert tpr["0.1"] is not None and tpr["0.01"] is not None and tpr["0.001"] is None


# what must not matter, and what must


def test_shuffled_membership_leaves_nothing_to_find():
    logits, labels, member = make(1500, 1000, classes=10, models=2)
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(member)
        for result in audit(Outputs(logits, labels, shuffled), seed=seed).attacks.values():
            value, low, high = result.everyone.auc
            reach = (high - low) / 2 * 3.5 / 1.96  # 36 figures: two in a thousand runs would stray this far
            assert abs(value - 0.5) < reach


def test_a_leak_is_found_with_the_right_sign_by_every_attack():
    report = audit(Outputs(*make(1500, 1000, leak=4)))
    assert all(result.everyone.auc.low > 0.5 for result in report.attacks.values())


def test_the_order_of_samples_does_not_matter_where_nothing_is_drawn():
    logits, labels, member = make(models=2)
    order = np.random.default_rng(1).permutation(len(labels))
    one = audit(Outputs(logits, labels, member), known=0).to_dict()
    other = audit(Outputs(logits[:, order], labels[order], member[order]), known=0).to_dict()
    for drawn in (one, other):
        del drawn["divergence"]["prediction"]  # a classifier's folds are drawn
    assert one == other


@pytest.mark.parametrize("fusion", ["confidence", "logit"])
def test_identical_models_are_one_model(fusion):
    logits, labels, member = make()
    one, four = (audit(Outputs(np.repeat(logits, k, 0), labels, member), fusion=fusion) for k in (1, 4))
    for name in set(aucs(one)):
        assert aucs(four)[name] == pytest.approx(aucs(one)[name], abs=1e-3 if name in NEURAL else 1e-9)


def test_a_constant_added_to_a_row_of_logits_changes_nothing():
    logits, labels, member = make(models=2, dtype=np.float64)
    shift = np.random.default_rng(1).integers(-8, 8, (2, len(labels), 1))
    logits = np.round(logits * 1024) / 1024  # so that the sums are exact
    for fusion in ("confidence", "logit"):
        one, other = (audit(Outputs(x, labels, member), fusion=fusion) for x in (logits, logits + shift))
        for name in aucs(one):
            assert aucs(other)[name] == pytest.approx(aucs(one)[name], abs=1e-3 if name in NEURAL else 1e-9)


def test_a_white_box_attack_sees_the_disagreement_that_fusion_hides():
    rng = np.random.default_rng(0)
    member = np.arange(2000) % 2
    p = np.full((2, 2000, 2), 0.5)
    p[:, :, 0] += np.array([[0.3], [-0.3]]) * member  # models disagree on members; the mean is one half for all
    outputs = Outputs.from_probabilities(np.stack([p[..., 0], 1 - p[..., 0]], -1), rng.integers(2, size=2000), member)
    black, white = (aucs(audit(outputs, attacks=["neural-published"], white_box=w)) for w in (False, True))
    assert black["neural-published"] == pytest.approx(0.5, abs=0.05) and white["neural-published"] > 0.99


def test_logits_that_are_probabilities_are_remarked_on():
    logits, labels, member = make()
    assert "name the array so" in str(audit(Outputs(softmax(logits), labels, member), attacks=["gap"]))
    assert "name the array so" not in str(audit(Outputs(logits, labels, member), attacks=["gap"]))


# the released procedure, read anew: facts in, sklearn's AUC out


def released(logits, labels, member, seed):
    """Gap and neural AUC: first 80 % per class known, sides cut to one length, pooled; 128-64, 30 steps of Adam."""
    p = torch.softmax(torch.from_numpy(logits).double(), dim=-1).mean(dim=0)
    train, test = [], []
    for label in np.unique(labels):
        sides = [np.flatnonzero((labels == label) & (member == side)) for side in (True, False)]
        if min(map(len, sides)) < 10:
            continue
        known = [side[: int(0.8 * len(side))] for side in sides]
        shortest = min(map(len, known))
        train += [side[:shortest] for side in known]
        test += [side[int(0.8 * len(side)) :] for side in sides]
    train, test = np.concatenate(train), np.concatenate(test)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [torch.nn.Linear(*size) for size in ((p.shape[1], 128), (128, 64), (64, 1))]
    network = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2], torch.nn.Sigmoid())
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(30):
        optimizer.zero_grad()
        truth = torch.from_numpy(member[train]).float()[:, None]
        torch.nn.functional.binary_cross_entropy(network(p[train].float()), truth).backward()
        optimizer.step()
    score = network(p[test].float()).detach().numpy()[:, 0]
    right = p[test].numpy().argmax(axis=1) == labels[test]
    return roc_auc_score(member[test], right), roc_auc_score(member[test], score)


def test_the_audit_in_file_order_agrees_with_the_released_procedure():
    logits, labels, member = make(5000, 1000, classes=10, models=3, leak=3)
    asked = {"attacks": ["gap", "neural-released"], "split": "file-order", "fusion": "confidence"}
    naive = np.array([released(logits, labels, member, seed) for seed in range(6)])
    ours = np.array([list(aucs(audit(Outputs(logits, labels, member), **asked, seed=s)).values()) for s in range(6)])
    assert abs(ours[:, 0] - naive[:, 0]).max() < 1e-12
    noise = math.hypot(naive[:, 1].std(ddof=1), ours[:, 1].std(ddof=1)) / math.sqrt(6)
    assert naive[:, 1].mean() > 0.55  # the comparison is of a leak, not of two blanks
    assert abs(ours[:, 1].mean() - naive[:, 1].mean()) < 4 * noise + 0.005


# the report


def keys(node):
    return {key: keys(value) for key, value in node.items()} if isinstance(node, dict) else None


def test_the_json_has_exactly_the_documented_keys_and_plain_values():
    report = audit(Outputs(*make()), attacks=["gap", "loss"]).to_dict()
    sides, tpr = {"members": None, "nonmembers": None}, {"0.1": None, "0.01": None, "0.001": None}
    figures = {"auc": None, "auc_interval": None, "balanced_accuracy": None, "balanced_accuracy_interval": None}
    figures |= {"tpr": tpr, "tpr_interval": tpr, "evaluated": sides}
    attack = {**figures, "correct": figures, "misclassified": figures}
    expected = {
        "version": None,
        "notes": None,
        "samples": sides,
        "accuracy": sides,
        "attacks": {"gap": attack, "loss": attack},
        "answer": {"level": None, "lines": None},
        "claim": None,
    }
    by_fpr = ("lift", "lift_interval", "precision", "precision_interval", "found")
    risk = {"advantage": None, "advantage_interval": None, **dict.fromkeys(by_fpr, tpr)}
    expected["risk"] = {"prior": None, "attacks": {"gap": risk, "loss": risk}}
    assert keys({**report, "divergence": {}}) == {**expected, "skipped": {}, "divergence": {}}
    assert report["version"] == 1 and report["samples"] == {"members": 300, "nonmembers": 200}
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_attacks_keep_the_order_asked_for_and_repetitions_are_dropped():
    report = audit(Outputs(*make()), attacks=["loss", "gap", "loss"])
    assert list(report.attacks) == ["loss", "gap"]


@pytest.mark.parametrize("known", [0.0, 0.8])
def test_the_table_fits_in_120_columns_of_plain_text(known):
    logits, labels, member = make(3000, 2500, models=12, classes=100)
    logits[:, member, labels[member]] += 100  # figures of 100.00 %, the widest
    text = str(
        audit(Outputs(logits, labels, member), known=known, white_box=True, attacks=[*FAST, *list(attacks.ALL)[5:9]])
    )
    assert text.isascii() and max(map(len, text.splitlines())) <= 120
    assert "accuracy: 100.00 [99.88, 100.00] % on members" in text


def test_the_widest_figures_fit_in_120_columns():
    outputs = Outputs(np.eye(2)[np.arange(200_000) % 2] * 9, np.zeros(200_000), 1 - np.arange(200_000) % 2)
    text = str(audit(outputs, known=0, attacks=["gap", *[one_more(lambda e: e.p[:, 0], "modified-entropy-per-class")]]))
    assert text.count("100.00 [100.00, 100.00]") > 5 and max(map(len, text.splitlines())) <= 120


def test_the_table_has_intervals_for_every_accuracy():
    report = audit(Outputs(*make(300, 200)), attacks=["confidence"])
    figures = report.attacks["confidence"].everyone
    for estimate in (figures.balanced_accuracy, figures.accuracy):
        value, low, high = (f"{100 * figure:.2f}" for figure in estimate[:3])
        assert f"{value} [{low}, {high}]" in str(report)
    inside = metrics.proportion(round(300 * report.accuracy[0]), 300)
    assert "accuracy: {:.2f} [{:.2f}, {:.2f}] % on members".format(*(100 * end for end in inside)) in str(report)
