"""What an audit is read from: archives of every kind, tables, streams; and the small inputs that people have."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mialab.attacks import reference_files
from mialab.audit import AuditError, Outputs, Scores, audit, read
from mialab.fusion import softmax

RNG = np.random.default_rng(0)
N, C = 60, 3
LABELS, MEMBER = RNG.integers(0, C, N), np.arange(N) % 2
Z = RNG.normal(size=(N, C)) + 2 * np.eye(C)[LABELS]
P = softmax(Z)
NAMES = np.array(["cat", "dog", "eel"])
QUICK = ("gap", "loss")


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "file.npz", **arrays)
    return read(tmp_path / "file.npz")


def test_an_archive_holds_logits_probabilities_losses_or_scores_with_labels_or_without(tmp_path):
    for name, array in {"logits": Z, "probabilities": P, "losses": Z[:, 0] ** 2, "scores": Z[:, 0]}.items():
        for labels in ({"labels": LABELS}, {}):
            found = saved(tmp_path, **{name: array}, member=MEMBER, **labels)
            assert isinstance(found, Scores if name in ("losses", "scores") else Outputs)
            assert found.labelled == bool(labels)


def test_two_kinds_in_one_archive_are_refused(tmp_path):
    with pytest.raises(AuditError, match="found both logits and losses; expected one of them"):
        saved(tmp_path, logits=Z, losses=Z[:, 0], member=MEMBER)


def test_references_of_one_output_and_of_losses_are_read(tmp_path):
    inside = RNG.permuted(np.tile(np.arange(8) < 4, (N, 1)), axis=1).T
    binary = Outputs(Z[:, 0], LABELS % 2, MEMBER)
    np.savez(tmp_path / "one.npz", logits=RNG.normal(size=(8, N)), member=inside)
    assert reference_files.read(tmp_path / "one.npz", binary).logits.shape == (8, N, 2)
    np.savez(tmp_path / "losses.npz", losses=RNG.gamma(2, 1, (8, N)), member=inside)
    for own in (binary, Scores(np.ones(N), MEMBER, kind="losses")):
        assert reference_files.read(tmp_path / "losses.npz", own).kind == "losses"
    np.savez(tmp_path / "classes.npz", logits=RNG.normal(size=(8, N, C)), member=inside)
    with pytest.raises(AuditError, match="found outputs per class, but no labels"):
        reference_files.read(tmp_path / "classes.npz", Scores(np.ones(N), MEMBER, kind="losses"))
    np.savez(tmp_path / "labelled.npz", logits=RNG.normal(size=(8, N, C)), member=inside, labels=LABELS)
    reference_files.read(tmp_path / "labelled.npz", Scores(np.ones(N), MEMBER, kind="losses"))


# tables


def table(columns, separator=",", decimal="."):
    head = separator.join(columns)
    rows = [
        separator.join(str(cell).replace(".", decimal) for cell in row) for row in zip(*columns.values(), strict=True)
    ]
    return "\n".join([head, *rows]) + "\n"


def from_table(tmp_path, text, encoding="utf-8"):
    (tmp_path / "file.csv").write_bytes(text.encode(encoding))
    return read(tmp_path / "file.csv")


CLASSES = {f"p{k}": P[:, k] for k in range(C)}
KNOWN = {"label": LABELS, "member": MEMBER}
TABLES = {
    "plain": (table({**CLASSES, **KNOWN}), "utf-8"),
    "known first, with a byte order mark": (table({**KNOWN, **CLASSES}), "utf-8-sig"),
    "semicolons and decimal commas": (table({**CLASSES, **KNOWN}, ";", ","), "utf-8"),
    "tabs": (table({**CLASSES, **KNOWN}, "\t"), "utf-8"),
    "an index": (table({"": np.arange(N), **CLASSES, **KNOWN}), "utf-8"),
    "words": (table({**CLASSES, "Label": LABELS, "Member": np.where(MEMBER, "train", "test")}), "utf-8"),
    "names of classes": (
        table({**{f"prob_{NAMES[k]}": P[:, k] for k in range(C)}, "label": NAMES[LABELS], "member": MEMBER}),
        "utf-8",
    ),
    "windows line ends": (table({**CLASSES, **KNOWN}).replace("\n", "\r\n"), "utf-8"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_gives_what_the_archive_gives(name, tmp_path):
    text, encoding = TABLES[name]
    found = audit(from_table(tmp_path, text, encoding), attacks=QUICK).to_dict()
    assert found == audit(Outputs.from_probabilities(P, LABELS, MEMBER), attacks=QUICK).to_dict()


def test_a_table_of_logits_and_of_one_column(tmp_path):
    logits = from_table(tmp_path, table({**{f"logit{k}": Z[:, k] for k in range(C)}, **KNOWN}))
    np.testing.assert_allclose(logits.logits[0], Z)
    one = from_table(tmp_path, table({"probability": P[:, 0], "label": LABELS % 2, "member": MEMBER}))
    np.testing.assert_allclose(one.probabilities[0, :, 1], P[:, 0])
    losses = from_table(tmp_path, table({"loss": Z[:, 0] ** 2, "member": MEMBER}))
    assert losses.kind == "losses" and not losses.labelled


BAD_TABLES = {
    "no member": (table({**CLASSES, "label": LABELS}), "columns p0, p1, p2, label; expected a column member"),
    "no class": (table(KNOWN), "expected one per class too"),
    "a word": (table({**CLASSES, "note": ["x"] * N, **KNOWN}), "found 'x' in row 2, column note"),
    "member": (table({**CLASSES, "label": LABELS, "member": ["maybe"] * N}), "'maybe' in row 2, column member"),
    "label": (table({**CLASSES, "label": ["owl"] * N, "member": MEMBER}), "found label 'owl'; expected one of"),
    "two labels": (table({**CLASSES, "y": LABELS, **KNOWN}), "found columns y and label; expected one label"),
    "no rows": ("p0,p1,member\n", "table without rows"),
    "short row": (table({**CLASSES, **KNOWN}) + "1,2\n", "found 2 cells in row 62"),
    "one column of what": (table({"value": Z[:, 0], **KNOWN}), "name it probability, logit, loss or score"),
    "no probabilities": (table({f"p{k}": Z[:, k] for k in range(C)} | KNOWN), "call the array logits"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_bad_table_is_refused_in_one_line(name, tmp_path):
    text, message = BAD_TABLES[name]
    with pytest.raises(AuditError, match=message) as caught:
        from_table(tmp_path, text)
    assert "\n" not in str(caught.value) and "file.csv" in str(caught.value)


# streams


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_standard_input_is_read(kind, tmp_path, monkeypatch):
    content = io.BytesIO()
    if kind == "npz":
        np.savez(content, logits=Z, labels=LABELS, member=MEMBER)
    else:
        content.write(TABLES["plain"][0].encode())
    content.seek(0)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=content))
    assert audit(read("-"), attacks=QUICK).attacks["gap"].everyone.auc is not None
