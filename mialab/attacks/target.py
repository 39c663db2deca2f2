"""A model, or an ensemble, as the functions that label-only and gradient attacks take.

Explained in the chapter "The attack suite".
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from mialab import fusion
from mialab.attacks.queries import Inputs, tensor
from mialab.fusion import FusionRule


class Target:
    """What an attacker calls: `answers` as the query, `loss_of` and `log_p` for gradients, `params` for weights.

    models: one module or several that end in logits [n, classes] (or a tuple that starts with them), fused by the rule
    `how`, as in an audit; where it has no gradient, `loss_of` and `log_p` raise ValueError. They are copied in eval
    mode: the originals stay as they are, and later training of them does not show. params: the weights of all models by
    name, `0.net.1.weight` being a tensor of the first one. Inputs may lie on another device than the models.
    """

    def __init__(self, models: nn.Module | Sequence[nn.Module], *, how: str | FusionRule = "confidence"):
        self.rule = fusion.get(how)
        models = [models] if isinstance(models, nn.Module) else list(models)
        if not models:
            raise ValueError("no models: give at least one")
        self.models = [copy.deepcopy(model).eval().requires_grad_(False) for model in models]
        self.params: dict[str, Tensor] = {
            f"{k}.{name}": p for k, model in enumerate(self.models) for name, p in model.named_parameters()
        }
        self.device = next(iter(self.params.values())).device

    def log_p(self, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Log-probabilities [n, classes] of the ensemble with these weights; names that `params` lacks stay."""
        return self.rule.differentiable(self._logits(params, x))

    def answers(self, x: Inputs) -> Tensor:
        """The labels that the ensemble answers, int64 [n], for an array or a tensor."""
        return torch.from_numpy(self.rule.answers(self._outputs(x)))

    def probabilities(self, x: Inputs) -> Tensor:
        """Probabilities [n, classes] for an array or a tensor, without gradients."""
        return torch.from_numpy(self.rule.confidences(self._outputs(x)))

    def scaled(self, x: Tensor) -> Tensor:
        """Raw inputs as the network gets them, so that small steps do not vanish in bytes.

        A network of `mialab.models` scales by its `scale`, and takes scaled inputs as they are; others take x itself.
        """
        x = x.to(self.device)
        scale = getattr(self.models[0], "scale", None)
        return x if scale is None else scale(x)

    def loss_of(self, x: Tensor, labels: Tensor) -> Tensor:
        """Each sample's cross-entropy in nats [n], differentiable in x."""
        return -self.log_p({}, x).gather(1, labels[:, None].to(self.device))[:, 0]

    def _outputs(self, x: Inputs) -> np.ndarray:
        """All models' logits [models, n, classes] as an array."""
        with torch.no_grad():
            return self._logits({}, tensor(x)).double().cpu().numpy()

    def _logits(self, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        x = x.to(self.device)
        return torch.stack([self._of_model(k, params, x) for k in range(len(self.models))])

    def _of_model(self, k: int, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        own = {name.removeprefix(f"{k}."): p for name, p in params.items() if name.startswith(f"{k}.")}
        outputs = functional_call(self.models[k], own, (x,))
        return outputs if isinstance(outputs, Tensor) else outputs[0]
