"""Modules that have been trained once: a second training would change what the first one returned."""

import weakref

from torch import nn

_trained: weakref.WeakValueDictionary = weakref.WeakValueDictionary()  # parts of models, by their id, while they live


def keep(model: nn.Module) -> None:
    """Remember that a training returned the model."""
    for part in (model, *model.parameters()):
        _trained[id(part)] = part


def check(model: nn.Module) -> None:
    """Raise ValueError if the model, or one that shares weights with it that learn, was returned by a training."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.numel()]
    known = [part for part in _trained.values() if not isinstance(part, nn.Module)]
    places = {part.untyped_storage().data_ptr() for part in known}
    again = any(_trained.get(id(part)) is part for part in (model, *learning))
    if again or any(part.untyped_storage().data_ptr() in places for part in learning):
        raise ValueError(
            "build returned weights that have been trained before, and that result would change: it must make a new "
            "one at each call, such as lambda: copy.deepcopy(model); to go on from weights give "
            "start=model.state_dict()"
        )
