"""The two-branch network: its shape, its training, and what it reaches where the best attack is known."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from mialab import attacks, fusion, metrics
from mialab.attacks import Known, nasr
from mialab.two_branch import network as two_branch

VARIANTS = [nasr.PAPER, nasr.CODE, nasr.PAPER_X]
NAMES = [variant.name for variant in VARIANTS]


def evidence_of(logits, labels, x=None):
    p = fusion.softmax(logits)
    return attacks.Evidence(p, fusion.log_confidence(logits), p, labels, x=x)


def overfit(*, members=200, nonmembers=100, margin=3.0, classes=3, seed=0):
    """The true class's logit leads by N(1, 1), by `margin` more if a member; x says nothing."""
    rng = np.random.default_rng(seed)
    member = np.arange(members + nonmembers) < members
    labels = rng.integers(0, classes, len(member))
    logits = rng.normal(size=(len(member), classes))
    logits[np.arange(len(member)), labels] += 1 + margin * member
    x = rng.integers(0, 256, (len(member), 1, 2, 2), dtype=np.uint8)
    return evidence_of(logits, labels, x), rng.random(len(member)) < 0.8, member


def two_gaussians(shift, *, n=4000, seed=0):
    """Two classes; the log-odds of the true one are N(0, 1) for non-members and N(shift, 1) for members."""
    rng = np.random.default_rng(seed)
    member, labels = rng.random(n) < 0.5, rng.integers(0, 2, n)
    odds = rng.normal(size=n) + shift * member
    return evidence_of(np.stack([np.where(labels == 0, odds, 0), np.where(labels == 1, odds, 0)], 1), labels), member


def quick(variant, epochs):
    """A variant that learns from few samples: with the code's small initial weights it would not in so few steps."""
    return replace(variant, rate=1e-3, initial_std=None, epochs=epochs)


def reached(scores, known, member):
    """Balanced accuracy on the rest, at the threshold that the known samples choose."""
    threshold = metrics.best_threshold(scores[known], member[known])
    return metrics.balanced_accuracy(scores[~known], member[~known], threshold)


def test_all_three_are_costly_and_only_one_asks_for_x():
    assert [(a.name, a.learns, a.costly, a.needs) for a in nasr.ATTACKS] == [
        ("nasr-paper", True, True, ()),
        ("nasr-code", True, True, ()),
        ("nasr-paper-x", True, True, ("x",)),
    ]


@pytest.mark.parametrize(
    ("variant", "prediction", "label", "joint"),
    [  # the paper's description; the authors' CIFAR-100 script
        (nasr.PAPER, [100, 1024, 512, 64], [100, 512, 64], [128, 256, 64, 1]),
        (nasr.CODE, [100, 1024, 512, 64], [100, 128, 64], [128, 256, 128, 64, 1]),
    ],
)
def test_each_variant_has_the_layers_that_its_source_states(variant, prediction, label, joint):
    network = two_branch.build(100, variant)
    for part, sizes in ((network.prediction, prediction), (network.label, label), (network.joint, joint)):
        layers = [layer for layer in part.modules() if isinstance(layer, torch.nn.Linear)]
        assert [layers[0].in_features, *(layer.out_features for layer in layers)] == sizes


def test_the_code_s_variant_starts_and_counts_as_the_script_does():
    network = two_branch.build(100, nasr.CODE)
    weights = torch.cat([layer.weight.flatten() for layer in network.modules() if isinstance(layer, torch.nn.Linear)])
    biases = torch.cat([layer.bias for layer in network.modules() if isinstance(layer, torch.nn.Linear)])
    assert weights.std().item() == pytest.approx(0.01, rel=0.01) and not biases.any()
    seen = []
    network.label.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    network(torch.zeros(1, 100), torch.eye(100)[:1])
    assert seen[0][0, 0] == 1 and (seen[0][0, 1:] == -1).all()
    log_odds, member = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])
    squared = ((log_odds.sigmoid() - member) ** 2).mean()
    assert two_branch.loss(nasr.CODE, log_odds, member) == pytest.approx(squared.item())
    log_loss = -(np.log(0.5) + np.log(1 - 1 / (1 + np.exp(-2)))) / 2
    assert two_branch.loss(nasr.PAPER, log_odds, member) == pytest.approx(log_loss)


@pytest.mark.parametrize("variant", VARIANTS, ids=NAMES)
def test_every_layer_of_the_network_moves(variant):
    evidence, known, member = overfit()
    start = two_branch.build(3, variant, x_features=4, seed=5)
    inputs = nasr._inputs(variant, evidence)
    trained = nasr._train(replace(variant, epochs=2), evidence, inputs, Known.of(known, member), 5)
    before, after = dict(start.named_parameters()), dict(trained.named_parameters())
    assert len(before) == 2 * sum(isinstance(part, torch.nn.Linear) for part in start.modules())
    assert before.keys() == after.keys()
    assert all((after[name] != before[name]).any() for name in before)


def test_the_seed_gives_the_initial_weights_and_the_global_state_stays():
    before = torch.get_rng_state()
    first, same, other = (two_branch.build(5, seed=seed).joint[1].weight for seed in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("variant", VARIANTS, ids=NAMES)
def test_the_label_and_x_are_seen(variant):
    network = two_branch.build(3, replace(variant, initial_std=None), x_features=4)
    prediction, label, x = torch.rand(6, 3), torch.eye(3).repeat(2, 1), torch.rand(6, 4)
    inputs = (prediction, label, x) if variant.x else (prediction, label)
    answer = network(*inputs)
    for k, part in enumerate(inputs):
        changed = list(inputs)
        changed[k] = part.flip(0)
        assert (network(*changed) - answer).abs().max() > 1e-4


def test_shuffled_labels_change_the_scores():
    evidence, known, member = overfit()
    turned = replace(evidence, labels=np.random.default_rng(0).permutation(evidence.labels))
    right, shuffled = (
        nasr.score(quick(nasr.PAPER, 3), some, Known.of(known, member), 0) for some in (evidence, turned)
    )
    assert np.abs(right - shuffled).max() > 0.1


@pytest.mark.parametrize("variant", VARIANTS, ids=NAMES)
def test_members_of_an_overfit_model_score_higher(variant):
    evidence, known, member = overfit()
    scores = nasr.score(quick(variant, 15), evidence, Known.of(known, member), 0)
    assert scores.shape == member.shape and scores.dtype == np.float64
    assert metrics.auc_interval(scores[~known], member[~known]).low > 0.6


@pytest.mark.parametrize("variant", VARIANTS, ids=NAMES)
def test_shuffled_membership_leaves_an_auc_of_a_half(variant):
    covered = []
    for seed in range(5):
        evidence, known, member = overfit(seed=seed)
        shuffled = np.random.default_rng(100 + seed).permutation(member)
        scores = nasr.score(quick(variant, 5), evidence, Known.of(known, shuffled), seed)
        estimate = metrics.auc_interval(scores[~known], shuffled[~known])
        covered.append(estimate.low < 0.5 < estimate.high)
    assert sum(covered) >= 4  # each interval misses once in twenty


@pytest.mark.parametrize("variant", [nasr.PAPER, nasr.CODE], ids=NAMES[:2])
def test_on_two_known_gaussians_the_network_comes_near_the_optimum(variant):
    evidence, member = two_gaussians(1.5)
    known = np.random.default_rng(9).random(len(member)) < 0.4
    scores = nasr.score(quick(variant, 12), evidence, Known.of(known, member), 0)
    optimum = norm.cdf(0.75)
    assert optimum - 0.025 < reached(scores, known, member).value < optimum + 0.025


def test_where_only_x_tells_members_apart_only_the_branch_for_x_finds_them():
    rng = np.random.default_rng(0)
    member, labels = rng.random(3000) < 0.5, rng.integers(0, 2, 3000)
    x = rng.normal(size=(3000, 4)) * 100 + 1000
    x[:, 0] += 150 * member  # the prediction knows nothing of it
    evidence, known = evidence_of(rng.normal(size=(3000, 2)), labels, x), rng.random(3000) < 0.5
    blind, seeing = (
        reached(nasr.score(replace(variant, epochs=6), evidence, Known.of(known, member), 0), known, member)
        for variant in (nasr.PAPER, nasr.PAPER_X)
    )
    assert blind.low < 0.5 < blind.high
    assert norm.cdf(0.75) - 0.04 < seeing.value < norm.cdf(0.75) + 0.025


def test_with_an_x_that_says_nothing_held_back_samples_stop_the_learning_by_heart():
    evidence, known, member = overfit(members=600, nonmembers=600, margin=2.0)
    evidence = replace(evidence, x=np.random.default_rng(0).normal(size=(1200, 256)))
    last, best = (
        nasr.score(replace(nasr.PAPER_X, epochs=6, held_back=share), evidence, Known.of(known, member), 0)
        for share in (0, 0.2)
    )
    assert metrics.auc(last[known], member[known]) > 0.99
    assert metrics.auc(best[~known], member[~known]) > metrics.auc(last[~known], member[~known]) + 0.05


def test_held_back_samples_are_in_no_batch_and_judge_every_epoch(monkeypatch):
    evidence, known, member = overfit()
    steps, judged = [], []
    plain = two_branch._loss_on

    def noting(rows, *rest):
        (steps if torch.is_grad_enabled() else judged).append(rows)
        return plain(rows, *rest)

    monkeypatch.setattr(two_branch, "_loss_on", noting)
    nasr.score(replace(nasr.PAPER_X, epochs=3), evidence, Known.of(known, member), 0)
    assert len(judged) == 3 and all(rows is judged[0] for rows in judged)
    pairs = (known & ~member).sum()
    assert len(judged[0]) == 2 * np.ceil(0.2 * pairs) and member[judged[0]].mean() == 0.5
    assert known[judged[0]].all() and not np.isin(np.concatenate(steps), judged[0]).any()


def test_the_same_seed_gives_the_same_scores_whatever_membership_says_outside_the_known_samples():
    evidence, known, member = overfit()
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    short = replace(nasr.PAPER, epochs=2)
    first = nasr.score(short, evidence, Known.of(known, member), 5)
    np.testing.assert_array_equal(first, nasr.score(short, evidence, Known.of(known, member ^ ~known), 5))
    assert not np.array_equal(first, nasr.score(short, evidence, Known.of(known, member), 6))
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads


def test_every_batch_holds_as_many_members_as_nonmembers_of_each_class_and_an_epoch_all_of_the_smaller_side():
    evidence, known, member = overfit(members=500, nonmembers=100)
    steps = list(nasr._batches(nasr.PAPER, evidence, Known.of(known, member), np.random.default_rng(0)))
    assert len(steps) == np.ceil((known & ~member).sum() / 64)
    seen = np.bincount(np.concatenate(steps), minlength=len(member))
    assert not seen[~known].any() and (seen[known & ~member] == 1).all() and seen.max() == 1
    for rows in steps:
        sides = [np.sort(evidence.labels[rows[member[rows] == side]]) for side in (True, False)]
        np.testing.assert_array_equal(*sides)


def test_a_collapsed_network_is_reported_and_its_order_kept():
    evidence, known, member = overfit()
    with pytest.warns(UserWarning, match=r"nasr-code collapsed: .* within 0.01 of 1/2; give it more known samples"):
        scores = nasr.score(replace(nasr.CODE, epochs=2), evidence, Known.of(known, member), 0)
    assert nasr.collapsed(scores) and not nasr.collapsed(np.append(scores, 0.05))
    assert len(np.unique(scores)) > 100


@pytest.mark.parametrize("logit", [np.inf, 1e6])
def test_certain_predictions_leave_finite_scores(logit):
    evidence, known, member = overfit()
    logits = np.where(np.eye(3, dtype=bool)[evidence.labels], 0.0, -logit)
    certain = evidence_of(logits, evidence.labels)
    assert np.isfinite(nasr.score(quick(nasr.CODE, 2), certain, Known.of(known, member), 0)).all()


def test_x_is_standardised_by_the_known_samples_and_constant_features_are_only_centred():
    evidence, known, member = overfit()
    x = evidence.x.copy()
    x[:, 0, 0, 0] = 7
    evidence = replace(evidence, x=x)
    inputs = nasr._inputs(nasr.PAPER_X, evidence)
    network = nasr._train(quick(nasr.PAPER_X, 0), evidence, inputs, Known.of(known, member), 0)
    flat = x[known].reshape(known.sum(), -1).astype(float)
    np.testing.assert_allclose(network.center, flat.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(network.spread, [1, *flat.std(axis=0)[1:]], rtol=1e-5)


def test_lacking_samples_or_x_the_attack_says_so():
    evidence, known, member = overfit()
    for nothing in (np.zeros_like(known), known & member, known & (member == (evidence.labels == 0))):
        with pytest.raises(attacks.NotEnough, match="fewer than 8 known members"):
            nasr.score(nasr.PAPER, evidence, Known.of(nothing, member), 0)
    with pytest.raises(attacks.NotEnough, match="needs the samples themselves"):
        nasr.score(nasr.PAPER_X, replace(evidence, x=None), Known.of(known, member), 0)


def test_gradients_pass_through_the_network_to_the_model_that_it_judges():
    logits = torch.randn(4, 3, requires_grad=True)
    network = two_branch.build(3)
    two_branch.loss(nasr.PAPER, network(logits.softmax(1), torch.eye(3)[[0, 1, 2, 0]]), torch.ones(4)).backward()
    assert (logits.grad.abs().sum(1) > 0).all()


def test_the_network_s_settings_load_neither_torch_nor_an_attack():
    code = "import sys, mialab.two_branch.settings; print({'torch', 'numpy', 'mialab.attacks'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_after_each_epoch_a_variant_that_holds_samples_back_says_what_its_best_network_so_far_says():
    evidence, known, member = overfit()
    variant = replace(nasr.PAPER_X, epochs=8)
    rows = nasr.score(variant, evidence, Known.of(known, member), 0, every_epoch=True)
    assert rows.shape == (8, len(member))
    for epochs in (1, 3, 8):
        alone = nasr.score(replace(variant, epochs=epochs), evidence, Known.of(known, member), 0)
        np.testing.assert_array_equal(rows[epochs - 1], alone)
