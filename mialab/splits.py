"""Who plays which part: disjoint roles of a data set's rows, stratified by class and drawn from a seed.

Attackers may know some members and non-members; evaluation rows are never known to them, and never trained on by a
defense's reference set (the released code of Nasr et al. reuses its test set there) or looked at for model selection.
"""

from dataclasses import dataclass, fields
from itertools import combinations
from types import SimpleNamespace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mialab.names import unknown

_OUR_MEMBERS = 10_000


class Pool(Protocol):
    """What is split: a `mialab.data.Dataset`, of which only labels and the official training set's size matter."""

    name: str
    y: Tensor
    train: int | None


@dataclass(frozen=True, eq=False)
class Roles:
    """Rows of a data set by role, int64 [rows] each: members on one side, all others on the other.

    known_in and audit_in are disjoint parts of target_train; target_train, validation, reference (a defense's D'),
    known_out and audit_out are disjoint. Raises ValueError naming the roles that overlap, or what is no such tensor.
    """

    target_train: Tensor
    validation: Tensor
    reference: Tensor
    known_in: Tensor
    known_out: Tensor
    audit_in: Tensor
    audit_out: Tensor

    def __post_init__(self) -> None:
        rows = {f.name: _checked(f.name, getattr(self, f.name)) for f in fields(self)}
        for one, other in combinations(rows, 2):
            if one == "target_train" and other in ("known_in", "audit_in"):
                if strangers := np.setdiff1d(rows[other], rows[one], assume_unique=True).size:
                    raise ValueError(f"{other} has {strangers} rows outside target_train, of which it must be a part")
            elif (shared := np.intersect1d(rows[one], rows[other], assume_unique=True)).size:
                raise ValueError(f"{one} and {other} share {shared.size} rows (first: {shared[0]}); keep them disjoint")

    def evaluation(self) -> tuple[Tensor, Tensor, Tensor]:
        """The rows that attacks see: rows int64 [n], member bool [n], known bool [n]; members first, each ascending."""
        parts = [self.known_in, self.audit_in, self.known_out, self.audit_out]
        flags = torch.tensor([[True, True], [True, False], [False, True], [False, False]])
        member, known = flags.repeat_interleave(torch.tensor([len(p) for p in parts]), dim=0).T
        order = np.lexsort((torch.cat(parts), ~member))
        return torch.cat(parts)[order], member[order], known[order]


def assign(
    dataset: Pool,
    *,
    members: int,
    nonmembers: int,
    validation: int = 0,
    reference: int = 0,
    evaluated: int | None = None,
    known: float = 0.5,
    official: bool = False,
    seed: int = 0,
) -> Roles:
    """Deal rows to roles, every role with the classes in proportion (within two rows each).

    members, nonmembers, validation, reference: numbers of rows; evaluated: how many of the members the attack is
    known by and audited on (None: all); known: the attacker's share of either side; official: members only from the
    official training set, everybody else only from the official test set. Raises ValueError where rows do not suffice.
    """
    evaluated = members if evaluated is None else evaluated
    wanted = members, nonmembers, validation, reference, evaluated, members - evaluated
    if not 0 <= known <= 1 or min(wanted) < 0:
        raise ValueError(f"known must be in [0, 1], counts from 0 up, evaluated at most members; got {known}, {wanted}")
    g = np.random.default_rng([seed])
    inside, outside = _sides(dataset, members, official, g)
    if members > len(inside) or nonmembers + validation + reference > len(outside):
        raise ValueError(
            f"{dataset.name}: {members} members of {len(inside)} rows and {nonmembers} non-members + {validation} "
            f"validation + {reference} reference of {len(outside)} do not fit; ask for fewer"
        )
    reference_rows, validation_rows, others = np.split(outside, [reference, reference + validation])
    known_in, audit_in = np.split(inside[:evaluated], [round(known * evaluated)])
    known_out, audit_out = np.split(others[:nonmembers], [round(known * nonmembers)])
    parts = (inside[:members], validation_rows, reference_rows, known_in, known_out, audit_in, audit_out)
    return Roles(*(torch.from_numpy(np.sort(part)) for part in parts))


def ensemble_paper(
    dataset: Pool,
    *,
    seed: int = 0,
    known: float = 0.8,
    members: int | None = None,
    nonmembers: int | None = None,
) -> Roles:
    """The ensemble paper's arrangement: official training set against official test set, 80 % of each known (§4.1).

    Without an official test set: 10,000 members (half of the rows where that is fewer; our choice, the paper states
    none), all other rows non-members. `members` and `nonmembers` take fewer. Validation and reference are empty by
    design: the paper has no third set, so nothing may be tuned here.
    """
    official = dataset.train is not None
    most = dataset.train if official else min(_OUR_MEMBERS, len(dataset.y) // 2)
    members = most if members is None else members
    rest = len(dataset.y) - (dataset.train if official else members)
    nonmembers = rest if nonmembers is None else nonmembers
    return assign(dataset, members=members, nonmembers=nonmembers, known=known, official=official, seed=seed)


def nasr(
    dataset: Pool,
    *,
    seed: int = 0,
    known: float = 0.5,
    members: int | None = None,
    reference: float = 0.4,
    validation: float = 0.1,
) -> Roles:
    """Nasr et al.'s half and half, for the pruning paper, which states none: half of all rows are members.

    All rows are pooled, official test set included; `members` (default: half of them) are drawn, and as many
    non-members. Of these, the shares `reference` (D' of the min-max game) and `validation` are set apart; the
    remaining ones (half by default, our choice) are matched by equally many of the members, so that always guessing
    "member" is right half the time, and the attacker knows half of either side, as in the released code.
    """
    members = len(dataset.y) // 2 if members is None else members
    apart = round(reference * members), round(validation * members)
    nonmembers = members - sum(apart)
    return assign(
        dataset,
        members=members,
        nonmembers=nonmembers,
        reference=apart[0],
        validation=apart[1],
        evaluated=nonmembers,
        known=known,
        seed=seed,
    )


def carlini(dataset: Pool, *, seed: int = 0, known: float = 0.5) -> Roles:
    """Carlini et al.'s arrangement, for attacks with shadow models: half of the official training set are members.

    The other half are the non-members, and an official test set plays no part. Without one, half of all rows.
    """
    rows = SimpleNamespace(name=dataset.name, y=dataset.y[: dataset.train], train=None)
    members = len(rows.y) // 2
    return assign(rows, members=members, nonmembers=len(rows.y) - members, known=known, seed=seed)


ARRANGEMENTS = {"ensemble_paper": ensemble_paper, "nasr": nasr, "carlini": carlini}


def arrange(name: str, dataset: Pool, *, known: float, seed: int) -> Roles:
    """The roles of a named arrangement; ValueError, listing close names, where there is none of that name."""
    if name not in ARRANGEMENTS:
        raise ValueError(unknown("arrangement", name, ARRANGEMENTS))
    return ARRANGEMENTS[name](dataset, known=known, seed=seed)


def known(labels: np.ndarray, member: np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """Marks an attacker's share of members and of non-members, the classes in proportion within two rows: bool [n].

    labels: int [n]; member: bool [n]. Of one seed, a larger share holds all of a smaller one.
    """
    g, mask = np.random.default_rng([seed]), np.zeros(len(labels), dtype=bool)
    for side in (np.flatnonzero(member), np.flatnonzero(~member)):
        mask[_stratified(labels, side, g)[: round(share * len(side))]] = True
    return mask


def half(labels: np.ndarray, number: int, *, seed: int) -> np.ndarray:
    """Marks the half that shadow model `number` is trained on, the classes in proportion within a row: bool [n].

    labels: int [n]. Shadow 2j + 1 gets what shadow 2j does not: of any even number of first shadows, each sample is in
    the training sets of exactly half, and further ones change nothing about the first.
    """
    pair, side = divmod(number, 2)
    order = _stratified(labels, np.arange(len(labels)), np.random.default_rng([seed, pair]))
    mask = np.zeros(len(labels), dtype=bool)
    mask[order[: len(labels) // 2]] = True
    return mask if side == 0 else ~mask


def _sides(dataset: Pool, members: int, official: bool, g: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows that may become members and rows that may not, both in stratified random order."""
    if not official:
        order = _stratified(dataset.y.numpy(), np.arange(len(dataset.y)), g)
        return order[:members], order[members:]
    if dataset.train is None:
        raise ValueError(f"{dataset.name} has no official test set; use official=False")
    rows = np.split(np.arange(len(dataset.y)), [dataset.train])
    return tuple(_stratified(dataset.y.numpy(), side, g) for side in rows)


def _stratified(y: np.ndarray, rows: np.ndarray, g: np.random.Generator) -> np.ndarray:
    """A random order of `rows` whose every stretch holds the classes in proportion, within two rows each.

    Each class is shuffled and spread evenly over [0, 1) from a random start; sorting by place interleaves the classes.
    """
    place = np.empty(len(rows))
    for label in np.unique(y[rows]):
        mine = np.flatnonzero(y[rows] == label)
        place[g.permutation(mine)] = (np.arange(len(mine)) + g.random()) / len(mine)
    return rows[np.argsort(place, kind="stable")]


def _checked(name: str, rows: Tensor) -> np.ndarray:
    if not isinstance(rows, Tensor) or rows.dtype != torch.int64 or rows.ndim != 1:
        raise ValueError(f"{name} must be an int64 tensor [rows], got {getattr(rows, 'dtype', type(rows).__name__)}")
    if len(rows) and (rows.min() < 0 or len(rows.unique()) < len(rows)):
        raise ValueError(f"{name} must hold distinct row numbers from 0 up")
    return rows.numpy()
