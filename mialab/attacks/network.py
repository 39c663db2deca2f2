"""The small network of the neural attacks: ReLU layers, one output, binary cross-entropy, Adam; float32 in numpy.

Steps on networks this small are all overhead: written out by hand they take a third of the time that they take with
automatic differentiation, and an audit does not wait for torch to be imported.
"""

from __future__ import annotations

import itertools

import numpy as np

RATE, MOMENTUM, SQUARES, EPSILON = 1e-3, 0.9, 0.999, 1e-8  # Adam's defaults, as the released script has them


class Network:
    """Log-odds of membership from `sizes[0]` inputs through ReLU layers of `sizes[1:]` and one output.

    Weights and biases start uniform within 1/sqrt(inputs of the layer), as torch's linear layers do.
    """

    def __init__(self, sizes: tuple[int, ...], rng: np.random.Generator):
        shapes = [(rows + 1, columns) for rows, columns in itertools.pairwise((*sizes, 1))]  # last row: the bias
        ends = np.cumsum([rows * columns for rows, columns in shapes])
        self.weights = np.empty(ends[-1], dtype=np.float32)
        self.gradient, self.mean, self.square = (np.zeros_like(self.weights) for _ in range(3))
        self.layers, self.slopes = (
            [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)]
            for flat in (self.weights, self.gradient)  # views: Adam moves all layers at once
        )
        for layer in self.layers:
            bound = (len(layer) - 1) ** -0.5
            layer[:] = rng.uniform(-bound, bound, layer.shape)
        self.steps = 0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Log-odds, float64 [n]."""
        return self._forward(x)[-1][:, 0].astype(np.float64)

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        """One step of Adam on the mean binary cross-entropy of a batch: x float32 [n, inputs], y 0 or 1 [n]."""
        self._backward(self._forward(x), y)
        self.steps += 1
        self.mean += (1 - MOMENTUM) * (self.gradient - self.mean)
        self.square += (1 - SQUARES) * (self.gradient**2 - self.square)
        scale = np.sqrt(self.square / (1 - SQUARES**self.steps)) + EPSILON
        self.weights -= RATE / (1 - MOMENTUM**self.steps) * self.mean / scale

    def with_slope(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-odds, float64 [n], and their gradient in the inputs, float64 [n, inputs], of x float32 [n, inputs]."""
        values = self._forward(x)
        slope = np.ones_like(values[-1])
        for layer, inputs in zip(self.layers[::-1], values[-2::-1], strict=True):
            slope = slope @ layer[:-1].T
            if inputs is not x:
                slope *= inputs > 0
        return values[-1][:, 0].astype(np.float64), slope.astype(np.float64)

    def _forward(self, x: np.ndarray) -> list[np.ndarray]:
        """The inputs of each layer, and the output."""
        values = [x]
        for layer in self.layers:
            x = x @ layer[:-1]
            x += layer[-1]
            if layer is not self.layers[-1]:
                np.maximum(x, 0, out=x)
            values.append(x)
        return values

    def _backward(self, values: list[np.ndarray], y: np.ndarray) -> None:
        odds = values.pop()
        error = (np.tanh(odds / 2) / 2 + 0.5 - y[:, None]) / np.float32(len(y))  # sigmoid less truth
        for layer, slope, inputs in zip(self.layers[::-1], self.slopes[::-1], values[::-1], strict=True):
            np.matmul(inputs.T, error, out=slope[:-1])
            error.sum(axis=0, out=slope[-1])
            if inputs is not values[0]:  # nobody asks for that of the network's own inputs
                error = (error @ layer[:-1].T) * (inputs > 0)
