"""Sure answers: attack networks find what the loss finds, in whatever form the answers were saved."""

import ast
import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

import mialab.audit.run
from mialab import attacks, cells, fusion
from mialab.attacks import Evidence, Known, References, samia
from mialab.attacks.scale import ON_FEATURES, ON_FUSED, Scale, saturated
from mialab.audit import Outputs, Report, audit
from mialab.fusion import Rows, softmax

SHADOW = ("shadow-shokri", "shadow-rahman")
TWO_BRANCH = ("nasr-paper", "nasr-code")
LOST = 0.06  # of the AUC, at most, beside the loss's: what a network of a thousand known samples does not find
CELLS = Path(inspect.getfile(cells)).parent


def sure(n=2000, *, classes=10, lead=14.0, spread=3.0, leak=3.0, models=0, seed=0):
    """Logits, labels and member: log-odds of the answer are N(lead, spread), on members more by `leak`.

    models: that many models [models, n, classes], rather than one [n, classes]; the answer is always right.
    """
    rng = np.random.default_rng(seed)
    labels, member = rng.integers(classes, size=n), rng.permutation(n) < n // 2
    logits = rng.normal(size=(models or 1, n, classes))
    logits[:, np.arange(n), labels] = -np.inf
    logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    logits[:, np.arange(n), labels] = rng.normal(lead + leak * member, spread, (models or 1, n))
    return logits if models else logits[0], labels, member


def best(leak: float, spread: float) -> float:
    """The best attack's AUC: the log-odds of both sides are Gaussian and `leak` apart."""
    return float(norm.cdf(leak / spread / np.sqrt(2)))


def ruled_out(logits, labels):
    """The same where one wrong class of each sample, one of three, has the logit -inf."""
    turned, n = logits.copy(), len(labels)
    turned[np.arange(n), (labels + 1 + np.arange(n) % 3) % logits.shape[1]] = -np.inf
    return turned


FORMS = {
    "logits": lambda z, *same: Outputs(z, *same),
    "float32 logits": lambda z, *same: Outputs(z.astype("f4"), *same),
    "log-softmax": lambda z, *same: Outputs(fusion.log_confidence(z).astype("f4"), *same),
    "softmax": lambda z, *same: Outputs.from_probabilities(softmax(z), *same),
    "float32 softmax": lambda z, *same: Outputs.from_probabilities(softmax(z).astype("f4"), *same),
}


def aucs(report: Report) -> dict[str, float]:
    return {name: result.everyone.auc.value for name, result in report.attacks.items()}


def codes(report: Report) -> list[str]:
    return [note.code for note in report.notes]


# what networks find


@pytest.mark.parametrize("lead", [6.0, 14.0, 50.0, 200.0])
def test_networks_come_near_the_optimum_on_a_planted_sure_model(lead):
    found = aucs(audit(FORMS["logits"](*sure(lead=lead)), attacks=["loss", *ON_FEATURES], known=0.5))
    for name in ON_FEATURES:
        assert best(3, 3) - LOST < found[name] < best(3, 3) + 0.03
        assert found["loss"] - LOST < found[name]


@pytest.mark.parametrize("attack", TWO_BRANCH)
def test_two_branch_networks_do_too(attack):
    z, labels, member = sure(1200)
    for form in (z, ruled_out(z, labels)):
        found = aucs(audit(Outputs(form, labels, member), attacks=["loss", attack], known=0.5))
        assert found[attack] > found["loss"] - LOST


def test_as_published_they_find_nothing_there():
    found = aucs(audit(FORMS["logits"](*sure()), attacks=ON_FEATURES, known=0.5, published=True))
    assert max(found.values()) < 0.6 < best(3, 3)


def test_the_same_answers_in_another_form_give_the_same_scores():
    given = sure()
    each = [aucs(audit(form(*given), attacks=["loss", *ON_FEATURES], known=0.5)) for form in FORMS.values()]
    for found in each[1:]:
        assert found == pytest.approx(each[0], abs=0.005)


def test_half_precision_loses_to_networks_what_it_loses_to_the_loss():
    z, labels, member = sure()
    outputs = Outputs.from_probabilities(softmax(z).astype("f2"), labels, member)
    found = aucs(audit(outputs, attacks=["loss", *ON_FEATURES], known=0.5))
    assert found["loss"] < best(3, 3) - 0.02
    assert min(found[name] for name in ON_FEATURES) > found["loss"] - LOST


def test_a_class_that_is_ruled_out_leaves_the_others_apart():
    z, labels, member = sure()
    turned = ruled_out(z, labels)
    logits, p = Outputs(turned, labels, member), Outputs.from_probabilities(softmax(turned), labels, member)
    each = [aucs(audit(outputs, attacks=["loss", *ON_FEATURES], known=0.5)) for outputs in (logits, p)]
    assert each[0] == pytest.approx(each[1], abs=0.005)
    assert min(each[0][name] for name in ON_FEATURES) > each[0]["loss"] - LOST


def test_rounded_probabilities_of_two_classes_keep_what_is_left_of_them():
    """More than half of them are rounded to 0 and 1, whose log-odds are ten times as large as any other."""
    z, labels, member = sure(classes=2, lead=8.0)
    outputs = Outputs.from_probabilities(np.round(softmax(z), 4), labels, member)
    found = aucs(audit(outputs, attacks=["loss", *ON_FEATURES], known=0.5))
    assert min(found[name] for name in ON_FEATURES) > found["loss"] - 0.03


def test_membership_drawn_at_random_is_not_found():
    z, labels, member = sure()
    drawn = [np.random.default_rng(seed).permutation(member) for seed in range(4)]
    reports = [audit(Outputs(z, labels, one), attacks=ON_FEATURES, known=0.5) for one in drawn]
    assert all("saturated" in codes(one) for one in reports)
    for name in ON_FEATURES:  # 1,000 samples are judged in each: one standard error of the mean is 0.009
        assert np.mean([aucs(one)[name] for one in reports]) == pytest.approx(0.5, abs=0.03)


def test_answers_that_are_all_zeros_and_ones_say_what_they_said():
    """No network can find more in a bare label; nothing is divided by their spread of zero."""
    rng = np.random.default_rng(0)
    labels, member = rng.integers(4, size=600), rng.random(600) < 0.5
    answers = np.where(rng.random(600) < 0.5 + 0.4 * member, labels, (labels + 1) % 4)
    outputs = Outputs.from_probabilities(np.eye(4)[answers], labels, member)
    found = [aucs(audit(outputs, attacks="neural-per-class", known=0.5, published=one)) for one in (True, False)]
    assert found[0] == pytest.approx(found[1], abs=0.02) and found[0]["neural-per-class"] > 0.6


def test_votes_are_told_apart_though_most_are_unanimous():
    rng = np.random.default_rng(0)
    labels, member = rng.integers(3, size=1500), rng.random(1500) < 0.5
    right = rng.random((5, 1500)) < 0.8 + 0.19 * member
    outputs = Outputs(10 * np.eye(3)[np.where(right, labels, (labels + 1) % 3)], labels, member)
    found = aucs(audit(outputs, attacks=["loss", *ON_FEATURES], known=0.5, fusion="vote"))
    assert min(found[name] for name in ON_FEATURES) > found["loss"] - LOST


@pytest.mark.parametrize("form", ["float32", "float16"])
def test_shadow_networks_learn_on_the_target_s_scale(form):
    """The shadows' answers are given precisely, the target's in as many digits as its type holds."""
    z, labels, member = sure(1200)
    shadows = [sure(1200, seed=k)[1:] for k in range(1, 7)]
    inside = np.stack([side for _, side in shadows])
    rng = np.random.default_rng(9)
    logits = rng.normal(size=(6, 1200, 10)) - 4
    logits[:, np.arange(1200), labels] = rng.normal(12 + 3 * inside, 3)
    outputs = Outputs.from_probabilities(softmax(z).astype(form), labels, member)
    asked = {"attacks": ["loss", *SHADOW], "references": References(logits, inside, labels)}
    found, published = (aucs(audit(outputs, **asked, published=one)) for one in (False, True))
    for name in SHADOW:
        assert found[name] > found["loss"] - LOST and published[name] < found["loss"] - 0.15


# what they are shown


@pytest.mark.parametrize("white_box", [False, True])
def test_answers_that_are_not_saturated_are_shown_as_published(white_box):
    z, labels, member = sure(600, lead=2.0, models=2)
    given = {"attacks": [*ON_FEATURES, "nasr-paper"], "white_box": white_box}
    found, published = (audit(Outputs(z, labels, member), **given, published=one) for one in (False, True))
    assert "saturated" not in codes(found)
    for name, result in found.attacks.items():
        np.testing.assert_array_equal(result.scores, published.attacks[name].scores)


def test_in_the_white_box_only_a_saturated_model_s_softmaxes_are_replaced():
    z, labels, member = sure(900, models=3)
    z[1] = sure(900, lead=1.0, leak=0.0)[0]
    evidence = mialab.audit.run._evidence(
        Outputs(z, labels, member), fusion.get("confidence"), mialab.audit.run.Settings(white_box=True), False, False
    )
    assert evidence.sure_models == (0, 2) and evidence.inputs is evidence.features
    shown, softmaxes = evidence.inputs, fusion.side_by_side(z)
    np.testing.assert_array_equal(shown[:, 10:20], softmaxes[:, 10:20])
    assert shown[:, :10].std() == pytest.approx(1, abs=0.01) == shown[:, 20:].std()
    report = audit(Outputs(z, labels, member), attacks=["nasr-paper", *ON_FEATURES], white_box=True)
    (note,) = (one for one in report.notes if one.code == "saturated")
    assert note.figures == {"attacks": list(ON_FEATURES), "models": [0, 2]} and "models [0, 2]" in note.sentence


def test_in_the_white_box_every_sure_model_helps():
    z, labels, member = sure(models=3, leak=2.0)
    asked = {"attacks": ["neural-published", "neural-per-class"], "known": 0.5}
    alone, together = (aucs(audit(Outputs(z, labels, member), **asked, white_box=one)) for one in (False, True))
    for name, area in together.items():
        assert best(2 * np.sqrt(3), 3) - LOST < area and area > alone[name] - 0.02


def test_the_scale_is_one_of_unit_spread_and_looks_at_finite_numbers_only():
    z, labels, _ = sure()
    for logits in (z, ruled_out(z, labels), 100 * z, 1e6 * z, z[:, :2], np.where(np.eye(10)[labels], 0, -np.inf)):
        log_p = fusion.log_confidence(logits)
        shown = Scale.of(log_p)(log_p)
        assert shown.dtype == np.float32 and np.isfinite(shown).all() and abs(shown).max() < 20
        assert shown.std() == pytest.approx(1, abs=0.01) and shown.mean() == pytest.approx(0, abs=0.01)


def test_of_small_probabilities_networks_see_these_and_of_large_ones_the_log_odds():
    plain = Scale(0.0, 1e9, 0.0, 1.0)
    z, labels, _ = sure(lead=300.0)
    log_p, rows = fusion.log_confidence(z), np.arange(len(z))
    np.testing.assert_allclose(plain(log_p)[rows, labels], fusion.log_odds(z, labels), rtol=1e-6)
    p = np.array([[0.001, 0.299, 0.7], [0.0, 0.5, 0.5]])
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(plain(np.log(p)), -np.log(1 - p), rtol=1e-6)


def test_of_large_outputs_the_same_is_shown_a_few_rows_at_a_time(monkeypatch):
    given = Outputs(*sure(600))
    asked = {"attacks": [*ON_FEATURES, "nasr-paper"], "known": 0.5}
    whole = audit(given, **asked)
    monkeypatch.setattr(mialab.audit.run, "LARGE", 1)
    rows = audit(given, **asked)
    for name, result in whole.attacks.items():
        np.testing.assert_allclose(rows.attacks[name].scores, result.scores, rtol=1e-4, atol=1e-4)
    log_p = Rows(lambda samples: fusion.log_confidence(given.logits[0, samples]), np.arange(600), 10)
    assert isinstance(Scale.of(log_p).rows(log_p), Rows)


def test_answers_are_saturated_where_more_than_half_are_surer_than_99_per_cent():
    assert saturated(np.array([0.995, 0.995, 0.5])) and not saturated(np.array([0.995, 0.985]))


# who is shown it


@pytest.mark.filterwarnings("ignore:nasr-code collapsed")  # of so few samples nothing is to be learnt here
def test_the_note_names_the_attacks_that_read_the_scale(monkeypatch):
    monkeypatch.setattr(samia, "MOST_ANSWERS", 100)
    z, labels, member = sure(150, classes=3, lead=1.0)
    p, rng, log_p = softmax(z), np.random.default_rng(0), fusion.log_confidence(z)
    others, inside = z + rng.normal(size=(16, 150, 3)), rng.permuted(np.arange(16) % 2 * np.ones((150, 1)), axis=1).T
    references = References(others, inside, labels, softmax(others))
    evidence = Evidence(p, log_p, p, labels, log_confidences=log_p[None], x=z, sensitivity=p, references=references)
    other = replace(evidence, scale=Scale(0.0, 9.0, 0.0, 1.0))
    changed = set()
    for name, attack in attacks.ALL.items():
        known = Known.of(np.arange(150) < 100, member)
        scores = [attack.score(one.only(attack.needs), known, 0) for one in (evidence, other)]
        changed |= set() if np.array_equal(*scores) else {name}
    assert changed == {*ON_FEATURES, *ON_FUSED}


def test_a_note_says_so_and_why():
    report = audit(Outputs(*sure(600)), attacks=["loss", "neural-released", "nasr-paper"], known=0.5)
    (note,) = report.notes
    assert note.code == "saturated" and note.figures["attacks"] == ["neural-released", "nasr-paper"]
    assert note.figures["share"] > 0.9
    assert "softmax p as in their papers" in note.sentence
    assert "read -log(1 - p)" in " ".join(str(report).split())
    assert codes(audit(Outputs(*sure(600)), attacks="loss")) == []


def test_cells_of_experiments_ask_for_the_papers_inputs():
    """So that what they reproduce does not hang on how sure a model is."""
    calls = []
    for place in CELLS.glob("*.py"):
        for node in ast.walk(ast.parse(place.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("audit.audit", "audit"):
                given = {one.arg: ast.unparse(one.value) for one in node.keywords}
                calls.append((place.name, given.get("published")))
    assert calls and {given for _, given in calls} == {"True"}
