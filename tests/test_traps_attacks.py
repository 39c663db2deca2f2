"""Attacks that cheat, on purpose or by mistake, gain nothing: membership and order are kept from them."""

import gc

import numpy as np
import pytest

from mialab import attacks, audit, metrics
from mialab.attacks import Attack, Known, References
from mialab.cells.attacked import Attacked
from mialab.cells.models import Models
from mialab.cells.pipeline import Pipeline
from mialab.engine.store import Store
from mialab.training import Phase, Recipe

N = 2000


class Copies(Attack):
    """Returns the membership that it is given."""

    name = "copies"
    learns = True

    def score(self, evidence, known, seed):
        scores = np.full(len(evidence.labels), 0.5)
        scores[known.rows] = known.member
        return scores


class Counts(Attack):
    """Returns the row's number: members come first in many files."""

    name = "counts"

    def score(self, evidence, known, seed):
        return -np.arange(len(evidence.labels))


class Neighbours(Attack):
    """Returns the membership of the nearest known row."""

    name = "neighbours"
    learns = True

    def score(self, evidence, known, seed):
        rows, member = known.rows[np.argsort(known.rows)], known.member[np.argsort(known.rows)]
        nearest = np.searchsorted(rows, np.arange(len(evidence.labels))).clip(max=len(rows) - 1)
        return member[nearest].astype(float)


def outputs(leak=0.0, seed=0):
    """Members first, as our own cells have them; without a leak the outputs say nothing of membership."""
    rng = np.random.default_rng(seed)
    labels, member = rng.integers(0, 4, N), np.arange(N) < N // 2
    logits = rng.normal(size=(N, 4))
    logits[np.arange(N), labels] += 1 + leak * member
    return audit.Outputs(logits, labels, member)


@pytest.mark.parametrize("known", [0.0, 0.5])
@pytest.mark.parametrize("cheat", [Copies(), Counts(), Neighbours()], ids=lambda cheat: cheat.name)
def test_an_attack_that_returns_membership_or_the_row_s_number_finds_nothing(cheat, known):
    areas = []
    for seed in range(4):
        report = audit.audit(outputs(seed=seed), attacks=cheat, known=known, seed=seed)
        if cheat.learns and not known:
            assert "none are known" in report.skipped[cheat.name]
            return
        areas.append(report.attacks[cheat.name].everyone.auc)
    assert np.mean([area.value for area in areas]) == pytest.approx(0.5, abs=0.03)
    assert sum(area.low <= 0.5 <= area.high for area in areas) >= 3


def test_in_file_order_such_cheats_would_have_found_every_member():
    """What the shuffle is for: rows in the file's order, and neighbours of known rows, tell all."""
    given = outputs()
    evidence = attacks.Evidence(*[given.logits[0]] * 3, given.labels)
    known = Known.of(np.arange(N) % 2 == 0, given.member)
    for cheat in (Counts(), Neighbours()):
        assert metrics.auc(cheat.score(evidence, known, 0), given.member) > 0.99


@pytest.mark.parametrize("references", [False, True])
def test_nothing_that_an_attack_is_handed_leads_to_the_membership_of_unknown_samples(references):
    given, seen = outputs(), []
    held = References(given.logits, np.arange(N)[None] % 2, given.labels) if references else None

    def look(evidence, known, seed):
        seen.append((evidence, known))
        return np.zeros(N)

    mine = attacks.from_function("mine", look, learns=True, needs=("references",) if references else ())
    audit.audit(given, attacks=mine, known=0.5, references=held)
    ((evidence, known),) = seen
    assert {*vars(known)} == {"rows", "member"} and len(known.rows) == len(known.member) < 1001
    assert known.rows.base is None and known.member.base is None
    reached = [*vars(evidence).values(), *vars(known).values()]
    if references:
        reached += list(vars(evidence.references).values())
    for array in reached:
        for one in (array, getattr(array, "base", None)):
            if isinstance(one, np.ndarray) and one.ndim == 1 and len(one) == N:
                agreement = (one.astype(bool) == given.member).mean()
                assert 0.2 < agreement < 0.8, "membership, or its opposite"
    assert not any(isinstance(one, audit.Outputs) for one in gc.get_referents(evidence, known))


def test_scores_come_back_in_the_caller_s_order():
    given = outputs(leak=2.0)
    found = audit.audit(given, attacks=["confidence", "loss-per-class", "neural-published"], known=0.5)
    p = np.exp(given.logits[0] - given.logits[0].max(axis=1, keepdims=True))
    p = (p / p.sum(axis=1, keepdims=True))[np.arange(N), given.labels]
    np.testing.assert_allclose(found.attacks["confidence"].scores, np.log(p / (1 - p)), atol=1e-9)
    for result in found.attacks.values():
        assert result.everyone.auc.low > 0.6


def test_x_references_and_each_model_s_answers_come_in_the_order_of_the_evidence():
    given, seen = outputs(), []
    held = References(given.logits, np.arange(N)[None] % 2, given.labels)

    def look(evidence, known, seed):
        seen.append(evidence)
        return np.zeros(N)

    mine = attacks.from_function("mine", look, needs=("references", "x", "log_confidences"))
    audit.audit(given, attacks=mine, references=held, x=given.logits[0])
    (evidence,) = seen
    assert not np.array_equal(evidence.labels, given.labels)
    np.testing.assert_allclose(evidence.log_p, evidence.log_confidences[0])
    np.testing.assert_array_equal(evidence.references.logits[0], evidence.x)
    np.testing.assert_array_equal(evidence.references.labels, evidence.labels)
    np.testing.assert_array_equal(evidence.answers, evidence.x.argmax(axis=1))
    for name in ("log_odds", "log_p"):
        fresh = References(evidence.references.logits, evidence.references.member, evidence.labels)
        np.testing.assert_allclose(getattr(evidence.references, name), getattr(fresh, name))


def test_the_order_follows_the_seed_and_cannot_be_drawn_from_it_alone():
    rows = []

    def look(evidence, known, seed):
        rows.append(evidence.log_p[:, 0].copy())
        return np.zeros(N)

    given = outputs()
    turned = audit.Outputs(given.logits, given.labels, given.member[::-1])
    for these, seed in ((given, 0), (given, 0), (given, 1), (turned, 0)):
        audit.audit(these, attacks=attacks.from_function("mine", look), seed=seed)
    np.testing.assert_array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2]) and not np.array_equal(rows[0], rows[3])


# scores of every epoch


def epochs(good, *, name="by epoch", scores_on=lambda member: member):
    """An attack whose epochs tell known samples apart with the probabilities `good`; of the others it knows nothing."""

    def score(evidence, known, seed):
        rng = np.random.default_rng(seed)
        rows = rng.random((len(good), len(evidence.labels)))
        for row, share in zip(rows, good, strict=True):
            right = rng.random(len(known)) < share
            row[known.rows] = np.where(right, scores_on(known.member), ~known.member)
        return rows

    return attacks.from_function(name, score, learns=True)


def test_the_epoch_is_chosen_on_known_samples_and_never_on_evaluated_ones():
    """The epoch that happens to be best on evaluated samples is another one in most draws: it must not be taken."""
    given = outputs()
    for seed in range(5):
        report = audit.audit(given, attacks=epochs([0.6, 0.95, 0.7, 0.6]), known=0.5, seed=seed)
        result = report.attacks["by epoch"]
        known = ~report.evaluated
        assert (result.scores[known] == given.member[known]).mean() == pytest.approx(0.95, abs=0.03)
        assert result.everyone.auc.low < 0.5 < result.everyone.auc.high or abs(result.everyone.auc.value - 0.5) < 0.06
        assert [point["epoch"] for point in result.curve] == [1, 2, 3, 4]
        accuracies = [point["known_accuracy"] for point in result.curve]
        assert np.argmax(accuracies) == 1 and "loss" not in result.curve[0]


def test_where_nobody_is_known_the_last_epoch_counts():
    rows = np.random.default_rng(0).random((3, N))
    mine = attacks.from_function("mine", lambda evidence, known, seed: rows)
    report = audit.audit(outputs(), attacks=mine, known=0)
    np.testing.assert_array_equal(np.sort(report.attacks["mine"].scores), np.sort(rows[-1]))
    assert [set(point) for point in report.attacks["mine"].curve] == [{"epoch", "accuracy", "auc"}] * 3


def test_wrong_shapes_of_scores_are_refused():
    for wrong in (np.zeros((0, N)), np.zeros((2, 3, N)), np.zeros((N, 2)), np.array(1.0)):
        mine = attacks.from_function("mine", lambda *_, wrong=wrong: wrong)
        with pytest.raises(audit.AuditError, match="expected a number for each of 2000 samples, or a row of them"):
            audit.audit(outputs(), attacks=mine)


@pytest.mark.parametrize("name", ["neural-published", "neural-released", "neural-per-class", "white-box-ensemble"])
def test_a_neural_attack_s_curve_ends_where_its_scores_are_and_changes_none_of_them(name):
    given = outputs(leak=2.0)
    plain, curved = (audit.audit(given, attacks=name, known=0.5, curves=asked) for asked in (False, True))
    a, b = plain.attacks[name], curved.attacks[name]
    np.testing.assert_array_equal(a.scores, b.scores)
    assert a.everyone == b.everyone and a.curve == () and len(b.curve) == 30
    assert set(b.curve[0]) == {"epoch", "loss", "known_accuracy", "accuracy", "auc"}
    assert b.curve[-1]["accuracy"] == a.everyone.accuracy.value and b.curve[-1]["auc"] == a.everyone.auc.value
    assert b.curve[-1]["loss"] < b.curve[0]["loss"] < 0.8
    odds, member = a.scores[~plain.evaluated], given.member[~plain.evaluated]
    losses = np.log1p(np.exp(np.where(member, -odds, odds)))
    assert b.curve[-1]["loss"] == pytest.approx((losses[member].mean() + losses[~member].mean()) / 2)


@pytest.mark.parametrize(("name", "length"), [("nasr-paper", 30), ("nasr-code", 50), ("nasr-paper-x", 30)])
@pytest.mark.filterwarnings("ignore:nasr-code collapsed")
def test_figure_2_s_lower_row_can_be_drawn_from_one_audit(name, length):
    given = outputs(leak=2.0)
    small = audit.Outputs(given.logits[:, ::8], given.labels[::8], given.member[::8])
    x = np.random.default_rng(0).normal(size=(N // 8, 3))
    plain, curved = (audit.audit(small, attacks=name, known=0.5, x=x, curves=asked) for asked in (False, True))
    np.testing.assert_array_equal(plain.attacks[name].scores, curved.attacks[name].scores)
    points = curved.attacks[name].curve
    assert [point["epoch"] for point in points] == list(range(1, length + 1))
    assert all(0 <= point[share] <= 1 for point in points for share in ("accuracy", "known_accuracy", "auc"))
    assert points[-1]["accuracy"] == curved.attacks[name].everyone.accuracy.value
    losses = [point["loss"] for point in points]
    assert losses[-1] < losses[0]


def test_a_curve_asked_of_attacks_that_have_none_is_empty():
    report = audit.audit(outputs(), attacks=["gap", "loss-per-class"], curves=True)
    assert all(result.curve == () for result in report.attacks.values())


# bringing one's own


def test_an_attack_of_one_s_own_is_five_lines_as_a_class_and_one_as_a_function():
    class Margin(Attack):
        name = "margin"

        def score(self, evidence, known, seed):
            second, first = np.sort(evidence.p, axis=1)[:, -2:].T
            return first - second

    alike = attacks.from_function("alike", Margin().score)
    report = audit.audit(outputs(leak=2.0), attacks=["gap", Margin(), alike])
    assert list(report.attacks) == ["gap", "margin", "alike"] and not report.skipped
    np.testing.assert_array_equal(report.attacks["margin"].scores, report.attacks["alike"].scores)
    assert report.attacks["margin"].everyone.auc.low > 0.5 and Margin().version == alike.version == 1


def test_an_attack_without_a_score_or_a_name_is_refused():
    class Empty(Attack):
        name = "empty"

    class Nameless(Attack):
        def score(self, evidence, known, seed):
            return np.zeros(len(evidence.labels))

    with pytest.raises(TypeError, match="abstract"):
        Empty()
    with pytest.raises(audit.AuditError, match=r"Nameless has no name; set one, such as name = 'mine'"):
        audit.audit(outputs(), attacks=Nameless())


def test_known_holds_what_is_known_and_refuses_what_cannot_be():
    member = np.array([1, 0, 1, 0], bool)
    known = Known.of(np.array([True, False, True, True]), member)
    assert known.rows.tolist() == [0, 2, 3] and known.member.tolist() == [True, True, False] and len(known) == 3
    assert known.part(known.member).rows.tolist() == [0, 2]
    for rows, truth in (([0, 0], [1, 0]), ([0, 1], [1]), ([[0]], [[1]])):
        with pytest.raises(ValueError, match="expected distinct rows"):
            Known(np.array(rows), np.array(truth))


# one registry


def test_every_attack_has_one_name_a_line_and_a_version():
    assert attacks.names() == (*attacks.ALL, *attacks.VARIANTS, *attacks.SCORES, *attacks.QUERIES)
    assert len(set(attacks.names())) == len(attacks.names())
    versions = attacks.versions(attacks.names())
    assert versions.keys() == set(attacks.names()) and all(isinstance(one, int) for one in versions.values())
    raised = {name for name, version in versions.items() if version > 1}
    assert raised == {"confidence", "confidence-per-class", "shadow-shokri", "shadow-rahman", "label-boundary"}
    with pytest.raises(ValueError, match="did you mean label-noise"):
        attacks.versions(["label-nois"])


def test_an_attack_that_is_not_in_the_catalogue_and_a_line_without_an_attack_are_refused():
    mine = attacks.from_function("mine", lambda *_: None)
    for names, registered in ((["gap"], [mine, attacks.get("gap")]), (["gap", "other"], [attacks.get("gap")])):
        with pytest.raises(KeyError, match="catalogue.py and the attacks differ in"):
            attacks._registered(names, registered)


def test_attacks_that_ask_the_model_are_skipped_without_it_and_run_by_name_only():
    report = audit.audit(outputs(), attacks=list(attacks.QUERIES), x=np.zeros((N, 2)))
    assert not report.attacks
    assert all("needs the model itself" in reason for reason in report.skipped.values())
    assert not set(audit.audit(outputs(), x=np.zeros((N, 2)), target=object()).attacks) & set(attacks.QUERIES)


def test_both_rows_of_the_pruning_paper_s_figure_2_come_from_one_cell(tmp_path):
    phases = (Phase(Recipe(epochs=3, batch=20, optimizer="adam", lr=0.01)),)
    target = Models(Pipeline("textures", "small_cnn", phases, samples=(100, 100)), epochs=(3,))
    asked = Attacked(target, 3, attacks=("gap", "nasr-paper"), known=0.5, curves=True)
    curves = {curve["curve"]: curve["points"] for curve in Store(tmp_path).get(asked).info["curves"]}
    assert list(curves) == ["training", "attack nasr-paper"]
    assert curves["training"]["epoch"] == [1, 2, 3] and len(curves["training"]["loss"]) == 3
    lower = curves["attack nasr-paper"]
    assert lower["epoch"] == list(range(1, 31)) and {"loss", "known_accuracy", "accuracy"} <= lower.keys()
    assert {len(column) for column in lower.values()} == {30}
