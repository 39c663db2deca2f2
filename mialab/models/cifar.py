"""The CIFAR family of the ensemble paper, after the layer lists and sizes of bearpaw/pytorch-classification.

Where that code averages over a fixed 8x8 (or flattens 1x1), these average over whatever is left, so that
other image sizes work; at 32x32 it is the same. All take `norm`, the maker of their normalisation layers.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, cat, nn

from mialab.models.layers import Norm, Residual, conv, he_init, head

_VGG_WIDTHS = (64, 128, 256, 512, 512)
_VGG_REPEATS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def alexnet(shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """AlexNet for CIFAR: five convolutions (64, 192, 384, 256, 256), one fully connected layer, no norm, no dropout."""
    return nn.Sequential(
        nn.Conv2d(shape[0], 64, 11, stride=4, padding=5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        *head(256, classes),
    )


def vgg(shape: tuple[int, int, int], classes: int, depth: int, *, norm: Norm) -> nn.Sequential:
    """VGG-11/13/16/19 (Simonyan and Zisserman 2015, A/B/D/E) with one fully connected layer, drawn from N(0, 0.01)."""
    layers: list[nn.Module] = []
    entering = shape[0]
    for width, repeats in zip(_VGG_WIDTHS, _VGG_REPEATS[depth], strict=True):
        for _ in range(repeats):
            layers += [nn.Conv2d(entering, width, 3, padding=1), norm(width), nn.ReLU()]
            entering = width
        layers.append(nn.MaxPool2d(2))
    last = nn.Linear(entering, classes)
    net = he_init(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last))
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    return net


def resnet(shape: tuple[int, int, int], classes: int, depth: int, *, norm: Norm) -> nn.Sequential:
    """ResNet of 6n+2 layers (He et al. 2016a, section 4.2): basic blocks, a 1x1 projection where the width changes."""

    def block(entering: int, width: int, stride: int) -> nn.Module:
        first = [conv(entering, width, stride=stride), norm(width), nn.ReLU()]
        branch = nn.Sequential(*first, conv(width, width), norm(width))
        return Residual(branch, _projection(entering, width, stride, norm), nn.ReLU())

    stem = [conv(shape[0], 16), norm(16), nn.ReLU()]
    stages = _stages(16, (16, 32, 64), _blocks(depth, "resnet", 2, 6), block)
    return he_init(nn.Sequential(*stem, *stages, *head(64, classes)))


def preresnet(shape: tuple[int, int, int], classes: int, depth: int, *, norm: Norm) -> nn.Sequential:
    """Pre-activation ResNet of 6n+2 layers (He et al. 2016b): the projection has no norm and sees the raw input."""

    def block(entering: int, width: int, stride: int) -> nn.Module:
        branch = _preactivated(entering, width, stride, norm)
        return Residual(branch, None if entering == width else conv(entering, width, 1, stride))

    stages = _stages(16, (16, 32, 64), _blocks(depth, "preresnet", 2, 6), block)
    return he_init(nn.Sequential(conv(shape[0], 16), *stages, norm(64), nn.ReLU(), *head(64, classes)))


def wrn(shape: tuple[int, int, int], classes: int, depth: int, widen: int, *, norm: Norm) -> nn.Sequential:
    """Wide ResNet-depth-widen of 6n+4 layers (Zagoruyko and Komodakis 2016) with dropout 0.3 in each block.

    Where the width changes, branch and 1x1 projection both see the activated input.
    """
    if widen < 1:
        raise ValueError(f"the widening factor of wrn{depth}_{widen} must be at least 1")

    def block(entering: int, width: int, stride: int) -> nn.Module:
        branch = _preactivated(entering, width, stride, norm, dropout=0.3)
        if entering == width:
            return Residual(branch)
        return nn.Sequential(*branch[:2], Residual(branch[2:], conv(entering, width, 1, stride)))

    widths = (16 * widen, 32 * widen, 64 * widen)
    stages = _stages(16, widths, _blocks(depth, "wrn", 4, 6), block)
    last = [norm(widths[-1]), nn.ReLU()]
    return he_init(nn.Sequential(conv(shape[0], 16), *stages, *last, *head(widths[-1], classes)))


def resnext29(
    shape: tuple[int, int, int], classes: int, groups: int = 8, width: int = 64, *, norm: Norm
) -> nn.Sequential:
    """ResNeXt-29, 8x64d unless named otherwise (Xie et al. 2017, section 5.3): stages of 256, 512 and 1024 channels."""
    if groups < 1 or width < 1:
        raise ValueError(f"groups and width of resnext29_{groups}x{width}d must be at least 1")

    def block(entering: int, leaving: int, stride: int) -> nn.Module:
        inner = groups * width * leaving // 256
        branch = nn.Sequential(
            conv(entering, inner, 1),
            norm(inner),
            nn.ReLU(),
            conv(inner, inner, 3, stride, groups),
            norm(inner),
            nn.ReLU(),
            conv(inner, leaving, 1),
            norm(leaving),
        )
        return Residual(branch, _projection(entering, leaving, stride, norm), nn.ReLU())

    stem = [conv(shape[0], 64), norm(64), nn.ReLU()]
    return he_init(nn.Sequential(*stem, *_stages(64, (256, 512, 1024), 3, block), *head(1024, classes)))


def densenet(shape: tuple[int, int, int], classes: int, depth: int, growth: int = 12, *, norm: Norm) -> nn.Sequential:
    """DenseNet-BC(depth, growth) of 6n+4 layers (Huang et al. 2017): bottlenecks, transitions that halve the maps."""
    if growth < 1:
        raise ValueError(f"the growth of densenet{depth}_{growth} must be at least 1")
    bottlenecks, maps = _blocks(depth, "densenet", 4, 6), 2 * growth
    layers: list[nn.Module] = [conv(shape[0], maps)]
    for dense_block in range(3):
        if dense_block:
            layers += [norm(maps), nn.ReLU(), conv(maps, maps // 2, 1), nn.AvgPool2d(2)]
            maps //= 2
        for _ in range(bottlenecks):
            layers.append(_Dense(maps, growth, norm))
            maps += growth
    return he_init(nn.Sequential(*layers, norm(maps), nn.ReLU(), *head(maps, classes)))


class _Dense(nn.Sequential):
    """A bottleneck (1x1 to 4 x growth maps, 3x3 to growth) that appends its maps to its input's."""

    def __init__(self, entering: int, growth: int, norm: Norm):
        squeeze = [norm(entering), nn.ReLU(), conv(entering, 4 * growth, 1)]
        super().__init__(*squeeze, norm(4 * growth), nn.ReLU(), conv(4 * growth, growth))

    def forward(self, x: Tensor) -> Tensor:
        return cat((x, super().forward(x)), 1)


def _blocks(depth: int, family: str, extra: int, layers: int) -> int:
    blocks, rest = divmod(depth - extra, layers)
    if rest or blocks < 1:
        near = ", ".join(str(layers * n + extra) for n in (1, 2, 3, 4))
        raise ValueError(f"{family} has {layers}n+{extra} layers ({near}, ...), not {depth}")
    return blocks


def _stages(
    entering: int, widths: Sequence[int], blocks: int, block: Callable[[int, int, int], nn.Module]
) -> list[nn.Module]:
    """Stages of equal length; the first block of each stage but the first halves the image."""
    layers = []
    for stage, width in enumerate(widths):
        for index in range(blocks):
            layers.append(block(entering, width, 2 if stage and not index else 1))
            entering = width
    return layers


def _projection(entering: int, leaving: int, stride: int, norm: Norm) -> nn.Module | None:
    return None if entering == leaving else nn.Sequential(conv(entering, leaving, 1, stride), norm(leaving))


def _preactivated(entering: int, width: int, stride: int, norm: Norm, dropout: float = 0.0) -> nn.Sequential:
    first = [norm(entering), nn.ReLU(), conv(entering, width, stride=stride)]
    drop = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*first, norm(width), nn.ReLU(), *drop, conv(width, width))
