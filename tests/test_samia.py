"""The attack made for pruned models: it finds what shadows show, in the answer or in its sensitivity, and no more."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from experiment_cases import altered, outputs_cell, random_models, shadows_cell
from scipy.stats import norm

from mialab import attacks, fusion, metrics
from mialab.attacks import Evidence, Known, NotEnough, References, attention, samia
from mialab.attacks.attention import Attention, Settings
from mialab.audit import AuditError, Outputs, audit
from mialab.cells.attacked import Attacked
from mialab.cells.shadows import Shadows, references

QUICK = Settings(width=16, heads=2, layers=1, feedforward=32, rate=3e-3, epochs=25)
CONFIDENCE = ("gap", "confidence", "loss", "entropy", "modified-entropy")


def toy(differs, *, n=800, shadows=6, classes=4, shift=1.0, seed=0):
    """A target and shadows whose members differ from others in one thing alone: (evidence, member).

    differs: "sensitivity", whose logarithm is less by `shift` for members, in every class; or "answer", where the true
    class's logit leads by `shift` more. Logits are normal, sensitivities log-normal and independent of them.
    """
    rng = np.random.default_rng(seed)
    labels, member = rng.integers(0, classes, n), rng.random(n) < 0.5
    inside = rng.random((shadows, n)) < 0.5

    def drawn(side):
        logits = rng.normal(size=(*side.shape, classes))
        lead = 1.5 + shift * side * (differs == "answer")
        logits += lead[..., None] * np.eye(classes)[labels]
        return logits, np.exp(rng.normal(size=logits.shape) - 1 - shift * side[..., None] * (differs == "sensitivity"))

    (logits, moved), (others, others_moved) = drawn(member), drawn(inside)
    held = References(others, inside, labels, others_moved)
    p = fusion.softmax(logits)
    return Evidence(p, fusion.log_confidence(logits), p, labels, sensitivity=moved, references=held), member


NOBODY = Known(np.empty(0, int), np.empty(0, bool))


def scores_of(evidence, *, seed=0, known=NOBODY, settings=QUICK):
    return samia.score(evidence, known, seed, settings=settings)


def auc(name, evidence, member):
    scores = scores_of(evidence) if name == "samia" else attacks.get(name).score(evidence, NOBODY, 0)
    return metrics.auc_interval(scores, member)


# ground truth


def test_where_only_sensitivity_differs_it_beats_every_confidence_attack():
    evidence, member = toy("sensitivity")
    for name in CONFIDENCE:
        found = auc(name, evidence, member)
        assert found.low < 0.5 < found.high, name
    best = metrics.auc(-np.log(evidence.sensitivity).mean(axis=1), member)  # Neyman and Pearson's score
    assert best - 0.02 < auc("samia", evidence, member).value < best + 0.01
    assert best == pytest.approx(norm.cdf(np.sqrt(2)), abs=0.02)


def test_where_only_the_answer_differs_it_does_about_as_well_as_the_thresholds():
    evidence, member = toy("answer", shift=1.5)
    best = max(auc(name, evidence, member).value for name in CONFIDENCE)
    found = auc("samia", evidence, member).value
    assert best > 0.7 and best - 0.03 < found < best + 0.03


@pytest.mark.parametrize("differs", ["sensitivity", "answer"])
def test_shuffled_membership_leaves_an_auc_of_a_half(differs):
    covered = []
    for seed in range(4):
        evidence, member = toy(differs, n=500, shadows=4, seed=seed)
        rng = np.random.default_rng(100 + seed)
        of_shadows = replace(evidence.references, member=rng.permuted(evidence.references.member, axis=1))
        untaught = scores_of(replace(evidence, references=of_shadows), settings=replace(QUICK, epochs=5))
        taught = scores_of(evidence, settings=replace(QUICK, epochs=5))
        for scores, truth in ((taught, rng.permutation(member)), (untaught, rng.permutation(member))):
            found = metrics.auc_interval(scores, truth)
            covered.append(found.low < 0.5 < found.high)
    assert sum(covered) >= 6  # each interval misses once in twenty


def test_a_class_s_own_direction_is_learnt_by_the_label():
    """In class 0 members move less, in all others more: without the label there would be nothing to learn."""
    evidence, member = toy("nothing")
    held = evidence.references
    sign = np.where(evidence.labels == 0, -2, 2)[:, None]
    turned = replace(held, sensitivity=held.sensitivity * np.exp(sign * (held.member[..., None] - 0.5)))
    own = evidence.sensitivity * np.exp(sign * (member[:, None] - 0.5))
    scores = scores_of(replace(evidence, references=turned, sensitivity=own))
    for part in (evidence.labels == 0, evidence.labels != 0):
        assert metrics.auc(scores[part], member[part]) > 0.8


# what it sees, and what it must not


def test_it_is_taught_by_shadows_alone():
    evidence, member = toy("answer", n=300)
    everybody = Known.of(np.ones(300, bool), member)
    np.testing.assert_array_equal(scores_of(evidence), scores_of(evidence, known=everybody))
    attack = attacks.get("samia")
    assert not attack.learns and attack.costly and attack.log_odds
    assert attack.needs == ("references", "sensitivity")


def test_of_the_shadows_answers_as_many_are_of_members_as_of_others(monkeypatch):
    evidence, _ = toy("answer", n=300)
    uneven = References(
        *[part[:2] for part in (evidence.references.logits, evidence.references.member[:, ::-1])],
        evidence.references.labels,
        evidence.references.sensitivity[:2],
    )
    for held, most, pairs in ((uneven, 10_000, uneven.member), (uneven, 100, None)):
        monkeypatch.setattr(samia, "MOST_ANSWERS", most)
        tokens, member = samia._answers(replace(evidence, references=held), np.random.default_rng(0))
        expected = 50 if pairs is None else min(pairs.sum(), (~pairs).sum())
        assert (member.sum(), (~member).sum()) == (expected, expected)
        assert tokens.shape == (2 * expected, 4, 3) and tokens.dtype == np.float32


def test_a_token_is_a_class_s_probability_its_sensitivity_and_whether_it_is_the_label():
    evidence, _ = toy("answer", n=50)
    tokens = samia._tokens(evidence.p, evidence.sensitivity, evidence.labels)
    np.testing.assert_allclose(tokens[..., 0], evidence.p, rtol=1e-6)
    np.testing.assert_allclose(tokens[..., 1], evidence.sensitivity, rtol=1e-6)
    np.testing.assert_array_equal(tokens[..., 2].argmax(1), evidence.labels)
    assert (tokens[..., 2].sum(axis=1) == 1).all()


def test_the_network_is_of_the_stated_size():
    network = Attention(10, Settings())
    assert len(network.encoder.layers) == 3
    for layer in network.encoder.layers:
        assert (layer.self_attn.embed_dim, layer.self_attn.num_heads) == (64, 4)
        assert (layer.linear1.out_features, layer.dropout.p) == (128, 0.2)
    assert network.scale.num_features == 30
    assert network(torch.rand(5, 10, 3)).shape == (5,)


def test_training_ends_when_what_is_held_back_is_no_longer_better_judged_and_the_best_is_kept(monkeypatch):
    tokens, member = torch.rand(200, 4, 3), (torch.arange(200) % 2).float()
    network, taught, epoch = Attention(4, QUICK), [], attention._epoch

    def watched(network, optimizer, tokens, member, batches):
        taught.append(torch.cat(batches))
        epoch(network, optimizer, tokens, member, batches)
        if len(taught) > 1:  # as if it forgot all that it had learnt
            with torch.no_grad():
                network.judge[-1].bias.fill_(100.0)
        else:
            first.update({name: value.clone() for name, value in network.state_dict().items()})

    first = {}
    monkeypatch.setattr(attention, "_epoch", watched)
    attention.train(network, QUICK, tokens, member, np.random.default_rng(0))
    assert len(taught) == 1 + QUICK.patience
    assert all(torch.equal(value, first[name]) for name, value in network.state_dict().items())
    (rows,) = {tuple(sorted(each.tolist())) for each in taught}
    assert len(rows) == 160, "a fifth is never taught"


def test_the_same_seed_gives_the_same_scores_and_the_global_state_stays():
    evidence, _ = toy("answer", n=300, shadows=2)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    few = replace(QUICK, epochs=2)
    first, same, other = (scores_of(evidence, seed=seed, settings=few) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other) and first.dtype == np.float64
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_it_costs_no_one_an_import_of_torch():
    code = "import sys, mialab.audit, mialab.attacks.samia; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# what is lacking


def test_what_is_lacking_is_named_with_its_remedy():
    evidence, _ = toy("answer", n=60)
    with pytest.raises(NotEnough, match=r"sensitivity of the reference models, too: .*Shadows\(..., sensitivity="):
        scores_of(replace(evidence, references=replace(evidence.references, sensitivity=None)))
    with pytest.raises(NotEnough, match="give the array of mialab.attacks.sensitivity"):
        scores_of(replace(evidence, sensitivity=None))
    with pytest.raises(NotEnough, match="reference models"):
        scores_of(replace(evidence, references=None))
    once = np.zeros_like(evidence.references.member)
    once[0, :5] = True
    with pytest.raises(NotEnough, match="8 answers on samples in a shadow's training set and 8 on others: train more"):
        scores_of(replace(evidence, references=replace(evidence.references, member=once)))


def test_other_classes_or_samples_are_refused():
    evidence, _ = toy("answer", n=60)
    others, _ = toy("answer", n=60, classes=5)
    for wrong in ({"references": others.references}, {"sensitivity": others.sensitivity}):
        with pytest.raises(ValueError, match=r"samia: found .* \[60, 5\].*; give all of them for the same samples"):
            scores_of(replace(evidence, **wrong))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda moved: moved[..., :-1], r"shape \[.*3\]; expected \[.*4\]; measure it on the very samples"),
        (lambda moved: -moved, "a number below 0 or none at all; expected finite ones from 0 on"),
        (lambda moved: moved * np.nan, "a number below 0 or none at all"),
        (lambda moved: moved.astype(str), "expected real numbers"),
    ],
)
def test_an_array_that_is_no_sensitivity_is_refused_in_one_line(change, message):
    evidence, member = toy("answer", n=60)
    held, outputs = evidence.references, Outputs(evidence.log_p, evidence.labels, member)
    with pytest.raises(AuditError, match=message):
        audit(outputs, attacks="gap", sensitivity=change(evidence.sensitivity))
    with pytest.raises(AuditError, match=message):
        References(held.logits, held.member, held.labels, change(held.sensitivity))


# in an audit, and in a cell


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(attention, "Settings", lambda: QUICK)


def test_an_audit_hands_it_the_samples_shuffled_and_takes_its_scores_back_in_order(quick):
    evidence, member = toy("sensitivity")
    outputs = Outputs(evidence.log_p, evidence.labels, member)
    given = {"references": evidence.references, "sensitivity": evidence.sensitivity, "known": 0.5}
    found = audit(outputs, attacks=["gap", "samia"], **given)
    assert found.attacks["samia"].everyone.auc.low > 0.8 > 0.6 > found.attacks["gap"].everyone.auc.high
    assert found.attacks["samia"].beyond == ("references", "sensitivity")
    assert "samia" not in audit(outputs, **given).attacks, "only by name: it takes a while"
    skipped = audit(outputs, attacks="samia", references=evidence.references).skipped
    assert skipped["samia"].startswith("needs the answers' sensitivity to noise")


def with_samia(**changes):
    target = replace(altered(random_models(), samples=(200, 200)), sensitivity=(2,))
    shadow = Shadows(target.pipeline, (2,), count=2, sensitivity=(2,))
    config = Attacked(target, 2, models=2, attacks=("samia",), shadow=shadow, shadows=4, scores=True, subsets=2)
    return replace(config, **changes)


def test_a_cell_gives_it_the_sensitivity_of_the_very_model_and_of_the_shadows(quick, monkeypatch):
    config, seen = with_samia(), []
    ask = samia._learnt
    monkeypatch.setattr(samia, "_learnt", lambda *given: seen.append(given) or ask(*given))
    cells = [shadows_cell(need) if isinstance(need, Shadows) else outputs_cell(need) for need in config.needs()]
    cell = config.compute(cells, scratch=None)
    own = cells[0].arrays["sensitivity_2"]
    for (_, _, asked, *_), (model,) in zip(seen, cell.info["subsets"], strict=True):
        np.testing.assert_allclose(np.sort(asked[..., 1], axis=None), np.sort(own[model], axis=None))
    held = references(cells[1:], 2)
    np.testing.assert_array_equal(
        held.sensitivity, np.concatenate([each.arrays["sensitivity_2"][:, 0] for each in cells[1:]])
    )
    assert [row["auc"] > 0.6 for row in cell.info["rows"]] == [True]
    turned = held.reordered(np.arange(400)[::-1])
    np.testing.assert_array_equal(turned.sensitivity, held.sensitivity[:, ::-1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 2, "subsets": 1}, "asks single models: the sensitivity of 2 together is not kept; choose size=1"),
        ({"target": random_models()}, r"needs the target's sensitivity: Models\(..., sensitivity=\(2,\)\)"),
        ({"shadow": "plain"}, r"needs the shadows' sensitivity, too: Shadows\(..., sensitivity=\(2,\)\)"),
    ],
)
def test_cells_without_sensitivity_are_refused_at_once(changes, message):
    if "target" in changes:
        changes = {"target": replace(with_samia().target, sensitivity=())}
    if "shadow" in changes:
        changes = {"shadow": replace(with_samia().shadow, sensitivity=())}
    if "size" in changes:
        changes = {**changes, "shadow": replace(with_samia().shadow, models=2)}
    with pytest.raises(ValueError, match=message):
        with_samia(**changes)
