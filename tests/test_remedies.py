"""Every refusal says what to do with this very file: input, the words that must occur, the words that must not."""

import numpy as np
import pytest
import torch

from mialab.attacks import References, reference_files
from mialab.audit import AuditError, Outputs, audit, read
from mialab.fusion import softmax

N, C, K = 60, 5, 4
RNG = np.random.default_rng(0)
Z, LABELS, MEMBER = RNG.normal(size=(N, C)).astype("float32"), RNG.integers(0, C, N), np.arange(N) % 2
LABELS[:C] = np.arange(C)
P = softmax(Z)
ENSEMBLE, INSIDE = np.stack([Z, Z + 1e-3, Z + 2e-3]), RNG.random((K, N)) < 0.5
SHADOWS = np.stack([Z] * K)
NAMES = np.array(["ant", "bee", "cat", "dog", "elk"])[LABELS]
SEVERAL = (RNG.random((N, C)) < 0.4).astype(int)
SEVERAL[0] = 1


def put(array, place, value):
    array = array.copy()
    array[place] = value
    return array


OUTPUTS = [  # what is changed, words that must occur, words that must not
    # labels
    ({"labels": NAMES}, ["np.unique(labels, return_inverse=True)[1]", "order of the model's outputs"], ["'train'"]),
    ({"labels": np.eye(C)[LABELS]}, ["one-hot", "labels.argmax(1)"], ["several"]),
    ({"labels": np.eye(C)[LABELS].T}, ["one-hot", "labels.argmax(0)"], ["argmax(1)"]),
    ({"labels": SEVERAL}, ["several classes", "class by class", "labels[:, k]"], ["argmax", "ravel"]),
    ({"labels": np.full((N, C), 1 / C)}, ["soft labels"], ["argmax"]),
    ({"labels": LABELS[:, None]}, ["labels.ravel()"], ["one-hot"]),
    ({"labels": put(LABELS, slice(3, 9), -100)}, ["drop the 6 samples", "keep = labels >= 0"], ["recode", "- 1"]),
    ({"labels": put(LABELS.astype(float), 3, np.nan)}, ["drop the 1 samples"], ["recode"]),
    ({"labels": LABELS + 1}, ["numbered from 1 to 5", "labels - 1"], ["recode", "drop"]),
    ({"labels": 10 * LABELS}, ["np.unique(labels, return_inverse=True)[1]"], ["labels - 1", "drop"]),
    ({"labels": put(LABELS, 3, 7)}, ["outputs of all 8 classes"], ["labels - 1"]),
    ({"logits": Z[:, 0], "labels": 2 * (LABELS % 2) - 1}, ["(labels > 0).astype(int)"], ["drop"]),
    # membership
    ({"member": np.where(MEMBER, "train", "test")}, ["(member == 'train').astype(int)"], ["np.unique"]),
    ({"member": np.where(MEMBER, "yes", "no")}, ["(member == 'yes').astype(int)"], ["'train'"]),
    ({"member": 2 * MEMBER - 1}, ["(member == 1).astype(int)"], ["recode"]),
    ({"member": np.arange(N) % 3}, ["third set", "drop samples"], ["recode"]),
    ({"member": np.stack([MEMBER] * 3, 1).T}, ["member.any(axis=0)"], ["argmax"]),
    # outputs
    ({"logits": Z.T}, ["use logits.T"], ["one entry per sample"]),
    ({"logits": np.moveaxis(ENSEMBLE, 0, -1)}, ["np.moveaxis(logits, -1, 0) if models are the last"], ["one entry"]),
    ({"logits": np.swapaxes(ENSEMBLE, 1, 2)}, ["np.swapaxes(logits, 1, 2)"], ["one entry"]),
    ({"logits": Z[:, 0]}, ["outputs of all 5 classes"], ["reshape"]),
    ({"logits": Z[:, :1]}, ["outputs of all 5 classes"], ["reshape", "[1 - p, p]"]),
    ({"logits": np.moveaxis(ENSEMBLE, 0, 1)}, ["several queries, logits[None]"], ["reshape"]),
    ({"logits": ENSEMBLE[None, None]}, ["augmentations", "mean"], ["reshape"]),
    ({"logits": put(Z, (3, 1), np.nan)}, ["drop such samples (1 of 60)"], ["np.delete"]),
    ({"logits": put(ENSEMBLE, 1, np.nan)}, ["np.delete(logits, 1, axis=0)", "60 of its 60"], ["such samples"]),
    ({"logits": put(Z, 3, -np.inf)}, ["drop such samples (1 of 60)"], ["overflowed"]),
    ({"logits": put(Z, (3, 1), np.inf)}, ["overflowed", "float32"], []),
    ({"logits": None}, ["found nothing (None)", "give the array logits"], ["object"]),
    ({"member": None}, ["found nothing (None)", "give the array member"], ["object"]),
    ({"logits": Z.astype(complex)}, ["logits.real"], []),
    ({"logits": [[1.0, 2.0], [1.0]]}, ["as many numbers"], []),
    ({"logits": torch.from_numpy(Z).bfloat16()}, ["logits.detach().float().cpu()"], ["\n"]),
    ({"logits": torch.from_numpy(Z).requires_grad_()}, ["logits.detach().float().cpu()"], ["\n"]),
    ({"logits": Z.view("V4")}, ["bfloat16", "astype(np.float32)"], []),
]
PROBABILITIES = [
    (np.round(P, 1), ["np.clip(probabilities, 0, None)", "probabilities.sum(-1, keepdims=True)"], ["logits"]),
    (put(P, (3, 1), -1e-9), ["np.clip(probabilities, 0, None)"], ["logits"]),
    (P[:, 0], ["outputs of all 5 classes"], ["0 *"]),
    (Z[:, :1], ["one output per sample", "call the array logits"], ["0 *"]),
    (100 * P, ["probabilities / 100"], ["raw outputs"]),
    (np.log(P), ["log-probabilities", "call the array logits"], ["clip"]),
    (1 / (1 + np.exp(-3 * Z)), ["one sigmoid per class", "class by class"], ["clip"]),
    (Z, ["if these are raw outputs, call the array logits"], ["clip"]),
    (P.T, ["np.swapaxes(probabilities, -1, -2)"], ["logits"]),
    (np.moveaxis(softmax(ENSEMBLE), 0, -1), ["np.moveaxis(probabilities, -1, 0)"], ["logits"]),
]
REFERENCES = [
    ({"logits": put(SHADOWS, 2, np.nan)}, ["np.delete(logits, 2, axis=0) and from member"], ["drop such samples"]),
    ({"logits": SHADOWS[:, :, 0]}, ["one number per sample", "call the array losses"], ["reshape"]),
    ({"logits": SHADOWS[0]}, ["one shadow as logits[None]"], ["reshape"]),
    ({"logits": np.stack([SHADOWS] * 2, 1)}, ["fuse each ensemble first"], ["reshape"]),
    ({"logits": np.swapaxes(SHADOWS, 0, 1)}, ["np.swapaxes(logits, 0, 1)"], ["audited samples;"]),
    ({"logits": np.swapaxes(SHADOWS, 1, 2)}, ["np.swapaxes(logits, 2, 1)"], []),
    ({"member": INSIDE.T}, ["member.T"], []),
]


def says(message, words, never):
    assert "\n" not in message, message
    assert all(word in message for word in words), message
    assert not any(word in message for word in never), message


@pytest.mark.parametrize(("changed", "words", "never"), OUTPUTS)
def test_outputs_are_refused_with_what_to_do(changed, words, never):
    with pytest.raises(AuditError) as caught:
        Outputs(**{"logits": Z, "labels": LABELS, "member": MEMBER, **changed})
    says(str(caught.value), words, never)


@pytest.mark.parametrize(("given", "words", "never"), PROBABILITIES)
def test_probabilities_are_refused_with_what_to_do(given, words, never):
    with pytest.raises(AuditError) as caught:
        Outputs.from_probabilities(given, LABELS, MEMBER)
    says(str(caught.value), words, never)


@pytest.mark.parametrize(("changed", "words", "never"), REFERENCES)
def test_references_are_refused_with_what_to_do(changed, words, never, tmp_path):
    np.savez(tmp_path / "ref.npz", **{"logits": SHADOWS, "member": INSIDE, **changed})
    with pytest.raises(AuditError) as caught:
        reference_files.read(tmp_path / "ref.npz", Outputs(Z, LABELS, MEMBER))
    says(str(caught.value), words, never)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"logits": Z, "targets": LABELS, "train": MEMBER}, ["call it labels", "call it member"]),
        ({"probs": P, "labels": LABELS, "member": MEMBER}, ["if probs is that, call it probabilities"]),
        ({"logits": Z, "labels": NAMES.astype(object), "member": MEMBER}, ["labels.astype(str)"]),
        ({"logits": np.array(None), "labels": LABELS, "member": MEMBER}, ["or None", "logits.astype(np.float32)"]),
    ],
)
def test_files_are_refused_with_what_to_do(arrays, words, tmp_path):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(AuditError) as caught:
        read(tmp_path / "bad.npz")
    says(str(caught.value), words, [])


def test_the_remedies_mend_what_they_are_for():
    """Ground truth: the audit of the mended arrays is that of the right ones."""
    expected = audit(Outputs(Z, LABELS, MEMBER), attacks=["gap", "loss"]).to_dict()

    def mended(**changed):
        return audit(Outputs(**{"logits": Z, "labels": LABELS, "member": MEMBER, **changed}), attacks=["gap", "loss"])

    assert mended(labels=np.unique(NAMES, return_inverse=True)[1]).to_dict() == expected
    assert mended(labels=np.eye(C)[LABELS].argmax(1)).to_dict() == expected
    assert mended(logits=Z.T.T).to_dict() == expected
    assert mended(logits=torch.from_numpy(Z).requires_grad_().detach().float().cpu()).to_dict() == expected
    rounded = np.clip(put(P, (3, 1), -1e-9), 0, None)
    rounded /= rounded.sum(-1, keepdims=True)
    Outputs.from_probabilities(rounded, LABELS, MEMBER)
    one = np.stack([0 * Z[:, 0], Z[:, 0]], -1)
    np.testing.assert_allclose(softmax(one)[:, 1], 1 / (1 + np.exp(-Z[:, 0].astype(float))))


# a class ruled out: the same information gives the same score


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("models", [1, 3])
def test_minus_infinity_gives_what_the_probability_zero_gives(dtype, models):
    rng = np.random.default_rng(1)
    logits = (rng.normal(size=(models, 400, 6)) + 3 * np.eye(6)[(labels := rng.integers(0, 6, 400))]).astype(dtype)
    member = np.arange(400) % 2
    logits[rng.random(logits.shape) < 0.3] = -np.inf  # the true class too
    logits[..., 0] = np.where(np.isinf(logits[..., 0]), 0, logits[..., 0])
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    ruled_out = audit(Outputs(logits, labels, member), known=0.5)
    zeros = audit(Outputs.from_probabilities(p, labels, member), known=0.5)
    for name, result in ruled_out.attacks.items():
        assert result.everyone.auc.value == pytest.approx(zeros.attacks[name].everyone.auc.value, abs=5e-3), name
    assert ruled_out.accuracy == zeros.accuracy


def test_minus_infinity_in_references_gives_what_the_probability_zero_gives():
    logits = put(SHADOWS.astype("float64"), (slice(None), slice(None), 1), -np.inf)
    p = softmax(logits)
    given, zeros = References(logits, INSIDE, LABELS), References.from_probabilities(p, INSIDE, LABELS)
    np.testing.assert_allclose(given.log_odds, zeros.log_odds, atol=1e-9)


def test_a_class_ruled_out_is_less_likely_than_every_class_that_is_not():
    logits = np.array([[[0.0, -1e4, -np.inf], [0.0, 1.0, 2.0], [5.0, -np.inf, 4.0]]] * 2)
    kept = Outputs(logits[0], [0, 1, 0], [1, 0, 1]).logits[0]
    log_p = kept - np.log(np.exp(kept).sum(axis=1, keepdims=True))
    assert np.isfinite(kept).all() and max(log_p[0, 2], log_p[2, 1]) <= log_p[0, 1] + 1e-9
