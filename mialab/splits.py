"""Who plays which part: disjoint roles of a data set's rows, stratified by class and drawn from a seed.

Evaluation rows are those that an attack is audited on; how many of them the attacker knows is the attack's own affair
(`known`) and changes no training. They are never trained on by a defense's reference set or looked at for model
selection, unless the arrangement `RELEASED` is asked for by name: the released code of Nasr et al. lets the defense
learn from the rows that it is then judged on. Chapter 01 explains members, chapter 03 shadows.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from itertools import combinations
from types import SimpleNamespace
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from mialab.names import unknown
from mialab.seeds import derive
from mialab.share import count

_OUR_MEMBERS = 10_000


class Pool(Protocol):
    """What is split: a `mialab.data.Dataset` or `Folder`, of which labels and the official training set's size matter.

    A data set's size that is known without loading it (`mialab.data.known`) will do, where only numbers are wanted.
    """

    @property
    def name(self) -> str: ...

    @property
    def y(self) -> Tensor: ...

    @property
    def train(self) -> int | None: ...


@dataclass(frozen=True, eq=False)
class Roles:
    """Rows of a data set by role, int64 [rows] each: members on one side, all others on the other.

    audit_in is a part of target_train; target_train, audit_out, reference (a defense's D') and validation are disjoint.
    Raises ValueError naming the roles that overlap, or what is no such tensor.
    """

    PARTS: ClassVar[tuple[tuple[str, str], ...]] = (("target_train", "audit_in"),)  # whole, and what lies within it

    target_train: Tensor
    audit_in: Tensor
    audit_out: Tensor
    reference: Tensor
    validation: Tensor

    def __post_init__(self) -> None:
        rows = {f.name: _checked(f.name, getattr(self, f.name)) for f in fields(self)}
        for one, other in combinations(rows, 2):
            if (one, other) in self.PARTS:
                if strangers := np.setdiff1d(rows[other], rows[one], assume_unique=True).size:
                    raise ValueError(f"{other} has {strangers} rows outside {one}, of which it must be a part")
            elif (shared := np.intersect1d(rows[one], rows[other], assume_unique=True)).size:
                raise ValueError(f"{one} and {other} share {shared.size} rows (first: {shared[0]}); keep them disjoint")

    def evaluation(self) -> tuple[Tensor, Tensor]:
        """The rows that attacks are audited on: rows int64 [n], member bool [n]; members first, each side ascending."""
        rows = torch.cat([self.audit_in.sort().values, self.audit_out.sort().values])
        return rows, torch.arange(len(rows)) < len(self.audit_in)


class ReleasedRoles(Roles):
    """Roles whose reference rows are a part of audit_out: the defense has seen non-members that it is audited on.

    All other overlaps are refused as in `Roles`. Only the arrangement "released" makes them.
    """

    PARTS = (*Roles.PARTS, ("audit_out", "reference"))


@dataclass(frozen=True)
class Arrangement:
    """How rows are dealt to roles: a kind, and the shares that a defense's reference and validation rows get.

    - ensemble_paper (§4.1): the official training set against the official test set. Where there is none, 10,000
      members (half of the rows where that is fewer; our choice, the paper states none), all other rows non-members.
    - nasr: half of all rows are members, and as many of them audited as non-members are left, so that always guessing
      "member" is right half the time.
    - carlini, for attacks with shadow models: half of the official training set are members, the others non-members;
      an official test set plays no part. Without one, half of all rows.
    - pooled: the same on all rows, an official test set included.
    - released, only to be compared with nasr, whose members it has: reference rows are not set apart but taken from the
      audited non-members, of which `reference` is the share, up to 1. An audit may flatter a defense that learnt from
      its rows. Shadows are refused.

    reference, validation of the others: of ensemble_paper's and nasr's rows that are no members (nasr: of as many as
    the members); of all rows that carlini and pooled deal, so that members and non-members stay equally many there.
    They lie outside what is audited, so that shadows can use the target's. audited: of ensemble_paper, so many of the
    members are audited at most; None for all. Raises ValueError for an unknown kind, with close ones, for shares that
    leave nobody over, and for `audited` of another kind or below 1.
    """

    kind: str = "ensemble_paper"
    reference: float = 0.0
    validation: float = 0.0
    audited: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(unknown("arrangement", self.kind, KINDS))
        if self.audited is not None and (self.kind != "ensemble_paper" or self.audited < 1):
            raise ValueError(f"audited: found {self.audited} of {self.kind}; ensemble_paper takes 1 or more, or None")
        shares = f"{self.reference}, {self.validation}"
        if self.kind == "released":
            if not (0 < self.reference <= 1 and 0 <= self.validation < 1):
                raise ValueError(
                    f"released: reference is a share of the audited non-members, above 0 and at most 1, and validation "
                    f"at least 0 and below 1, not {shares}; take splits.RELEASED"
                )
        elif min(self.reference, self.validation) < 0 or self.reference + self.validation >= 1:
            raise ValueError(f"reference and validation must be at least 0, their sum below 1, not {shares}")


def arrange(arrangement: Arrangement, dataset: Pool, *, seed: int) -> Roles:
    """The roles that an arrangement gives a data set's rows, drawn from the seed."""
    roles = KINDS[arrangement.kind](dataset, arrangement.reference, arrangement.validation, seed)
    return roles if arrangement.audited is None else _audited(roles, dataset, arrangement.audited, seed)


def assign(
    dataset: Pool,
    *,
    members: int,
    nonmembers: int,
    validation: int = 0,
    reference: int = 0,
    evaluated: int | None = None,
    official: bool = False,
    seed: int = 0,
) -> Roles:
    """Deal rows to roles, every role with the classes in proportion (within two rows each).

    members, nonmembers, validation, reference: numbers of rows; evaluated: how many of the members are audited (None:
    all); official: members only from the official training set, everybody else only from the official test set. Raises
    ValueError where rows do not suffice.
    """
    evaluated = members if evaluated is None else evaluated
    wanted = members, nonmembers, validation, reference, evaluated, members - evaluated
    if min(wanted) < 0:
        raise ValueError(f"counts must be from 0 up, evaluated at most members; got {wanted}")
    inside, outside = _sides(dataset, members, official, np.random.default_rng([seed]))
    if members > len(inside) or nonmembers + validation + reference > len(outside):
        raise ValueError(
            f"{dataset.name}: {members} members of {len(inside)} rows and {nonmembers} non-members + {validation} "
            f"validation + {reference} reference of {len(outside)} do not fit; ask for fewer"
        )
    reference_rows, validation_rows, others = np.split(outside, [reference, reference + validation])
    parts = inside[:members], inside[:evaluated], others[:nonmembers], reference_rows, validation_rows
    return Roles(*(torch.from_numpy(np.sort(part)) for part in parts))


def _ensemble_paper(dataset: Pool, reference: float, validation: float, seed: int) -> Roles:
    members = min(_OUR_MEMBERS, len(dataset.y) // 2) if dataset.train is None else dataset.train
    rest = len(dataset.y) - members
    apart, looked_at = round(reference * rest), round(validation * rest)
    return assign(
        dataset,
        members=members,
        nonmembers=rest - apart - looked_at,
        reference=apart,
        validation=looked_at,
        official=dataset.train is not None,
        seed=seed,
    )


def _audited(roles: Roles, dataset: Pool, most: int, seed: int) -> Roles:
    """The same roles with so many audited members at most, the classes in proportion."""
    g = np.random.default_rng(derive(seed, "audited"))
    kept = _stratified(dataset.y.numpy(), roles.audit_in.numpy(), g)[:most]
    return replace(roles, audit_in=torch.from_numpy(np.sort(kept)))


def _nasr(dataset: Pool, reference: float, validation: float, seed: int) -> Roles:
    members = len(dataset.y) // 2
    apart, looked_at = round(reference * members), round(validation * members)
    rest = members - apart - looked_at
    return assign(
        dataset,
        members=members,
        nonmembers=rest,
        reference=apart,
        validation=looked_at,
        evaluated=rest,
        seed=seed,
    )


def _released(dataset: Pool, reference: float, validation: float, seed: int) -> ReleasedRoles:
    dealt = _nasr(dataset, 0.0, validation, seed)
    g = np.random.default_rng(derive(seed, "released"))
    order = _stratified(dataset.y.numpy(), dealt.audit_out.numpy(), g)
    seen = torch.from_numpy(np.sort(order[: count(reference, len(order))]))
    return ReleasedRoles(dealt.target_train, dealt.audit_in, dealt.audit_out, seen, dealt.validation)


def _pooled(dataset: Pool, reference: float, validation: float, seed: int) -> Roles:
    n_rows = len(dataset.y)
    apart, looked_at = round(reference * n_rows), round(validation * n_rows)
    rest = n_rows - apart - looked_at
    return assign(
        dataset,
        members=rest // 2,
        nonmembers=rest - rest // 2,
        reference=apart,
        validation=looked_at,
        seed=seed,
    )


def _carlini(dataset: Pool, reference: float, validation: float, seed: int) -> Roles:
    pool = SimpleNamespace(name=dataset.name, y=dataset.y[: dataset.train], train=None)
    return _pooled(pool, reference, validation, seed)


KINDS: dict[str, Callable[[Pool, float, float, int], Roles]] = {
    "ensemble_paper": _ensemble_paper,
    "nasr": _nasr,
    "carlini": _carlini,
    "pooled": _pooled,
    "released": _released,
}

# Half of those who are no members are audited, as in the released code of Nasr et al.; the other shares are our choice.
NASR = Arrangement("nasr", reference=0.4, validation=0.1)
# The same members, and half of the audited non-members in the game, as in the released code. The validation share, of
# which that code has none, is NASR's.
RELEASED = Arrangement("released", reference=0.5, validation=0.1)
# 40 % members and 40 % non-members, all audited, so that shadows and the min-max game fit: our choice, as the pruning
# paper states none.
PRUNING = Arrangement("pooled", reference=0.15, validation=0.05)


def known(labels: np.ndarray, member: np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """Marks an attacker's share of members and of non-members, the classes in proportion within two rows: bool [n].

    labels: int [n]; member: bool [n]. Of one seed, a larger share holds all of a smaller one.
    """
    g, mask = np.random.default_rng([seed]), np.zeros(len(labels), dtype=bool)
    for side in (np.flatnonzero(member), np.flatnonzero(~member)):
        mask[_stratified(labels, side, g)[: count(share, len(side))]] = True
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


def partition(labels: Tensor, rows: Tensor, number: int, *, of: int, seed: int) -> Tensor:
    """Rows of the part `number` of `of` parts that share nothing and leave nothing out: int64, ascending.

    labels: int64 [n] of the whole data set; rows: int64, those to part. Parts differ in size by at most a row, and each
    has the classes in proportion within two rows. One seed makes all parts.
    """
    if not 0 <= number < of <= len(rows):
        raise ValueError(f"part {number} of {of} of {len(rows)} rows: number parts from 0, at most one for each row")
    order = _stratified(labels.numpy(), np.sort(rows.numpy()), np.random.default_rng([seed]))
    return torch.from_numpy(np.sort(np.array_split(order, of)[number]))


def bag(rows: Tensor, number: int, *, seed: int) -> Tensor:
    """As many rows as there are, drawn with replacement for member `number` of a bagging ensemble: int64, ascending.

    A share 1 - 1/e of the rows, about 63 %, is expected in it, some more than once. Bags of other numbers and seeds are
    independent. Raises ValueError for a negative number, and where there is no row to draw.
    """
    if number < 0 or not len(rows):
        raise ValueError(f"bag {number} of {len(rows)} rows: number bags from 0, and give at least one row")
    rows = rows.sort().values
    drawn = np.random.default_rng([seed, number]).integers(len(rows), size=len(rows))
    return rows[torch.from_numpy(np.sort(drawn))]


def _sides(dataset: Pool, members: int, official: bool, g: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows that may become members and rows that may not, both in stratified random order."""
    if not official:
        order = _stratified(dataset.y.numpy(), np.arange(len(dataset.y)), g)
        return order[:members], order[members:]
    if dataset.train is None:
        raise ValueError(f"{dataset.name} has no official test set; use official=False")
    inside, outside = np.split(np.arange(len(dataset.y)), [dataset.train])
    return _stratified(dataset.y.numpy(), inside, g), _stratified(dataset.y.numpy(), outside, g)


def _stratified(y: np.ndarray, rows: np.ndarray, g: np.random.Generator) -> np.ndarray:
    """A random order of `rows` whose every stretch holds the classes in proportion, within two rows each.

    Each class is shuffled and spread evenly over [0, 1) from a random start; sorting by place interleaves the classes.
    """
    place, by_class = np.empty(len(rows)), np.argsort(y[rows], kind="stable")
    for mine in np.split(by_class, np.flatnonzero(np.diff(y[rows[by_class]])) + 1) if len(rows) else ():
        place[g.permutation(mine)] = (np.arange(len(mine)) + g.random()) / len(mine)
    return rows[np.argsort(place, kind="stable")]


def _checked(name: str, rows: Tensor) -> np.ndarray:
    if not isinstance(rows, Tensor) or rows.dtype != torch.int64 or rows.ndim != 1:
        raise ValueError(f"{name} must be an int64 tensor [rows], got {getattr(rows, 'dtype', type(rows).__name__)}")
    if len(rows) and (rows.min() < 0 or len(rows.unique()) < len(rows)):
        raise ValueError(f"{name} must hold distinct row numbers from 0 up")
    return rows.numpy()
