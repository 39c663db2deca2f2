"""Kept weights give back the very models, and attacks that ask more than logits are audited as all others are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from experiment_cases import TINY, altered, made

from mialab import attacks, audit, data, seeds, splits, training
from mialab.attacks import asking, gradients, label_only
from mialab.attacks.boundary import Search
from mialab.attacks.target import Target
from mialab.cells.models import Models, rebuild
from mialab.cells.pipeline import Pipeline, evaluated
from mialab.cells.queried import Queried
from mialab.engine.store import Store
from mialab.splits import Arrangement
from mialab.training import Phase

EVEN = altered(TINY, samples=(60, 60), weights=(3,))
DENSE = training.Recipe(epochs=2, batch=64, optimizer="adam", lr=1e-3)


@pytest.fixture(scope="module")
def trained():
    """Two models in one cell."""
    cell = made(replace(EVEN, count=2))
    cell.info["made_with"] = {"device": "none"}
    return cell


@pytest.fixture
def bytes_for_textures(monkeypatch):
    """Images with a mean and a deviation per channel, as CIFAR's."""
    textures = data.load("textures", samples=(60, 60))
    x = (40 * textures.x + 128).clamp(0, 255).to(torch.uint8)
    images = data.Dataset("textures", x, textures.y, 10, 60, (0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
    monkeypatch.setattr("mialab.cells.pipeline._load", lambda *arguments: images)
    return images


# the models themselves


@pytest.mark.parametrize(
    "config",
    [
        EVEN,
        replace(EVEN, count=2),
        Models(Pipeline("digits", "tabular", (Phase(DENSE),)), epochs=(1, 2), count=3, weights=(2,)),
        Models(Pipeline("digits", "resnet8", (Phase(replace(DENSE, epochs=1, batch=256)),)), epochs=(1,), weights=(1,)),
    ],
    ids=["one", "two", "side by side", "with batch norm"],
)
def test_rebuilt_models_give_the_very_logits_that_were_kept(config, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cell = Store(tmp_path).get(config)
    before = torch.random.get_rng_state()
    rebuilt = rebuild(config, cell)
    assert torch.equal(torch.random.get_rng_state(), before), "nothing global is drawn from"
    assert len(rebuilt) == config.count and not any(model.training for model in rebuilt)
    x = evaluated(config.pipeline).x()
    for k, model in enumerate(rebuilt):
        logits = training.logits(model, x).numpy()
        np.testing.assert_array_equal(logits, cell.arrays[f"logits_{config.epochs[-1]}"][k])


def test_images_are_scaled_as_they_were_in_training(bytes_for_textures):
    cell = made(EVEN)
    (model,) = rebuild(EVEN, cell)
    assert model.scale.mean.flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])
    logits = training.logits(model, bytes_for_textures.x).numpy()
    np.testing.assert_array_equal(logits, cell.arrays["logits_3"][0])


def test_keeping_weights_changes_no_number_and_makes_no_other_cell(tmp_path):
    plain, kept = made(replace(EVEN, weights=())), made(EVEN)
    assert plain.info == kept.info
    for name, array in plain.arrays.items():
        np.testing.assert_array_equal(array, kept.arrays[name])
    assert not any(name.startswith("weights") for name in plain.arrays)
    assert Store(tmp_path).name(replace(EVEN, weights=())) == Store(tmp_path).name(EVEN)


def test_an_interrupted_training_keeps_the_same_weights(tmp_path):
    whole, cut = made(EVEN), tmp_path / "scratch"
    write = training.checkpoint.Checkpoint.write

    def killed(checkpoint, state):
        write(checkpoint, state)
        if state["run"]["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.checkpoint, "SECONDS", 0)
        patch.setattr(training.checkpoint.Checkpoint, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            EVEN.compute((), scratch=cut)
    again = EVEN.compute((), scratch=cut)
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[name])


def test_weights_can_be_kept_of_any_epoch_and_of_none_beyond_the_last():
    early = replace(EVEN, weights=(1,))
    (model,) = rebuild(early, made(early), epoch=1)
    np.testing.assert_array_equal(
        training.logits(model, evaluated(EVEN.pipeline).x()).numpy(), made(EVEN).arrays["logits_1"][0]
    )
    with pytest.raises(ValueError, match="keep no epoch 4"):
        replace(EVEN, weights=(4,))


def test_models_of_which_only_logits_were_kept_cannot_be_rebuilt(trained):
    with pytest.raises(ValueError, match=r"train with Models\(..., weights=\(1,\)\)"):
        rebuild(EVEN, trained, epoch=1)


# attacks on them


def test_queries_are_asked_of_the_ensemble_about_the_target_s_samples(trained):
    config = Queried(replace(EVEN, count=2), ("label-augmentation", "gradient-weights", "gradient-input"), models=2)
    cell = config.compute([trained], scratch=None)
    target = Target(rebuild(config.target, trained))
    x, labels = evaluated(EVEN.pipeline).samples()
    expected = {
        "label-augmentation": label_only.augmentation_scores(target.probabilities, x, labels),
        "gradient-weights": gradients.weight_scores(target.log_p, target.params, x, labels),
        "gradient-input": gradients.input_scores(target.loss_of, x, labels),
    }
    for name, scores in expected.items():
        np.testing.assert_allclose(cell.arrays[f"scores_{name}"], scores, rtol=1e-5)
    np.testing.assert_array_equal(cell.arrays["labels"], labels)


def test_rows_are_those_of_an_audit_of_the_same_samples(trained, monkeypatch):
    reports, run = [], audit.audit
    monkeypatch.setattr(audit, "audit", lambda *a, **o: reports.append(run(*a, **o)) or reports[-1])
    config = Queried(replace(EVEN, count=2), ("label-noise", "gradient-input"), models=2, known=0.5, fusion="logit")
    cell = config.compute([trained], scratch=None)
    (report,) = reports
    np.testing.assert_array_equal(report.member, trained.arrays["member"])
    share = splits.known(report.labels, report.member, share=0.5, seed=seeds.derive(0, "known"))
    np.testing.assert_array_equal(report.evaluated, ~share)
    for row in cell.info["rows"]:
        everyone = report.attacks[row["attack"]].everyone
        assert (row["auc"], *row["auc_interval"]) == everyone.auc
        assert (row["balanced_accuracy"], *row["balanced_accuracy_interval"]) == everyone.balanced_accuracy
        assert (row["models"], row["epoch"], row["fusion"], row["samples"]) == (2, 3, "logit", 120)
    assert [row["access"] for row in cell.info["rows"]] == ["label only", "white box"]


def test_a_part_of_the_samples_keeps_classes_sides_and_the_known_in_proportion(trained):
    config = Queried(replace(EVEN, count=2), ("gradient-input",), models=2, samples=60, known=0.5)
    cell = config.compute([trained], scratch=None)
    asked, whole = cell.arrays["asked"], trained.arrays
    assert len(asked) == 60 and (np.diff(asked) > 0).all()
    for name in ("labels", "member"):
        np.testing.assert_array_equal(cell.arrays[name], whole[name][asked])
    member, known = cell.arrays["member"], cell.arrays["known"]
    assert member.sum() == 30
    assert abs(known[member].sum() - 15) <= 2 and abs(known[~member].sum() - 15) <= 2
    everyone = replace(config, samples=None).compute([trained], scratch=None)
    scores = everyone.arrays["scores_gradient-input"]
    np.testing.assert_allclose(cell.arrays["scores_gradient-input"], scores[asked], rtol=1e-5)
    assert cell.info["rows"][0]["samples"] == 60


def test_every_named_attack_runs_and_repeats_itself(trained, monkeypatch):
    monkeypatch.setattr(asking, "SEARCH", {"donors": 3, "rounds": 1, "probes": 4, "halvings": 4})
    names = tuple(name for name in attacks.QUERIES if name != "label-flips")
    config = Queried(replace(EVEN, count=2), names, models=2, samples=40)
    one, two = (config.compute([trained], scratch=None) for _ in range(2))
    assert [row["attack"] for row in one.info["rows"]] == list(names)
    for name in names:
        scores = one.arrays[f"scores_{name}"]
        assert scores.dtype == np.float64 and np.isfinite(scores).all() and len(np.unique(scores)) > 1
        np.testing.assert_array_equal(scores, two.arrays[f"scores_{name}"])


def test_small_steps_do_not_vanish_in_bytes(bytes_for_textures):
    """Noise, boundary and gradients are in units of scaled inputs; shifted images stay bytes."""
    cell = made(EVEN)
    cell.info["made_with"] = {"device": "none"}
    names = ("label-augmentation", "label-noise", "gradient-weights", "gradient-input")
    found = Queried(EVEN, names).compute([cell], scratch=None).arrays
    (model,), (x, labels) = rebuild(EVEN, cell), evaluated(EVEN.pipeline).samples()
    target = Target(model)
    scaled = (x / 255 - model.scale.mean) / model.scale.std
    noise = {"stds": asking.NOISE_STDS, "repeats": asking.REPEATS, "seed": seeds.derive(0, "queried")}
    for name, expected in (
        ("label-augmentation", label_only.augmentation_scores(target.probabilities, x, labels)),
        ("label-noise", label_only.noise_scores(target.probabilities, scaled, labels, **noise)),
        ("gradient-weights", gradients.weight_scores(target.log_p, target.params, scaled, labels)),
        ("gradient-input", gradients.input_scores(target.loss_of, scaled, labels)),
    ):
        np.testing.assert_allclose(found[f"scores_{name}"], expected, rtol=1e-4)


def test_bits_are_flipped_on_tables_of_bits(monkeypatch):
    draw = np.random.default_rng(0)
    x = torch.from_numpy(draw.integers(0, 2, (80, 20)).astype(np.float32))
    bits = data.Dataset("location30", x, torch.from_numpy(draw.integers(0, 3, 80)), 30)
    monkeypatch.setattr("mialab.cells.pipeline._load", lambda *arguments: bits)
    monkeypatch.setattr("mialab.data.known.known", lambda *arguments, **options: bits)
    recipe = replace(DENSE, epochs=30, lr=1e-2)
    pipeline = Pipeline("location30", "tabular", (Phase(recipe),), arrangement=Arrangement("carlini"))
    config = Models(pipeline, epochs=(30,), weights=(30,))
    cell = made(config)
    cell.info["made_with"] = {"device": "none"}
    scores = Queried(config, ("label-flips",)).compute([cell], scratch=None).arrays["scores_label-flips"]
    assert scores.min() >= 0 and scores.max() == len(asking.FLIP_RATES) * asking.REPEATS


@pytest.mark.parametrize(
    ("name", "queries"),
    [
        ("label-augmentation", 6),
        ("label-noise", len(asking.NOISE_STDS) * asking.REPEATS),
        ("label-flips", len(asking.FLIP_RATES) * asking.REPEATS),
        ("label-boundary", Search().queries),
    ],
)
def test_an_attack_takes_no_more_queries_of_a_sample_than_its_settings_say(name, queries):
    asked = 0

    class Counting:
        def scaled(self, x):
            return x

        def answers(self, x):
            nonlocal asked
            asked += len(x)
            return (x.flatten(1).sum(1) < 0).long()

    x = (torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    x = x if name == "label-flips" else 2 * x - 1
    p, labels = np.zeros((20, 2)), (x.flatten(1).sum(1) < 0).long().numpy()
    evidence = attacks.Evidence(p, p, p, labels, x=x.numpy(), target=Counting())
    attacks.get(name).score(evidence, None, 0)
    assert 0.5 * queries * 20 < asked <= queries * 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": TINY}, r"train them with Models\(..., epochs=\(..., 3\), weights=\(3,\)\)"),
        ({"target": replace(EVEN, count=2)}, "1 models do not fill cells of 2"),
        ({"target": replace(EVEN, first=1)}, "from model 0 on"),
        ({"models": 0}, "0 models do not fill"),
        ({"attacks": ("label-nois",)}, "did you mean label-noise"),
        ({"samples": 121}, "121 of 120 samples"),
        ({"samples": 0}, "0 of 120 samples"),
    ],
)
def test_queries_that_cannot_be_asked_are_refused_at_once(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(Queried(EVEN, ("label-noise",)), **changes)
