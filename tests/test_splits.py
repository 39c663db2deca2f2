"""Roles: disjoint, stratified, seeded; the papers' arrangements."""

import dataclasses
import itertools
import os

import numpy as np
import pytest
import torch

from mialab import data, splits

FIELDS = [f.name for f in dataclasses.fields(splits.Roles)]
PARTS = {("target_train", "known_in"), ("target_train", "audit_in")}
DISJOINT = [pair for pair in itertools.combinations(FIELDS, 2) if pair not in PARTS]


def pool(n=1000, classes=7, train=None, seed=0):
    y = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed)) ** 2 % classes
    return data.Dataset("pool", torch.zeros(n, 2), y, classes, train)


def roles(**changed):
    parts = {
        "target_train": range(0, 10),
        "validation": range(10, 12),
        "reference": range(12, 20),
        "known_in": range(0, 4),
        "known_out": range(20, 24),
        "audit_in": range(4, 8),
        "audit_out": range(24, 28),
    }
    return splits.Roles(**{k: torch.tensor(list(v), dtype=torch.int64) for k, v in (parts | changed).items()})


def assert_proportional(dataset, rows, among):
    """Every class has its share of `among` in `rows`, within two rows."""
    share = len(rows) / len(among)
    have = torch.bincount(dataset.y[rows], minlength=dataset.classes)
    ideal = torch.bincount(dataset.y[among], minlength=dataset.classes) * share
    assert (have - ideal).abs().max() <= 2


def test_disjoint_roles_are_accepted():
    assert len(roles().target_train) == 10


@pytest.mark.parametrize(("one", "other"), DISJOINT)
def test_overlapping_roles_are_refused(one, other):
    base = roles()
    row = getattr(base, other)[:1]
    with pytest.raises(ValueError, match="share 1 rows|outside target_train") as caught:
        dataclasses.replace(base, **{one: torch.cat([getattr(base, one), row])})
    assert one in str(caught.value)


@pytest.mark.parametrize("role", ["known_in", "audit_in"])
def test_evaluated_members_outside_the_training_set_are_refused(role):
    with pytest.raises(ValueError, match=f"{role} has 1 rows outside target_train"):
        roles(**{role: [9, 500]})


@pytest.mark.parametrize(
    "rows", [torch.zeros(2, 2, dtype=torch.int64), torch.tensor([0.0]), torch.tensor([-1]), torch.tensor([3, 3]), [1]]
)
def test_rows_that_are_no_distinct_indices_are_refused(rows):
    with pytest.raises(ValueError, match="reference"):
        dataclasses.replace(roles(), reference=rows)


def test_evaluation_lists_members_first_with_their_flags():
    rows, member, known = roles().evaluation()
    assert rows.tolist() == [*range(8), *range(20, 28)]
    assert member.tolist() == [True] * 8 + [False] * 8
    assert known.tolist() == ([True] * 4 + [False] * 4) * 2


def test_evaluation_of_empty_roles_is_empty():
    empty = {name: [] for name in FIELDS}
    assert [len(part) for part in roles(**empty).evaluation()] == [0, 0, 0]


@pytest.mark.parametrize("train", [None, 600])
def test_every_role_of_assign_has_the_classes_in_proportion(train):
    dataset = pool(train=train)
    r = splits.assign(
        dataset,
        members=400,
        nonmembers=200,
        validation=50,
        reference=101,
        evaluated=300,
        known=0.3,
        official=train is not None,
        seed=3,
    )
    sizes = [len(getattr(r, name)) for name in FIELDS]
    assert sizes == [400, 50, 101, 90, 60, 210, 140]
    inside = torch.arange(train or 1000)
    outside = torch.arange(train, 1000) if train else inside
    for name in FIELDS:
        among = inside if name in ("target_train", "known_in", "audit_in") else outside
        assert_proportional(dataset, getattr(r, name), among)
        if train:
            assert torch.isin(getattr(r, name), among).all()


def test_same_seed_same_roles_other_seed_others():
    one, again, other = (splits.nasr(pool(), seed=s) for s in (1, 1, 2))
    assert all(torch.equal(getattr(one, name), getattr(again, name)) for name in FIELDS)
    assert not torch.equal(one.target_train, other.target_train)


def test_each_row_is_equally_likely_to_be_a_member():
    hits = torch.zeros(60)
    dataset = pool(60, classes=3)
    for seed in range(600):
        hits[splits.nasr(dataset, seed=seed).target_train] += 1
    assert ((hits - 300).abs() < 5 * 150**0.5).all()


def test_ensemble_paper_takes_the_official_sets_and_knows_four_fifths():
    dataset = pool(train=800)
    r = splits.ensemble_paper(dataset)
    assert torch.equal(r.target_train, torch.arange(800))
    assert torch.equal(torch.cat([r.known_in, r.audit_in]).sort().values, torch.arange(800))
    assert torch.equal(torch.cat([r.known_out, r.audit_out]).sort().values, torch.arange(800, 1000))
    assert len(r.known_in) == 640 and len(r.known_out) == 160
    assert len(r.validation) == len(r.reference) == 0


def test_ensemble_paper_with_fewer_members_leaves_the_test_set_whole():
    r = splits.ensemble_paper(pool(train=800), members=100)
    assert len(r.target_train) == 100 and r.target_train.max() < 800
    assert len(r.known_out) + len(r.audit_out) == 200


@pytest.mark.parametrize(("n", "members"), [(30_000, 10_000), (20_000, 10_000), (5011, 2505)])
def test_ensemble_paper_without_official_test_set_takes_ten_thousand_members_or_half(n, members):
    r = splits.ensemble_paper(pool(n))
    assert len(r.target_train) == members and len(r.known_out) + len(r.audit_out) == n - members


def test_nasr_is_half_and_half_with_a_reference_set_that_no_audit_touches():
    dataset = pool(1000)
    r = splits.nasr(dataset)
    sizes = [len(getattr(r, name)) for name in FIELDS]
    assert sizes == [500, 50, 200, 125, 125, 125, 125]
    everyone = torch.cat([r.target_train, r.validation, r.reference, r.known_out, r.audit_out])
    assert torch.equal(everyone.sort().values, torch.arange(1000))


@pytest.mark.parametrize("share", [0.0, 0.31, 0.8])
def test_what_an_attacker_knows_is_the_share_of_either_side_with_the_classes_in_proportion(share):
    labels, member = pool(900).y.numpy(), np.arange(900) % 3 > 0
    mask = splits.known(labels, member, share=share, seed=1)
    for side in (member, ~member):
        assert (mask & side).sum() == round(share * side.sum())
        assert (
            np.abs(np.bincount(labels[mask & side], minlength=7) - share * np.bincount(labels[side], minlength=7)).max()
            <= 2
        )
    assert not (mask & ~splits.known(labels, member, share=0.9, seed=1)).any(), "who knows more knows these, too"


def test_another_seed_lets_an_attacker_know_others():
    labels, member = pool(900).y.numpy(), np.arange(900) % 3 > 0
    one, same, other = (splits.known(labels, member, share=0.5, seed=seed) for seed in (0, 0, 1))
    assert (one == same).all() and (one != other).any()


@pytest.mark.parametrize(("train", "rows"), [(None, 1000), (600, 600)])
def test_carlini_deals_the_training_set_into_members_and_nonmembers_and_leaves_the_test_set_out(train, rows):
    dataset = pool(train=train)
    dealt = splits.carlini(dataset, known=0.2, seed=1)
    seen, member, known = dealt.evaluation()
    assert sorted(seen.tolist()) == list(range(rows))
    assert torch.equal(seen[member], dealt.target_train) and len(dealt.target_train) == rows // 2
    assert (known[member].sum(), known[~member].sum()) == (rows // 10, rows // 10)
    assert len(dealt.validation) == len(dealt.reference) == 0
    assert_proportional(dataset, dealt.target_train, torch.arange(rows))


def test_shadows_come_in_pairs_that_share_nothing_and_leave_nothing_out():
    labels = pool(n=501).y.numpy()
    for pair in range(4):
        one, other = (splits.half(labels, 2 * pair + side, seed=3) for side in (0, 1))
        assert np.array_equal(one, ~other)
        assert one.sum() == 250
        for label in np.unique(labels):
            assert abs(one[labels == label].sum() - (labels == label).sum() / 2) <= 1


def test_each_sample_is_in_exactly_half_of_any_even_number_of_first_shadows():
    labels = pool().y.numpy()
    design = np.stack([splits.half(labels, k, seed=5) for k in range(12)])
    for number in (2, 6, 12):
        assert (design[:number].sum(axis=0) == number // 2).all()


def test_halves_of_different_pairs_and_seeds_are_independent():
    labels = pool(n=4000).y.numpy()
    first = splits.half(labels, 0, seed=0)
    for other in (splits.half(labels, 2, seed=0), splits.half(labels, 3, seed=0), splits.half(labels, 0, seed=1)):
        assert abs((first & other).sum() - 1000) < 5 * 4000**0.5 / 4  # five standard deviations


@pytest.mark.parametrize("name", splits.ARRANGEMENTS)
def test_an_arrangement_is_found_by_its_name(name):
    named, called = splits.arrange(name, pool(), known=0.3, seed=5), getattr(splits, name)(pool(), known=0.3, seed=5)
    assert all(torch.equal(getattr(named, field), getattr(called, field)) for field in FIELDS)


def test_an_unknown_arrangement_is_refused_with_close_names():
    with pytest.raises(ValueError, match="unknown arrangement 'nasr2018'; did you mean nasr"):
        splits.arrange("nasr2018", pool(), known=0.5, seed=0)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"members": 900, "nonmembers": 200}, "do not fit"),
        ({"members": 10, "nonmembers": 10, "evaluated": 11}, "at most members"),
        ({"members": 10, "nonmembers": 10, "known": 1.1}, "known"),
        ({"members": -1, "nonmembers": 10}, "from 0 up"),
        ({"members": 10, "nonmembers": 10, "official": True}, "no official test set"),
    ],
)
def test_impossible_sizes_are_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        splits.assign(pool(), **wrong)


@pytest.mark.skipif(not os.environ.get("MIALAB_DATA"), reason="MIALAB_DATA is not set: no real CIFAR-10 to split")
def test_real_cifar10_is_split_as_both_papers_need():
    try:
        cifar = data.load("cifar10", download=False)
    except data.DataError as error:
        pytest.skip(f"MIALAB_DATA lacks cifar10: {error}")
    r = splits.ensemble_paper(cifar)
    assert torch.equal(r.target_train, torch.arange(50_000))
    assert torch.bincount(cifar.y[r.audit_in]).tolist() == [1000] * 10
    assert torch.bincount(cifar.y[r.known_out]).tolist() == [800] * 10
    half = splits.nasr(cifar)
    assert torch.bincount(cifar.y[half.target_train]).tolist() == [3000] * 10
    assert torch.bincount(cifar.y[half.reference]).tolist() == [1200] * 10
    assert torch.bincount(cifar.y[half.audit_in]).tolist() == torch.bincount(cifar.y[half.audit_out]).tolist()
