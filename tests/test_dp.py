"""DP-SGD: clipping, noise and Poisson sampling against what can be computed by hand, and what an epsilon may claim."""

import builtins
import math
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from training_cases import batches_of, cnn, double, images, mlp, points, same

from mialab import experiments, models
from mialab.cells.pipeline import Division, Pipeline
from mialab.defenses.min_max import MinMax
from mialab.defenses.pruning import Admm, Budget, Prune
from mialab.seeds import generator
from mialab.training import Hooks, Phase, Recipe, fit
from mialab.training.hooks import Parts, TrainingRun

pytest.importorskip("opacus", reason="opacus comes with the extra dp")

from mialab.defenses.dp import DpSgd, sigma_for, spent  # noqa: E402

RECIPE = Recipe(epochs=3, batch=10, lr=0.1)
PRIVATE = DpSgd(delta=1e-3)
ONLY_CLIPS = DpSgd(epsilon=None, noise=0.0, delta=1e-3)


def private(settings=PRIVATE, build=mlp, data=None, recipe=RECIPE, **options):
    return fit(build, data or points(), recipe, defenses=[settings], **options)


class Watch(Hooks):
    """Keeps the weights and the gradient of each step."""

    def __init__(self):
        self.sizes, self.before, self.grads = [], [], []

    def before_step(self, run, x, y):
        self.sizes.append(len(y))
        self.before.append([weight.detach().clone() for weight in run.model.parameters()])

    def after_step(self, run):
        self.grads.append([weight.grad.clone() for weight in run.model.parameters()])


def poisson(epoch, *, rows, batch, seed=0):
    """The batches of an epoch, drawn again."""
    draw = generator(seed, "poisson", epoch)
    return [torch.rand(rows, generator=draw) < batch / rows for _ in range(-(-rows // batch))]


def gradients(build, weights, x, y):
    """Each sample's own gradient [n, weights], by plain backward passes one by one, and the shapes."""
    model = build()
    with torch.no_grad():
        for own, given in zip(model.parameters(), weights, strict=True):
            own.copy_(given)
    return torch.stack(
        [
            torch.cat(
                [g.flatten() for g in torch.autograd.grad(F.cross_entropy(model(a[None]), b[None]), model.parameters())]
            )
            for a, b in zip(x, y, strict=True)
        ]
    )


def flat(parts):
    return torch.cat([part.flatten() for part in parts])


def lenet():
    return models.build("lenet5", (1, 28, 28), 10)


def digits(n=50):
    draw = torch.Generator().manual_seed(2)
    return torch.randn(n, 1, 28, 28, generator=draw, dtype=torch.float64), torch.randint(10, (n,), generator=draw)


@pytest.mark.parametrize(
    ("build", "data"),
    [(mlp, points(dtype=torch.float64)), (cnn, images()), (lenet, digits())],
    ids=["points", "images", "lenet5"],
)
@pytest.mark.parametrize("clip", [0.05, 1e6])
def test_a_step_without_noise_is_the_mean_over_the_expected_batch_of_clipped_gradients(build, data, clip):
    """With a huge clip that is the plain gradient of the same Poisson batch, over `batch` instead of its size."""
    watch, (x, y) = Watch(), data
    private(replace(ONLY_CLIPS, clip=clip), double(build), data, hooks=[watch])
    masks = [mask for epoch in (1, 2, 3) for mask in poisson(epoch, rows=len(y), batch=10)]
    assert [int(mask.sum()) for mask in masks] == watch.sizes
    assert len(set(watch.sizes)) > 2
    for mask, weights, found in zip(masks, watch.before, watch.grads, strict=True):
        own = gradients(double(build), weights, x[mask], y[mask])
        norms = own.norm(dim=1, keepdim=True)
        assert (norms > 0.05).any()
        clipped = own * (clip / norms).clamp(max=1)
        torch.testing.assert_close(flat(found), clipped.sum(0) / 10, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("build", [mlp, cnn])
def test_without_noise_and_clip_weights_move_as_by_the_plain_optimizer_on_the_same_batches(build, optimizer):
    """Also where convolutions lie channels last, and a fused kernel reads gradients as they lie in memory."""
    data = points(dtype=torch.float64) if build is mlp else images()
    recipe = replace(RECIPE, optimizer=optimizer, lr=0.01)

    class Same(Hooks):
        def batches(self, run):
            return [(run.x[mask], run.y[mask]) for mask in poisson(run.epoch, rows=len(run.y), batch=10)]

        def loss(self, run, outputs, y):
            return F.cross_entropy(outputs, y, reduction="sum") / 10

    found = private(replace(ONLY_CLIPS, clip=1e6), double(build), data, recipe)
    plain = fit(double(build), data, recipe, hooks=[Same()])
    for a, b in zip(found.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def summed(x, y, settings):
    """The sum of gradients that a step takes from these rows, as the hooks make it, without a draw."""
    torch.manual_seed(0)
    run = TrainingRun(double(mlp)(), RECIPE, torch.device("cpu"), 0, x, y)
    hooks = settings.start(Parts((x, y), None, None, 0, 3, {}))
    hooks.prepare(run)
    optimizer = hooks.wrap(run, torch.optim.SGD(run.model.parameters(), lr=0.1))
    F.cross_entropy(run.model(x), y).backward()
    optimizer.step()
    return flat([weight.grad for weight in run.model.parameters()]) * RECIPE.batch


@pytest.mark.parametrize("clip", [0.1, 1.0])
def test_one_sample_moves_the_sum_of_gradients_by_no_more_than_the_clip(clip):
    """The sensitivity that the guarantee stands on, for a sample whose own gradient is far longer."""
    x, y = points(dtype=torch.float64)
    x[0] *= 1000
    settings = replace(ONLY_CLIPS, clip=clip)
    moved = (summed(x, y, settings) - summed(x[1:], y[1:], settings)).norm().item()
    assert 0.9 * clip < moved <= clip * (1 + 1e-9)


def test_the_noise_has_the_standard_deviation_sigma_times_clip():
    """With a clip of nearly nothing the gradient is noise alone."""
    watch = Watch()
    settings = replace(ONLY_CLIPS, clip=1e-3, noise=500.0)
    private(settings, double(mlp), points(dtype=torch.float64), replace(RECIPE, epochs=40), hooks=[watch])
    drawn = torch.stack([flat(grads) for grads in watch.grads]).double() * RECIPE.batch
    assert drawn.std().item() == pytest.approx(0.5, rel=0.02)
    assert drawn.mean().abs() < 0.01
    pairs = torch.corrcoef(drawn).fill_diagonal_(0)
    assert pairs.abs().max() < 0.6  # no step's noise is another's


def test_each_row_is_drawn_on_its_own_with_the_chance_of_batch_by_rows():
    drawn = torch.stack([mask for epoch in range(1, 401) for mask in poisson(epoch, rows=50, batch=10)]).double()
    assert drawn.mean().item() == pytest.approx(0.2, abs=0.005)
    sizes = drawn.sum(1)
    assert sizes.var().item() == pytest.approx(50 * 0.2 * 0.8, rel=0.1)  # binomial, where a fixed batch has 0


def test_a_step_that_draws_nobody_is_a_step_of_noise_alone():
    watch = Watch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mialab.training.loop.Tally.rows", lambda self, epoch, lr: [{"epoch": epoch}])
        fitted = private(replace(PRIVATE, epsilon=None, noise=1.0), cnn, images(12, dtype=torch.float32),
                         replace(RECIPE, batch=1, epochs=5), hooks=[watch])  # fmt: skip
    assert 0 in watch.sizes
    assert all(flat(grads).isfinite().all() and flat(grads).any() for grads in watch.grads)
    assert all(weight.isfinite().all() for weight in fitted.model.parameters())


@pytest.mark.parametrize("accountant", ["rdp", "prv"])
def test_the_epsilon_spent_grows_with_the_epochs_and_ends_at_the_target_or_just_below(accountant):
    fitted = private(replace(PRIVATE, epsilon=3.0, accountant=accountant))
    found = [row["epsilon"] for row in fitted.history]
    assert found == sorted(found)
    assert 0 < found[0] < found[-1]
    assert 3.0 - 0.011 < found[-1] <= 3.0


@pytest.mark.filterwarnings("ignore:Optimal order")
def test_sigma_is_the_one_that_opacus_finds():
    from opacus.accountants.utils import get_noise_multiplier

    asked = {"target_epsilon": 6.28, "target_delta": 1e-5, "sample_rate": 256 / 60000, "steps": 60 * 235}
    assert sigma_for(DpSgd(), 256 / 60000, 60 * 235) == get_noise_multiplier(**asked, accountant="rdp")


def test_without_subsampling_the_accountant_agrees_with_the_gaussian_mechanisms_renyi_divergence():
    """One step on all rows: alpha / (2 sigma^2) at order alpha, turned into epsilon by the known bound."""
    sigma, delta = 2.0, 1e-5
    orders = [1 + k / 1000 for k in range(1, 62000)]
    bound = min(a / (2 * sigma**2) + math.log((a - 1) / a) - (math.log(delta) + math.log(a)) / (a - 1) for a in orders)
    assert spent(DpSgd(), [(sigma, 1.0, 1)]) == pytest.approx(bound, abs=0.02)


def test_more_noise_is_needed_for_less_epsilon_and_for_more_steps():
    few, many = (sigma_for(PRIVATE, 0.1, steps) for steps in (10, 100))
    assert few < many < sigma_for(replace(PRIVATE, epsilon=1.0), 0.1, 100)


def test_phases_compose_and_the_later_epsilon_is_that_of_both():
    first = private(replace(PRIVATE, epsilon=3.0))
    later = private(replace(PRIVATE, epsilon=6.0), seed=1, start=first.model.state_dict(), carried=first.carried)
    steps = later.carried["dp"]["steps"]
    assert [number for _, _, number in steps] == [15, 15]
    assert later.history[0]["epsilon"] > first.history[-1]["epsilon"]
    assert later.history[-1]["epsilon"] == spent(PRIVATE, [tuple(step) for step in steps])
    assert 6.0 - 0.011 < later.history[-1]["epsilon"] <= 6.0
    alone = private(replace(PRIVATE, epsilon=6.0), seed=1)
    assert later.history[-1]["sigma"] > alone.history[-1]["sigma"]
    with pytest.raises(ValueError, match="phases before.*raise it"):
        private(replace(PRIVATE, epsilon=2.9), carried=first.carried)


def test_after_a_phase_that_only_clipped_no_epsilon_can_be_had():
    clipped = private(ONLY_CLIPS)
    assert [row["epsilon"] for row in clipped.history] == [None] * 3
    with pytest.raises(ValueError, match="no noise"):
        private(carried=clipped.carried)


def test_a_row_states_an_epsilon_only_if_every_phase_was_private():
    plain, strict, loose = Phase(RECIPE), Phase(RECIPE, (DpSgd(3.0),)), Phase(RECIPE, (DpSgd(),))

    def columns(*phases, **options):
        return Pipeline("mnist", "lenet5", phases, **options).columns()

    assert columns(loose)["epsilon"] == 6.28
    assert columns(strict, loose)["epsilon"] == 6.28
    assert columns(plain, loose)["epsilon"] is None
    assert columns(strict, plain)["epsilon"] is None
    assert columns(loose, division=Division("partition", 5))["epsilon"] == 6.28
    assert columns(loose, division=Division("bagging"))["epsilon"] is None
    by_hand = columns(Phase(RECIPE, (DpSgd(None, noise=1.0),)))
    assert (by_hand["epsilon"], by_hand["noise"]) == (None, 1.0)
    assert "epsilon" not in columns(plain)


@pytest.mark.parametrize("stopped", [1, 2])
def test_training_resumes_bit_for_bit_with_what_it_has_spent(stopped, tmp_path):
    class Fails(Hooks):
        observes = True

        def after_epoch(self, run):
            if run.epoch == stopped:
                raise KeyboardInterrupt

    whole = private(build=cnn, data=images(dtype=torch.float32))
    with pytest.raises(KeyboardInterrupt):
        private(build=cnn, data=images(dtype=torch.float32), hooks=[Fails()], checkpoint=tmp_path / "c", save_every=0)
    for _ in range(2):  # the second reads an ended run
        again = private(build=cnn, data=images(dtype=torch.float32), checkpoint=tmp_path / "c", save_every=0)
        assert same(whole, again)
        assert again.history == whole.history
        assert again.carried == whole.carried
        assert not any(part._forward_hooks or part._backward_hooks for part in again.model.modules())


def test_the_model_is_left_without_opacus_and_the_random_state_as_it_was():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fitted = private()
    assert torch.equal(before, torch.get_rng_state())
    assert not any(part._forward_hooks or part._backward_hooks for part in fitted.model.modules())
    assert not any(hasattr(weight, "grad_sample") for weight in fitted.model.parameters())
    assert fitted.model.state_dict().keys() == mlp().state_dict().keys()
    assert same(fitted, private())
    assert not same(fitted, private(seed=1))


def test_a_mask_holds_beside_noise():
    budget = Budget(0.5, whole=())
    dense = private()
    cut = private(replace(PRIVATE, epsilon=9.0), seed=1, start=dense.model.state_dict(), carried=dense.carried)
    both = fit(mlp, points(), RECIPE, seed=1, defenses=[Prune(budget), replace(PRIVATE, epsilon=9.0)],
               start=dense.model.state_dict(), carried=dense.carried)  # fmt: skip
    masks = both.carried["pruning"]["masks"]
    assert not same(cut, both)
    assert masks
    assert all(not both.model.state_dict()[name][~mask].any() for name, mask in masks.items())


class Mixes(Hooks):
    def batch(self, run, x, y):
        return x.mean(0, keepdim=True).expand_as(x), y


def norm_free(norm):
    return lambda: models.build("resnet18", (3, 8, 8), 3, norm=norm)


def test_what_has_no_single_samples_gradient_is_refused():
    other = points(seed=1)
    for make, message in (
        (lambda: private(build=norm_free("batch"), data=images(dtype=torch.float32)), "BatchNorm2d.*norm='group'"),
        (lambda: fit(mlp, points(), RECIPE, defenses=[PRIVATE, MinMax()], reference=other), "penalty.*min-max"),
        (lambda: fit(mlp, points(), RECIPE, defenses=[MinMax(), PRIVATE], reference=other), "penalty.*min-max"),
        (lambda: fit(mlp, points(), RECIPE, defenses=[PRIVATE, Admm(Budget(0.5, whole=()), (0.1,))]), "penalty.*ADMM"),
        (lambda: private(hooks=[Mixes()]), "batch.*Mixup.*recipe"),
        (lambda: private(data=batches_of(points())), "in memory"),
        (lambda: private(recipe=replace(RECIPE, batch=50)), "smaller batch"),
        (lambda: private(DpSgd(delta=0.02)), "choose delta below 0.02"),
        (lambda: private(replace(PRIVATE, epsilon=1e-5)), "no noise is enough"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": None}, "either epsilon or noise"),
        ({"noise": 1.0}, "either epsilon or noise"),
        ({"epsilon": 0.0}, "positive and finite"),
        ({"epsilon": None, "noise": -1.0}, "at least 0"),
        ({"delta": 1.0}, "delta lies in"),
        ({"clip": 0.0}, "clip is positive"),
        ({"accountant": "rpd"}, "rdp"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DpSgd(**settings)


def test_group_norm_nets_train_with_it():
    data = images(20, dtype=torch.float32)
    fitted = private(replace(PRIVATE, delta=1e-2), norm_free("group"), data, replace(RECIPE, epochs=1))
    assert fitted.history[-1]["epsilon"] <= 6.28


def test_without_opacus_the_error_names_what_to_install(monkeypatch):
    ours = builtins.__import__

    def missing(name, *rest):
        if name.partition(".")[0] == "opacus":
            raise ImportError(name)
        return ours(name, *rest)

    for name in [name for name in sys.modules if name.partition(".")[0] == "opacus"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", missing)
    DpSgd().columns()
    with pytest.raises(ImportError, match=r"pip install 'mialab\[dp\]'"):
        private()


def test_noise_keeps_from_learning_by_heart():
    """Labels of noise: what is right on the training rows, beyond chance, is learnt of single rows."""
    draw = torch.Generator().manual_seed(3)
    data = torch.randn(200, 20, generator=draw), torch.randint(2, (200,), generator=draw)
    recipe = Recipe(epochs=60, batch=50, optimizer="adam", lr=0.01)
    build = partial(mlp, 20, 2)
    assert fit(build, data, recipe).history[-1]["accuracy"] > 0.95
    assert private(replace(PRIVATE, epsilon=1.0), build, data, recipe).history[-1]["accuracy"] < 0.75


def test_table_2_sets_plain_training_differential_privacy_and_pruning_side_by_side():
    smoke, paper = (experiments.get("pruning/table2").grid(preset, seeds=(0,)) for preset in ("smoke", "paper"))
    assert [cell.columns()["method"] for cell in smoke] == ["none", "pruning", *("dp",) * 5]
    assert [cell.columns().get("epsilon") for cell in smoke[2:5]] == [1.0, 6.28, 100.0]
    assert [cell.columns().get("matched") for cell in smoke[2:]] == [None] * 3 + ["attack", "accuracy"]
    places = {(cell.columns()["data"], cell.columns()["model"]) for cell in paper}
    assert places == {("mnist", "lenet5"), ("cifar10", "cnn4")}
    (private,) = (c for c in paper if c.columns().get("epsilon") == 6.28 and c.columns()["data"] == "mnist")
    assert (private.target.pipeline.last.recipe.epochs, private.target.pipeline.last.recipe.batch) == (60, 256)


def test_the_sweep_has_both_controls_and_ever_more_noise():
    none, clipped, *swept = experiments.get("pruning/epsilon").grid("smoke", seeds=(0,))
    assert none.columns()["method"] == "none"
    assert (clipped.columns()["epsilon"], clipped.columns()["noise"]) == (None, 0.0)
    assert [cell.columns()["epsilon"] for cell in swept] == [1.0, 6.28, 100.0]
    recipes = {cell.target.pipeline.last.recipe for cell in (none, clipped, *swept)}
    assert len(recipes) == 1


def test_what_training_with_it_takes_can_be_foretold():
    _, pruned, private, *_ = experiments.get("pruning/table2").grid("smoke", seeds=(0,))
    for cell in (pruned, private):
        assert cell.target.pipeline.work(1).seconds > 0
