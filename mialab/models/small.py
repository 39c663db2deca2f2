"""Small networks without normalisation layers: for the embedded data, for MNIST, for tables, for DP-SGD."""

import itertools
import math

from torch import nn


def small_cnn(shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """The CNN of the `textures` chapters: 3x3 convolutions of 8 and 16 maps, each pooled, and 64 hidden units."""
    channels, height, width = shape
    return nn.Sequential(
        *_conv_relu_pool(channels, 8, 3, padding=1),
        *_conv_relu_pool(8, 16, 3, padding=1),
        nn.Flatten(),
        nn.Linear(16 * (height // 4) * (width // 4), 64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )


def tabular(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """One hidden layer of 128 Tanh units (Shokri et al. 2017); images are flattened."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 128), nn.Tanh(), nn.Linear(128, classes))


def mlp(shape: tuple[int, ...], classes: int, *hidden: int) -> nn.Sequential:
    """Hidden layers of ReLUs and no biases, the networks of the pruning paper's Theorem 1; images are flattened."""
    sides = [math.prod(shape), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for entering, leaving in itertools.pairwise(sides):
        layers += [nn.Linear(entering, leaving, bias=False), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sides[-1], classes, bias=False))


def lenet5(shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Classic LeNet-5 (6 and 16 maps, 120, 84) for 32x32, with ReLU and max-pooling for its sigmoids and averages."""
    channels, height, width = shape
    return nn.Sequential(
        *_conv_relu_pool(channels, 6, 5),
        *_conv_relu_pool(6, 16, 5),
        nn.Flatten(),
        nn.Linear(16 * _lenet_side(height) * _lenet_side(width), 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, classes),
    )


def lenet5_caffe(shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Caffe's LeNet-5 (20 and 50 maps, 500) for 28x28, the one that the ADMM pruning papers use."""
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 20, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(50 * _lenet_side(height) * _lenet_side(width), 500),
        nn.ReLU(),
        nn.Linear(500, classes),
    )


def cnn4(shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """The four-layer CNN of DP-SGD papers (Abadi et al. 2016): two 5x5 convolutions of 64 maps, 384 hidden units."""
    channels, height, width = shape
    return nn.Sequential(
        *_conv_relu_pool(channels, 64, 5, padding=2),
        *_conv_relu_pool(64, 64, 5, padding=2),
        nn.Flatten(),
        nn.Linear(64 * (height // 4) * (width // 4), 384),
        nn.ReLU(),
        nn.Linear(384, classes),
    )


def _conv_relu_pool(entering: int, leaving: int, kernel: int, padding: int = 0) -> list[nn.Module]:
    return [nn.Conv2d(entering, leaving, kernel, padding=padding), nn.ReLU(), nn.MaxPool2d(2)]


def _lenet_side(side: int) -> int:
    # Two rounds of an unpadded 5x5 convolution and a pooling by 2.
    return ((side - 4) // 2 - 4) // 2
