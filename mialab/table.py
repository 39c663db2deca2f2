"""Outputs from a table (.csv): a row per sample, a column `member`, a column `label`, and one column per class.

Columns of classes are probabilities; where their names begin with `logit`, logits. Labels are their numbers from 0 on,
in the columns' order, or their names. Instead of classes there may be one column: `probability` or `logit` of class 1,
`loss` or `score`. Membership is 1 and 0, or words such as train and test. Columns named id or index, or without a name,
are left alone; so is the label's column, if there is none.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from mialab.outputs import AuditError

SEPARATORS = ",;\t"
LEFT_ALONE = ("", "id", "index", "unnamed: 0")
MEMBERS = ("1", "1.0", "true", "yes", "train", "training", "member", "in", "seen")
OTHERS = ("0", "0.0", "false", "no", "test", "testing", "nonmember", "non-member", "out", "unseen", "holdout")
COLUMN = {"label": ("label", "labels", "y", "target", "class"), "member": ("member", "membership", "is_member")}
ONE = {
    "probabilities": ("probability", "probabilities", "prob", "p"),
    "logits": ("logit", "logits"),
    "losses": ("loss", "losses"),
    "scores": ("score", "scores"),
}
PREFIXES = ("probability", "proba", "prob", "logits", "logit", "class", "p")


class NoTable(ValueError):
    """These bytes are no text with columns."""


def arrays(file: BinaryIO) -> dict[str, np.ndarray]:
    """One of logits, probabilities, losses and scores, `member`, and `labels` if there. AuditError; NoTable."""
    head, rows, decimal = _rows(file.read())
    names = [name.strip().lower() for name in head]
    place = {what: _place(what, names, head) for what in COLUMN}
    if place["member"] is None:
        raise AuditError(f"found a table with columns {_some(head)}; expected a column member: 1 for members, else 0")
    used = [i for i, name in enumerate(names) if name not in LEFT_ALONE and i not in place.values()]
    if not used:
        raise AuditError(f"found a table with columns {_some(head)}; expected one per class too, or one named loss")
    values = _numbers(head, rows, used, decimal)
    found = {"member": _member([row[place["member"]] for row in rows])}
    classes = [names[i] for i in used]
    kind = _kind(classes)
    if place["label"] is not None:
        given = [row[place["label"]].strip() for row in rows]
        found["labels"] = _labels(given, classes, numeric=kind in ("losses", "scores"))
    return {kind: values[:, 0] if len(used) == 1 else values, **found}


def _rows(content: bytes) -> tuple[list[str], list[list[str]], str]:
    """The head, the other rows, all of one length, and the sign of decimals."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise NoTable from None
    first = text.partition("\n")[0]
    separator = max(SEPARATORS, key=first.count)
    if not first.isprintable() and separator != "\t" and not first.rstrip("\r").isprintable() or separator not in first:
        raise NoTable
    head, *rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if row]
    wrong = next((i for i, row in enumerate(rows) if len(row) != len(head)), None)
    if wrong is not None:
        raise AuditError(f"found {len(rows[wrong])} cells in row {wrong + 2} of the table; expected {len(head)}")
    if not rows:
        raise AuditError("found a table without rows; expected one per sample")
    return head, rows, "," if separator == ";" else "."


def _place(what: str, names: Sequence[str], head: Sequence[str]) -> int | None:
    places = [i for i, name in enumerate(names) if name in COLUMN[what]]
    if len(places) > 1:
        both = " and ".join(head[i] for i in places)
        raise AuditError(f"found columns {both}; expected one {what}; drop the other")
    return places[0] if places else None


def _numbers(head, rows, used, decimal) -> np.ndarray:
    values = np.empty((len(rows), len(used)))
    for i, row in enumerate(rows):
        for j, column in enumerate(used):
            cell = row[column].strip()
            try:
                values[i, j] = float(cell.replace(",", ".") if decimal == "," else cell)
            except ValueError:
                remedy = "drop that column, or name it id" if j == 0 or i == 0 else "give a number in each cell"
                found = f"found {cell[:40]!r} in row {i + 2}, column {head[column]}"
                raise AuditError(f"{found}; expected numbers; {remedy}") from None
    return values


def _member(cells: Sequence[str]) -> np.ndarray:
    member = np.empty(len(cells), np.int64)
    for i, cell in enumerate(cells):
        word = cell.strip().lower()
        if word not in MEMBERS + OTHERS:
            raise AuditError(f"found {cell[:40]!r} in row {i + 2}, column member; expected 1 and 0, or train and test")
        member[i] = word in MEMBERS
    return member


def _kind(classes: Sequence[str]) -> str:
    if len(classes) == 1:
        found = next((kind for kind, names in ONE.items() if classes[0] in names), None)
        if found is None:
            raise AuditError(f"found one column of numbers, {classes[0]}; name it probability, logit, loss or score")
        return found
    return "logits" if all(name.startswith("logit") for name in classes) else "probabilities"


def _labels(given: Sequence[str], classes: Sequence[str], *, numeric: bool) -> np.ndarray:
    """Labels as numbers: those that stand there, or the places of the columns of these names."""
    try:
        return np.array([float(one) for one in given])
    except ValueError:
        pass
    if numeric:
        return np.unique(np.array(given), return_inverse=True)[1]
    places: dict[str, int] = {}
    for i, name in enumerate(classes):
        for called in (name, _without_prefix(name)):
            places.setdefault(called, i)
    strange = next((one for one in given if one.lower() not in places), None)
    if strange is not None:
        found = f"found label {strange[:40]!r}; expected one of the columns {_some(classes)}"
        raise AuditError(f"{found}; name the columns of classes as the labels are, or number both from 0 on")
    return np.array([places[one.lower()] for one in given])


def _without_prefix(name: str) -> str:
    """The class of a column such as prob_cat or p(cat)."""
    start = next((prefix for prefix in PREFIXES if name.startswith(prefix) and name != prefix), "")
    return name.removeprefix(start).strip(" _-()[].:")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
