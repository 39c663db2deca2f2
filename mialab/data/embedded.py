"""Data sets that need no download: two generators whose distribution is known, and scikit-learn's digits."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mialab.data.dataset import Dataset

# One generator per purpose, so that fresh samples never repeat the rows of `load` under the same seed.
_PROTOTYPES, _TRAIN, _TEST, _FRESH = range(4)


def _random(purpose: int, seed: int) -> np.random.Generator:
    if seed < 0:
        raise ValueError(f"a seed is a whole number from 0 up, got {seed}")
    return np.random.default_rng([purpose, seed])


@dataclass(frozen=True)
class Textures:
    """Small colour images of ten classes: per class three random textures, shifted, faded and covered by noise.

    A class's prototypes are Gaussian random fields with power spectrum |k|^-2.5 and unit variance, drawn with
    probabilities .6, .3, .1; a sample is one of them, circularly shifted by up to 2 pixels, times a contrast of
    1 +- .4, plus .8 times a fresh field (|k|^-2) and .3 times white noise, rescaled to unit variance.
    """

    seed: int = 0
    name = "textures"
    classes = 10
    shape = (3, 12, 12)
    sizes = (1000, 4000)
    modes = (0.6, 0.3, 0.1)
    shift_pixels = 2
    contrast = 0.4
    noise = 0.8
    white = 0.3

    @cached_property
    def prototypes(self) -> np.ndarray:
        """The noise-free textures, float32 [class, mode, channel, row, column]."""
        fields = _fields(_random(_PROTOTYPES, self.seed), self.classes * len(self.modes), self.shape, 2.5)
        return fields.reshape(self.classes, len(self.modes), *self.shape)

    def sample(self, n: int, *, seed: int) -> tuple[Tensor, Tensor]:
        """Draw n independent samples: x float32 [n, 3, 12, 12], y int64 [n] with uniform classes."""
        return self.draw(n, _random(_FRESH, seed))

    def draw(self, n: int, g: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Draw n independent samples from a numpy generator."""
        y = g.integers(self.classes, size=n)
        mode = g.choice(len(self.modes), size=n, p=self.modes)
        x = self._shifted(y, mode, g) * g.uniform(1 - self.contrast, 1 + self.contrast, (n, 1, 1, 1)).astype(np.float32)
        x += np.float32(self.noise) * _fields(g, n, self.shape, 2.0)
        x += np.float32(self.white) * g.standard_normal(x.shape, dtype=np.float32)
        x /= np.float32(np.sqrt(1 + self.contrast**2 / 3 + self.noise**2 + self.white**2))
        return torch.from_numpy(x), torch.from_numpy(y)

    def _shifted(self, y: np.ndarray, mode: np.ndarray, g: np.random.Generator) -> np.ndarray:
        side = np.arange(self.shape[-1])
        down, right = g.integers(-self.shift_pixels, self.shift_pixels + 1, (2, len(y), 1))
        rows, columns = (side - down) % len(side), (side - right) % len(side)
        channels = np.arange(self.shape[0])[:, None, None]
        at = (y[:, None, None, None], mode[:, None, None, None], channels, rows[:, None, :, None])
        return self.prototypes[(*at, columns[:, None, None, :])]


@dataclass(frozen=True)
class Prototypes:
    """Binary records of fifty classes, like Purchase-100: per class three random prototypes with flipped bits.

    A sample is one of its class's three prototypes of 200 random bits, each with probability 1/3, with every bit
    flipped independently with probability .28, coded -1 and +1.
    """

    seed: int = 0
    name = "prototypes"
    classes = 50
    shape = (200,)
    sizes = (4000, 8000)
    modes = 3
    flip = 0.28

    @cached_property
    def prototypes(self) -> np.ndarray:
        """The unflipped records, bool [class, mode, bit]."""
        return _random(_PROTOTYPES, self.seed).random((self.classes, self.modes, *self.shape)) < 0.5

    def sample(self, n: int, *, seed: int) -> tuple[Tensor, Tensor]:
        """Draw n independent samples: x float32 [n, 200] of -1 and +1, y int64 [n] with uniform classes."""
        return self.draw(n, _random(_FRESH, seed))

    def draw(self, n: int, g: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Draw n independent samples from a numpy generator."""
        y, mode = g.integers(self.classes, size=n), g.integers(self.modes, size=n)
        bits = self.prototypes[y, mode] ^ (g.random((n, *self.shape), dtype=np.float32) < self.flip)
        return torch.from_numpy(bits.astype(np.float32) * 2 - 1), torch.from_numpy(y)


GENERATORS = {g.name: g for g in (Textures, Prototypes)}


def generated(name: str, seed: int, samples: tuple[int, int] | None) -> Dataset:
    """Draw `samples` = (train, test) rows; the training rows do not depend on how many test rows follow."""
    source = GENERATORS[name]()
    train, test = source.sizes if samples is None else samples
    if train < 1 or test < 0:
        raise ValueError(f"samples=(train, test) needs train >= 1 and test >= 0, got {samples}")
    (x, y), (x_test, y_test) = source.draw(train, _random(_TRAIN, seed)), source.draw(test, _random(_TEST, seed))
    return Dataset(name, torch.cat([x, x_test]), torch.cat([y, y_test]), source.classes, train)


def digits() -> Dataset:
    """The 1,797 real handwritten 8 x 8 digits that scikit-learn carries, float32 [n, 1, 8, 8] in [0, 1]."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.from_numpy((bunch.images / 16).astype(np.float32))[:, None]
    return Dataset("digits", x, torch.from_numpy(bunch.target.astype(np.int64)), 10)


def _fields(g: np.random.Generator, n: int, shape: tuple[int, int, int], exponent: float) -> np.ndarray:
    """n Gaussian random fields of power spectrum |k|^-exponent without mean, unit variance, float32 [n, *shape]."""
    channels, height, width = shape
    k2 = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.fftfreq(width) ** 2
    k2[0, 0] = np.inf
    amplitude = k2 ** (-exponent / 4)
    amplitude /= np.sqrt(np.mean(amplitude**2))
    white = g.standard_normal((n, channels, height, width), dtype=np.float32)
    half = amplitude[:, : width // 2 + 1].astype(np.float32)
    return np.fft.irfft2(np.fft.rfft2(white) * half, s=(height, width)).astype(np.float32)
