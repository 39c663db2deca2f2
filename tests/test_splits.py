"""Roles: disjoint, stratified, seeded; the papers' arrangements."""

import dataclasses
import hashlib
import itertools
import os

import numpy as np
import pytest
import torch

from mialab import data, splits
from mialab.data.known import known

FIELDS = [f.name for f in dataclasses.fields(splits.Roles)]
DISJOINT = [pair for pair in itertools.combinations(FIELDS, 2) if pair != ("target_train", "audit_in")]
KINDS = tuple(splits.KINDS)
APART = tuple(kind for kind in KINDS if kind != "released")
ENSEMBLE_PAPER, CARLINI = splits.Arrangement("ensemble_paper"), splits.Arrangement("carlini")


def pool(n=1000, classes=7, train=None, seed=0):
    y = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed)) ** 2 % classes
    return data.Dataset("pool", torch.zeros(n, 2), y, classes, train)


def roles(**changed):
    parts = {
        "target_train": range(0, 10),
        "audit_in": range(4, 8),
        "audit_out": range(24, 28),
        "reference": range(12, 20),
        "validation": range(10, 12),
    }
    return splits.Roles(**{k: torch.tensor(list(v), dtype=torch.int64) for k, v in (parts | changed).items()})


def released_roles():
    parts = {name: getattr(roles(reference=[]), name) for name in FIELDS}
    return splits.ReleasedRoles(**parts | {"reference": torch.tensor([24, 25])})


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


def test_audited_members_outside_the_training_set_are_refused():
    with pytest.raises(ValueError, match="audit_in has 1 rows outside target_train"):
        roles(audit_in=[9, 500])


@pytest.mark.parametrize(
    "rows", [torch.zeros(2, 2, dtype=torch.int64), torch.tensor([0.0]), torch.tensor([-1]), torch.tensor([3, 3]), [1]]
)
def test_rows_that_are_no_distinct_indices_are_refused(rows):
    with pytest.raises(ValueError, match="reference"):
        dataclasses.replace(roles(), reference=rows)


def test_evaluation_lists_members_first_and_each_side_ascending():
    rows, member = roles(audit_in=[7, 4, 5], audit_out=[26, 20]).evaluation()
    assert rows.tolist() == [4, 5, 7, 20, 26]
    assert member.tolist() == [True] * 3 + [False] * 2


def test_evaluation_of_empty_roles_is_empty():
    empty = {name: [] for name in FIELDS}
    assert [len(part) for part in roles(**empty).evaluation()] == [0, 0]


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
        official=train is not None,
        seed=3,
    )
    assert sizes(r) == [400, 300, 200, 101, 50]
    inside = torch.arange(train or 1000)
    outside = torch.arange(train, 1000) if train else inside
    for name in FIELDS:
        among = inside if name in ("target_train", "audit_in") else outside
        assert_proportional(dataset, getattr(r, name), among)
        if train:
            assert torch.isin(getattr(r, name), among).all()


def test_same_seed_same_roles_other_seed_others():
    one, again, other = (splits.arrange(splits.NASR, pool(), seed=s) for s in (1, 1, 2))
    assert all(torch.equal(getattr(one, name), getattr(again, name)) for name in FIELDS)
    assert not torch.equal(one.target_train, other.target_train)


def test_each_row_is_equally_likely_to_be_a_member():
    hits = torch.zeros(60)
    dataset = pool(60, classes=3)
    for seed in range(600):
        hits[splits.arrange(splits.NASR, dataset, seed=seed).target_train] += 1
    assert ((hits - 300).abs() < 5 * 150**0.5).all()


def digest(rows):
    return hashlib.blake2b(rows.numpy().tobytes(), digest_size=8).hexdigest()


# Of the code before the attacker's share left the roles: seed 0 and 5 of each, by members trained on, members audited,
# non-members audited, reference, validation. Experiments that are recorded rest on these draws.
DRAWN = [
    (ENSEMBLE_PAPER, {"train": 800}, 0, "8b93a2eadd1cc04c 8b93a2eadd1cc04c 66823c27d465a78a"),
    (ENSEMBLE_PAPER, {"train": 800}, 5, "8b93a2eadd1cc04c 8b93a2eadd1cc04c 66823c27d465a78a"),
    (ENSEMBLE_PAPER, {"n": 5011}, 0, "27e3947433a77a5d 27e3947433a77a5d 149ed9e951292394"),
    (ENSEMBLE_PAPER, {"n": 5011}, 5, "1eaa454c9c409dd4 1eaa454c9c409dd4 65783a1b36885fdf"),
    (ENSEMBLE_PAPER, {}, 0, "1aabf6fd7e6eaa5a 1aabf6fd7e6eaa5a 8fa6c991749328d8"),
    (ENSEMBLE_PAPER, {}, 5, "05ce74934a32efb8 05ce74934a32efb8 9834ac4fce8d023a"),
    (splits.NASR, {}, 0, "1aabf6fd7e6eaa5a f20364069107c9af a1b0be2040f9d17d 41d48e7c49fe0af4 5cc27e35f8a60fba"),
    (splits.NASR, {}, 5, "05ce74934a32efb8 1fe10507220697f0 c043e6a5d3a8afc1 a1a78143b59c2232 45c36b1e9ba6dcee"),
    (splits.NASR, {"train": 600}, 5, "05ce74934a32efb8 1fe10507220697f0 c043e6a5d3a8afc1 a1a78143b59c2232"),
    (CARLINI, {}, 0, "1aabf6fd7e6eaa5a 1aabf6fd7e6eaa5a 8fa6c991749328d8"),
    (CARLINI, {"train": 600}, 0, "0d799c236aedfb47 0d799c236aedfb47 bf6287370857be6f"),
    (CARLINI, {"train": 600}, 5, "b1add20cb724ee36 b1add20cb724ee36 fbcebb26e88ff9ba"),
]


@pytest.mark.parametrize(("arrangement", "made", "seed", "digests"), DRAWN)
def test_draws_are_those_that_experiments_were_recorded_with(arrangement, made, seed, digests):
    r = splits.arrange(arrangement, pool(**made), seed=seed)
    digests = digests.split()
    assert [digest(getattr(r, name)) for name in FIELDS][: len(digests)] == digests


def sizes(r):
    return [len(getattr(r, name)) for name in FIELDS]


def test_ensemble_paper_takes_the_official_sets():
    r = splits.arrange(ENSEMBLE_PAPER, pool(train=800), seed=0)
    assert torch.equal(r.target_train, torch.arange(800)) and torch.equal(r.audit_in, r.target_train)
    assert torch.equal(r.audit_out, torch.arange(800, 1000))
    assert len(r.validation) == len(r.reference) == 0


def test_fewer_official_members_leave_the_test_set_whole():
    r = splits.assign(pool(train=800), members=100, nonmembers=200, official=True)
    assert len(r.target_train) == 100 and r.target_train.max() < 800
    assert torch.equal(r.audit_out, torch.arange(800, 1000))


@pytest.mark.parametrize(("n", "members"), [(30_000, 10_000), (20_000, 10_000), (5011, 2505)])
def test_ensemble_paper_without_official_test_set_takes_ten_thousand_members_or_half(n, members):
    r = splits.arrange(ENSEMBLE_PAPER, pool(n), seed=0)
    assert sizes(r) == [members, members, n - members, 0, 0]


@pytest.mark.parametrize(("n", "train"), [(1000, 800), (1000, None)])
def test_ensemble_papers_members_stay_when_reference_and_validation_rows_are_set_apart(n, train):
    dataset = pool(n, train=train)
    plain = splits.arrange(ENSEMBLE_PAPER, dataset, seed=4)
    r = splits.arrange(splits.Arrangement("ensemble_paper", reference=0.3, validation=0.1), dataset, seed=4)
    rest = len(plain.audit_out)
    assert sizes(r)[2:] == [round(0.6 * rest), round(0.3 * rest), round(0.1 * rest)]
    assert torch.equal(r.target_train, plain.target_train)
    assert torch.equal(torch.cat([r.audit_out, r.reference, r.validation]).sort().values, plain.audit_out)


def test_nasr_is_half_and_half_with_a_reference_set_that_no_audit_touches():
    r = splits.arrange(splits.NASR, pool(1000), seed=0)
    assert sizes(r) == [500, 250, 250, 200, 50]
    assert covered(r).tolist() == list(range(1000))


def covered(r):
    return torch.cat([r.target_train, r.validation, r.reference, r.audit_out]).sort().values


@pytest.mark.parametrize("share", [0.5, 0.3, 1.0])
def test_the_released_arrangement_gives_the_game_a_share_of_the_audited_nonmembers(share):
    dataset = pool(1000)
    r = splits.arrange(splits.Arrangement("released", share, 0.1), dataset, seed=3)
    assert sizes(r) == [500, 450, 450, round(450 * share), 50]
    assert torch.isin(r.reference, r.audit_out).all()
    assert not torch.isin(r.reference, torch.cat([r.target_train, r.validation])).any()
    assert_proportional(dataset, r.reference, r.audit_out)


def test_the_released_arrangement_has_the_members_of_the_one_that_it_is_compared_with():
    ours, released = (splits.arrange(a, pool(), seed=3) for a in (splits.NASR, splits.RELEASED))
    assert torch.equal(ours.target_train, released.target_train)
    assert len(released.reference) == len(released.audit_out) // 2
    again, other = (splits.arrange(splits.RELEASED, pool(), seed=seed).reference for seed in (3, 4))
    assert torch.equal(released.reference, again) and not torch.equal(released.reference, other)


@pytest.mark.parametrize(("one", "other"), DISJOINT)
def test_released_roles_refuse_every_overlap_but_that_of_reference_and_audit_out(one, other):
    base = released_roles()
    row = getattr(base, other)[:1]
    changed = {one: torch.cat([getattr(base, one), row]).unique()}
    if (one, other) == ("audit_out", "reference"):
        assert len(dataclasses.replace(base, **changed).reference) == 2
    else:
        with pytest.raises(ValueError, match=f"{one}.*(share . rows|rows outside)|outside {one}"):
            dataclasses.replace(base, **changed)


def test_released_reference_rows_outside_what_is_audited_are_refused():
    with pytest.raises(ValueError, match="reference has 1 rows outside audit_out"):
        dataclasses.replace(released_roles(), reference=torch.tensor([24, 300]))


def test_the_released_arrangement_needs_a_share_of_the_audited_nonmembers():
    for reference, validation in ((0.0, 0.1), (1.1, 0.0), (-0.1, 0.0), (0.5, 1.0)):
        with pytest.raises(ValueError, match="take splits.RELEASED"):
            splits.Arrangement("released", reference, validation)


def test_the_pruning_papers_rows_are_two_fifths_members_two_fifths_nonmembers_all_audited():
    dataset = pool(1000, train=600)
    r = splits.arrange(splits.PRUNING, dataset, seed=1)
    assert sizes(r) == [400, 400, 400, 150, 50]
    assert covered(r).tolist() == list(range(1000)) and torch.equal(r.audit_in, r.target_train)
    assert (r.target_train >= 600).any() and (r.audit_out < 600).any(), "an official test set is pooled"
    for name in FIELDS:
        assert_proportional(dataset, getattr(r, name), torch.arange(1000))


@pytest.mark.parametrize("kind", APART)
@pytest.mark.parametrize("train", [None, 700])
def test_every_arrangement_has_reference_and_validation_rows_outside_what_is_audited(kind, train):
    r = splits.arrange(splits.Arrangement(kind, reference=0.2, validation=0.1), pool(1001, train=train), seed=2)
    assert len(r.reference) == pytest.approx(2 * len(r.validation), abs=1) and len(r.validation) > 20
    audited, _ = r.evaluation()
    apart = torch.cat([r.reference, r.validation])
    assert not torch.isin(apart, torch.cat([audited, r.target_train])).any()


@pytest.mark.parametrize("kind", ["carlini", "pooled"])
@pytest.mark.parametrize(("reference", "validation"), [(0, 0), (0.15, 0.05), (0.333, 0.1)])
def test_shadows_find_as_many_members_as_nonmembers(kind, reference, validation):
    r = splits.arrange(splits.Arrangement(kind, reference, validation), pool(997, train=701), seed=2)
    _, member = r.evaluation()
    assert len(r.target_train) == member.sum() and 0 <= (~member).sum() - member.sum() <= 1
    if kind == "carlini":
        assert covered(r).max() <= 700, "the official test set plays no part"


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
    dealt = splits.arrange(CARLINI, dataset, seed=1)
    seen, member = dealt.evaluation()
    assert sorted(seen.tolist()) == list(range(rows))
    assert torch.equal(seen[member], dealt.target_train) and len(dealt.target_train) == rows // 2
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


@pytest.mark.parametrize("of", [1, 3, 10])
def test_parts_share_nothing_cover_all_and_have_the_classes_in_proportion(of):
    dataset = pool(1000)
    members = splits.arrange(CARLINI, dataset, seed=0).target_train
    parts = [splits.partition(dataset.y, members, number, of=of, seed=7) for number in range(of)]
    assert torch.equal(torch.cat(parts).sort().values, members)  # as long, so nothing is twice in it
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for part in parts:
        assert part.dtype == torch.int64 and torch.equal(part, part.sort().values)
        assert_proportional(dataset, part, members)


def test_parts_follow_from_the_seed_and_not_from_the_order_of_rows():
    dataset, rows = pool(1000), torch.arange(100, 500)
    one, same, other = (
        splits.partition(dataset.y, r, 1, of=4, seed=s) for r, s in ((rows, 0), (rows.flip(0), 0), (rows, 1))
    )
    assert torch.equal(one, same) and not torch.equal(one, other)


@pytest.mark.parametrize(("number", "of"), [(3, 3), (-1, 3), (0, 11)])
def test_a_part_that_does_not_exist_is_refused(number, of):
    with pytest.raises(ValueError, match="number parts from 0, at most one for each row"):
        splits.partition(torch.zeros(10, dtype=torch.int64), torch.arange(10), number, of=of, seed=0)


def test_a_bag_is_as_large_as_its_source_and_holds_a_share_of_1_minus_1_over_e_of_it():
    rows = torch.arange(0, 20_000, 2)
    bags = [splits.bag(rows, number, seed=3) for number in range(20)]
    for bag in bags:
        assert bag.dtype == torch.int64 and len(bag) == len(rows) and torch.isin(bag, rows).all()
    distinct = np.array([len(bag.unique()) / len(rows) for bag in bags])
    spread = ((1 / np.e - 2 / np.e**2) / len(rows)) ** 0.5  # of the share of empty boxes, balls and boxes being as many
    assert np.abs(distinct - (1 - 1 / np.e)).max() < 5 * spread
    times = torch.bincount(torch.cat(bags) // 2, minlength=len(rows)).double()
    assert abs(times.mean() - 20) < 1e-9 and times.var().item() == pytest.approx(20, rel=0.1)


def test_bags_of_other_numbers_and_seeds_are_others_and_the_same_ones_the_same():
    rows = torch.arange(500, 1500)
    one, same, other, reseeded = (
        splits.bag(r, k, seed=s) for r, k, s in ((rows, 0, 0), (rows.flip(0), 0, 0), (rows, 1, 0), (rows, 0, 1))
    )
    assert torch.equal(one, same) and not torch.equal(one, other) and not torch.equal(one, reseeded)
    both = len(np.intersect1d(one, other)) / 1000
    assert both == pytest.approx((1 - 1 / np.e) ** 2, abs=0.08), "bags are independent"
    for rows, number in ((torch.arange(4), -1), (torch.arange(0), 0)):
        with pytest.raises(ValueError, match="number bags from 0, and give at least one row"):
            splits.bag(rows, number, seed=0)
    with pytest.raises(ValueError, match="from 0"):
        splits.bag(rows, -1, seed=0)


def test_an_arrangement_needs_a_known_kind_and_shares_that_leave_somebody_over():
    with pytest.raises(ValueError, match="unknown arrangement 'nasr2018'; did you mean nasr"):
        splits.Arrangement("nasr2018")
    for reference, validation in ((0.6, 0.4), (-0.1, 0), (0, 1.0)):
        with pytest.raises(ValueError, match="at least 0, their sum below 1"):
            splits.Arrangement("pooled", reference, validation)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_of_roles_are_known_without_loading_anything(kind):
    arrangement = splits.Arrangement(kind, reference=0.1)
    assert sizes(splits.arrange(arrangement, known("digits"), seed=1)) == sizes(
        splits.arrange(arrangement, data.load("digits"), seed=0)
    )


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"members": 900, "nonmembers": 200}, "do not fit"),
        ({"members": 10, "nonmembers": 10, "evaluated": 11}, "at most members"),
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
    r = splits.arrange(ENSEMBLE_PAPER, cifar, seed=0)
    assert torch.equal(r.target_train, torch.arange(50_000))
    known_mask = splits.known(cifar.y.numpy(), np.arange(60_000) < 50_000, share=0.8, seed=0)
    assert torch.bincount(cifar.y[r.audit_in[~known_mask[:50_000]]]).tolist() == [1000] * 10
    assert torch.bincount(cifar.y[r.audit_out[known_mask[50_000:]]]).tolist() == [800] * 10
    half = splits.arrange(splits.NASR, cifar, seed=0)
    assert torch.bincount(cifar.y[half.target_train]).tolist() == [3000] * 10
    assert torch.bincount(cifar.y[half.reference]).tolist() == [1200] * 10
    assert torch.bincount(cifar.y[half.audit_in]).tolist() == torch.bincount(cifar.y[half.audit_out]).tolist()
    pruning = splits.arrange(splits.PRUNING, cifar, seed=0)
    assert torch.bincount(cifar.y[pruning.audit_in]).tolist() == [2400] * 10
    assert torch.bincount(cifar.y[pruning.validation]).tolist() == [300] * 10


def test_of_the_ensemble_papers_members_fewer_may_be_audited_and_all_are_trained_on():
    dataset = pool(train=600)
    whole, few, more = (
        splits.arrange(splits.Arrangement(audited=number), dataset, seed=1) for number in (None, 200, 9000)
    )
    assert torch.equal(few.target_train, whole.target_train) and torch.equal(few.audit_out, whole.audit_out)
    assert len(few.audit_in) == 200
    assert_proportional(dataset, few.audit_in, whole.audit_in)
    assert torch.equal(more.audit_in, whole.audit_in)


@pytest.mark.parametrize(("kind", "audited"), [("ensemble_paper", 0), ("nasr", 10)])
def test_a_number_of_audited_members_that_cannot_be_is_refused(kind, audited):
    with pytest.raises(ValueError, match=r"audited: .*ensemble_paper takes 1 or more"):
        splits.Arrangement(kind, audited=audited)
