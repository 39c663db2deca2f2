"""mialab.models: sizes against the papers' and published counts, shapes, norm layers, stems, inputs, errors."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torchvision.models.resnet import BasicBlock

from mialab import models
from mialab.models.layers import Normalise, Residual

CIFAR, MNIST, IMAGENET = (3, 32, 32), (1, 28, 28), (3, 224, 224)
# One small member of each family, with the smallest images that are quick to run.
PLAIN = {
    "small_cnn": (3, 12, 12),
    "tabular": (20,),
    "mlp64_32": (20,),
    "lenet5": MNIST,
    "lenet5_caffe": MNIST,
    "cnn4": (3, 12, 12),
    "alexnet": CIFAR,
}
NORMED = {
    "vgg11": CIFAR,
    "resnet18": (3, 8, 8),
    "mobilenet_v2": (3, 8, 8),
    "resnet8": (3, 8, 8),
    "preresnet8": (1, 8, 8),
    "wrn10_1": (3, 8, 8),
    "resnext29_2x4d": (3, 8, 8),
    "densenet10": (3, 8, 8),
}
SMALL = PLAIN | NORMED
BATCH_NORM = nn.modules.batchnorm._BatchNorm


def seeded(name, shape, classes=10, seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return models.build(name, shape, classes, **options)


def on_meta(name, shape, classes, **options):
    with torch.device("meta"):
        return models.build(name, shape, classes, **options)


def inputs(shape, batch=3, dtype=torch.float64):
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "count"),
    [
        ("lenet5", (1, 32, 32), 10, 61_470),
        ("lenet5", MNIST, 10, 61_470),
        ("lenet5_caffe", MNIST, 10, 430_500),
        ("alexnet", CIFAR, 10, 2_468_544 + 2_560),
        ("vgg16", CIFAR, 10, 14_715_584),
        ("vgg16", CIFAR, 100, 14_761_664),
        ("resnet18", CIFAR, 10, 11_164_352),
        ("resnet18", CIFAR, 100, 11_210_432),
        ("resnet18", IMAGENET, 1000, 11_678_912),
        ("mobilenet_v2", CIFAR, 10, 2_189_760 + 12_800),
        ("mobilenet_v2", CIFAR, 100, 2_189_760 + 128_000),
        ("mobilenet_v2", IMAGENET, 1000, 3_469_760),
    ],
)
def test_weights_are_those_behind_the_pruning_papers_table_4(name, shape, classes, count):
    assert models.weights(on_meta(name, shape, classes)) == count


@pytest.mark.parametrize(
    ("name", "shape", "classes", "count"),
    [
        ("alexnet", CIFAR, 10, 2_472_266),
        ("resnet18", IMAGENET, 1000, 11_689_512),
        ("mobilenet_v2", IMAGENET, 1000, 3_504_872),
        # 3x3x3x8+8, 8x3x3x16+16, 144x64+64, 64x10+10 and 432x128+128, 128x10+10
        ("small_cnn", (3, 12, 12), 10, 224 + 1_168 + 9_280 + 650),
        ("tabular", (3, 12, 12), 10, 55_424 + 1_290),
        # 3x5x5x64+64, 64x5x5x64+64, 64x8x8x384+384, 384x10+10
        ("cnn4", CIFAR, 10, 4_864 + 102_464 + 1_573_248 + 3_850),
    ],
)
def test_parameters_are_the_published_or_hand_computed_number(name, shape, classes, count):
    assert models.parameters(on_meta(name, shape, classes)) == count


@pytest.mark.parametrize(
    ("name", "millions", "within"),
    [
        ("vgg19", 20.04, 0.005),
        ("resnet20", 0.27, 0.005),
        ("resnet110", 1.73, 0.005),  # He et al. print 1.7
        ("preresnet110", 1.73, 0.005),
        ("wrn28_10", 36.48, 0.005),
        ("resnext29", 34.43, 0.005),
        ("resnext29_16x64d", 68.16, 0.005),
        ("densenet100", 0.77, 0.005),
        ("densenet190_40", 25.62, 0.005),
    ],
)
def test_parameters_of_the_cifar_family_round_to_its_published_millions(name, millions, within):
    assert models.parameters(on_meta(name, CIFAR, 10)) / 1e6 == pytest.approx(millions, abs=within)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "count"),
    [
        ("tabular", (64,), 10, 64 * 128 + 128 * 10),
        ("mlp64_32", (1, 8, 8), 10, 64 * 64 + 64 * 32 + 32 * 10),
        # 6x28x28 sums of 25, 16x10x10 of 150, then the linear layers
        ("lenet5", (1, 32, 32), 10, 6 * 784 * 25 + 16 * 100 * 150 + 400 * 120 + 120 * 84 + 84 * 10),
        ("lenet5", MNIST, 10, 6 * 784 * 25 + 16 * 100 * 150 + 400 * 120 + 120 * 84 + 84 * 10),
        ("resnet18", IMAGENET, 1000, 1_814_073_344),  # torchvision's page prints 1.81 G
        ("mobilenet_v2", IMAGENET, 1000, 300_774_272),  # torchvision's page prints 0.30 G
    ],
)
def test_multiply_adds_are_those_of_the_layers(name, shape, classes, count):
    assert models.multiply_adds(name, list(shape), classes) == count


@pytest.mark.parametrize("name", models.names())
def test_every_name_gives_one_logit_per_class_on_cifar_shapes(name):
    model = on_meta(name, CIFAR, 17)
    assert model(torch.zeros(2, *CIFAR, device="meta")).shape == (2, 17)


def test_names_of_the_papers_tables_are_offered():
    assert {"lenet5", "vgg16", "resnet18", "mobilenet_v2", "cnn4", "alexnet"} <= set(models.names())


@pytest.mark.parametrize("name", SMALL)
def test_every_family_takes_mnist_shapes(name):
    model = on_meta(name, MNIST, 10)
    assert model(torch.zeros(2, *MNIST, device="meta")).shape == (2, 10)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("name", NORMED)
def test_gradients_reach_every_weight_under_every_norm(name, norm):
    model = seeded(name, NORMED[name], 5, norm=norm)
    nn.functional.cross_entropy(model(inputs(NORMED[name], 4, torch.float32)), torch.arange(4)).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert parameter.dim() < 2 or parameter.grad.any(), key


@pytest.mark.parametrize("name", PLAIN)
def test_gradients_reach_every_weight_of_nets_without_norm(name):
    model = seeded(name, PLAIN[name], 5)
    nn.functional.cross_entropy(model(inputs(PLAIN[name], 4, torch.float32)), torch.arange(4)).backward()
    assert all(parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("norm", ["group", "none"])
@pytest.mark.parametrize("name", SMALL)
def test_no_batch_norm_is_left_where_another_norm_is_asked_for(name, norm):
    model = on_meta(name, SMALL[name], 10, norm=norm)
    assert not any(isinstance(module, BATCH_NORM) for module in model.modules())
    groups = sum(isinstance(module, nn.GroupNorm) for module in model.modules())
    own = on_meta(name, SMALL[name], 10)
    replaced = sum(isinstance(module, BATCH_NORM) for module in own.modules())
    assert groups == (replaced if norm == "group" else 0)


@pytest.mark.parametrize("name", ["resnet56", "preresnet56", "densenet100", "mobilenet_v2"])
def test_logits_of_deep_nets_without_norm_start_near_order_one(name):
    with torch.no_grad():
        spread = seeded(name, CIFAR, norm="none")(inputs(CIFAR, 4, torch.float32)).std().item()
    assert 0.05 < spread < 20


@pytest.mark.parametrize("name", SMALL)
def test_per_sample_gradients_of_batch_norm_free_nets_sum_to_the_gradient_of_the_batch(name):
    model = seeded(name, SMALL[name], norm="group").double().eval()
    weights = {key: value.detach() for key, value in model.named_parameters()}
    x, y = inputs(SMALL[name], 2), torch.tensor([1, 2])

    def loss(weights, sample, label):
        logits = functional_call(model, weights, sample[None])
        return nn.functional.cross_entropy(logits, label[None])

    per_sample = vmap(grad(loss), (None, 0, 0))(weights, x, y)
    nn.functional.cross_entropy(model(x), y, reduction="sum").backward()
    for key, parameter in model.named_parameters():
        torch.testing.assert_close(per_sample[key].sum(0), parameter.grad, msg=key)


@pytest.mark.parametrize("name", SMALL)
def test_stacked_models_under_vmap_answer_as_each_does_alone(name):
    scale = None if name == "tabular" else ([0.5] * SMALL[name][0], [0.25] * SMALL[name][0])
    members = [seeded(name, SMALL[name], seed=seed, norm="group", scale=scale).double() for seed in (0, 1)]
    members = [member.eval() for member in members]
    raw = (inputs(SMALL[name]).sigmoid() * 255).to(torch.uint8)
    stacked = vmap(lambda state: functional_call(members[0], state, raw))(stack_module_state(members))
    torch.testing.assert_close(stacked, torch.stack([member(raw) for member in members]))


@pytest.mark.parametrize("name", SMALL)
def test_no_module_works_in_place(name):
    assert not any(getattr(module, "inplace", False) for module in on_meta(name, SMALL[name], 10).modules())


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet10"])
def test_opacus_gives_per_sample_gradients_of_group_norm_nets(name):
    opacus = pytest.importorskip("opacus", reason="opacus comes with the extra dp")
    model = seeded(name, SMALL[name], norm="group")
    assert opacus.validators.ModuleValidator.is_valid(model)
    x, y = inputs(SMALL[name], 2, torch.float32), torch.tensor([1, 2])
    private = opacus.GradSampleModule(model, loss_reduction="sum")
    nn.functional.cross_entropy(private(x), y, reduction="sum").backward()
    for parameter in private.parameters():
        torch.testing.assert_close(parameter.grad_sample.sum(0), parameter.grad, rtol=1e-3, atol=1e-4)


def test_mobilenet_and_resnet_keep_a_small_image_and_shrink_a_large_one():
    stages = {
        "resnet18": lambda net: net.layer1,
        "mobilenet_v2": lambda net: net.features[2],
    }
    for name, stage in stages.items():
        for shape, stem, side in (((3, 64, 64), None, 64), (IMAGENET, None, 56), ((3, 64, 64), "imagenet", 16)):
            model, sides = on_meta(name, shape, 10, stem=stem), []
            stage(model.net).register_forward_hook(lambda _, __, out, sides=sides: sides.append(out.shape[-1]))
            model(torch.zeros(2, *shape, device="meta"))
            assert sides == [side], (name, shape, stem)


def test_imagenet_stem_is_torchvisions_own_net():
    torchvision = pytest.importorskip("torchvision")
    for name in ("resnet18", "mobilenet_v2"):
        theirs = getattr(torchvision.models, name)()
        ours = models.build(name, IMAGENET, 1000)
        ours.net.load_state_dict(theirs.state_dict())
        x = inputs((3, 64, 64), 1, torch.float32)
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_uint8_images_are_normalised_and_floats_pass_as_they_are():
    model = seeded("small_cnn", (3, 12, 12), scale=((0.1, 0.2, 0.3), (0.5, 0.25, 2.0)))
    raw = torch.randint(0, 256, (4, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.5, 0.25, 2.0]).view(3, 1, 1)
    prepared = (raw.float() / 255 - mean) / std
    torch.testing.assert_close(model.scale(raw), prepared)
    assert torch.equal(model.scale(prepared), prepared)
    torch.testing.assert_close(model(raw), model(prepared))


def test_uint8_images_without_scale_become_the_unit_interval():
    model = models.build("cnn4", (1, 4, 4), 2, scale=((), ()))
    assert torch.equal(model.scale(torch.tensor([[[[0, 255]]]], dtype=torch.uint8)), torch.tensor([[[[0.0, 1.0]]]]))


def test_scale_comes_first_and_holds_no_parameters():
    model = models.build("lenet5", MNIST, 10, scale=((0.13,), (0.31,)))
    assert [key for key, _ in model.named_children()] == ["scale", "net"]
    assert isinstance(model[0], Normalise) and not list(model.scale.parameters())
    assert torch.equal(model.state_dict()["scale.mean"].flatten(), torch.tensor([0.13]))


def test_mnist_is_padded_with_its_border_for_nets_of_32_pixels():
    small, large = seeded("lenet5", MNIST), seeded("lenet5", (1, 32, 32))
    x = inputs(MNIST, 2, torch.float32)
    torch.testing.assert_close(small(x), large(nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")))


def test_tabular_flattens_images():
    assert seeded("tabular", (3, 12, 12), 4)(torch.zeros(2, 3, 12, 12)).shape == (2, 4)


def test_vgg_is_drawn_as_documented():
    net = seeded("vgg11", CIFAR, 100).net
    last_conv = [module for module in net if isinstance(module, nn.Conv2d)][-1]
    assert last_conv.weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)
    assert net[-1].weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not net[-1].bias.any() and not last_conv.bias.any()


def test_same_seed_gives_the_same_weights_and_leaves_the_global_state():
    before = torch.random.get_rng_state()
    for name in ("small_cnn", "resnet8", "mobilenet_v2"):
        first, again, other = (seeded(name, (3, 12, 12), seed=seed).state_dict() for seed in (3, 3, 4))
        assert all(torch.equal(first[key], again[key]) for key in first)
        assert any(not torch.equal(first[key], other[key]) for key in first)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("name", "shape", "match"),
    [
        ("alexnet", (3, 12, 12), "alexnet needs images of at least 32x32, got 12x12"),
        ("vgg16", (3, 32, 28), "at least 32x32, got 32x28"),
        ("lenet5", (1, 8, 8), "at least 32x32"),
        ("lenet5_caffe", (1, 8, 8), "at least 16x16"),
        ("resnet20", (1, 4, 4), "at least 8x8"),
        ("small_cnn", (600,), "use tabular"),
        ("cnn4", (12, 12), "use tabular"),
        ("tabular", (), "shape must be"),
        ("tabular", (0,), "shape must be"),
    ],
)
def test_shapes_that_an_architecture_cannot_take_are_refused(name, shape, match):
    with pytest.raises(ValueError, match=match):
        models.build(name, shape, 10)


@pytest.mark.parametrize("name", sorted(set(SMALL) - {"tabular"}))
def test_the_smallest_shape_that_is_not_refused_works(name):
    for side in range(1, 34):
        try:
            model = on_meta(name, (2, side, side), 3, norm="group")
        except ValueError:
            continue
        assert model(torch.zeros(2, 2, side, side, device="meta")).shape == (2, 3)
        return
    pytest.fail("every shape was refused")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"classes": 1}, "at least 2 classes"),
        ({"norm": "layer"}, "unknown norm 'layer'; choose from batch, group, none"),
        ({"norm": "batch"}, "no normalisation layers"),
        ({"stem": "cifar"}, "resnet18 and mobilenet_v2"),
        ({"stem": "small"}, "unknown stem 'small'"),
        ({"scale": ((0.5,), (0.5,))}, "3 means and 3 stds, got 1 and 1"),
        ({"scale": ((0.5,) * 3, (0.5,) * 2)}, "3 means and 3 stds, got 3 and 2"),
        ({"scale": ((0.5,) * 3, (0.0,) * 3)}, "must be positive"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        models.build("small_cnn", (3, 12, 12), **{"classes": 10} | options)


def test_imagenet_stem_refuses_small_images():
    with pytest.raises(ValueError, match="at least 32x32"):
        models.build("resnet18", (3, 12, 12), 10, stem="imagenet")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("resnet_20", "resnet20"),
        ("VGG-16", "vgg16"),
        ("mobilenetv2", "mobilenet_v2"),
        ("qqqq", "small_cnn.*densenet100"),
        ("resnet34", r"6n\+2 layers \(8, 14, 20, 26, ...\), not 34"),
        ("resnet2", "6n"),
        ("wrn28_0", "widening factor"),
        ("densenet100_0", "growth"),
        ("resnext29_0x64d", "at least 1"),
    ],
)
def test_unknown_names_are_refused_with_a_remedy(name, match):
    with pytest.raises(ValueError, match=match):
        models.build(name, CIFAR, 10)


def test_integer_batches_other_than_uint8_are_refused():
    with pytest.raises(TypeError, match="uint8 images or floating-point"):
        models.build("tabular", (4,), 2)(torch.zeros(1, 4, dtype=torch.int64))


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "resnext29_2x4d"])
def test_a_residual_block_ends_in_a_relu(name):
    model = models.build(name, (3, 32, 32), 10).eval()
    lows = []
    for part in model.modules():
        if isinstance(part, Residual | BasicBlock):
            part.register_forward_hook(lambda part, given, made: lows.append(made.min().item()))
    with torch.no_grad():
        model(torch.randn(2, 3, 32, 32))
    assert len(lows) >= 8 and min(lows) == 0
