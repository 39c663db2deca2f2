"""A model, or an ensemble, as the functions that label-only and gradient attacks take."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mialab.attacks.queries import Inputs, tensor
from mialab.fusion import RULES


class Target:
    """What an attacker calls: `probabilities` as the query, `loss_of` and `log_p` for gradients, `params` for weights.

    models: one module or several that end in logits [n, classes] (or a tuple that starts with them), fused by `how`,
    as `mialab.fusion` does. They are copied in eval mode: the originals stay as they are, and later training of them
    does not show. params: the weights of all models by name, `0.net.1.weight` being a tensor of the first one. Inputs
    may lie on another device than the models.
    """

    def __init__(self, models: nn.Module | Sequence[nn.Module], *, how: str = "confidence"):
        if how not in RULES:
            raise ValueError(f"no fusion {how!r}; choose one of {', '.join(RULES)}")
        models = [models] if isinstance(models, nn.Module) else list(models)
        if not models:
            raise ValueError("no models: give at least one")
        self.how = how
        self.models = [copy.deepcopy(model).eval().requires_grad_(False) for model in models]
        self.params = {f"{k}.{name}": p for k, model in enumerate(self.models) for name, p in model.named_parameters()}
        self.device = next(iter(self.params.values())).device

    def log_p(self, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Log-probabilities [n, classes] of the ensemble with these weights; names that `params` lacks stay."""
        x = x.to(self.device)
        logits = torch.stack([self._logits(k, params, x) for k in range(len(self.models))])
        if self.how == "logit":
            return logits.mean(dim=0).log_softmax(dim=-1)
        return logits.log_softmax(dim=-1).logsumexp(dim=0) - math.log(len(self.models))

    def probabilities(self, x: Inputs) -> Tensor:
        """Probabilities [n, classes] for an array or a tensor, without gradients."""
        with torch.no_grad():
            return self.log_p({}, tensor(x)).exp()

    def loss_of(self, x: Tensor, labels: Tensor) -> Tensor:
        """Each sample's cross-entropy in nats [n], differentiable in x."""
        return -self.log_p({}, x).gather(1, labels[:, None].to(self.device))[:, 0]

    def _logits(self, k: int, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        own = {name.removeprefix(f"{k}."): p for name, p in params.items() if name.startswith(f"{k}.")}
        outputs = functional_call(self.models[k], own, (x,))
        return outputs if isinstance(outputs, Tensor) else outputs[0]
