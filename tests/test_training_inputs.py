"""What people hand to `fit` and `logits`: taken, or refused in one line that says what to do."""

import copy
import gc
import warnings
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from training_cases import SMALL, double, mlp, points, same

from mialab.training import fit, fit_many, logits

WIDE = (torch.randn(40, 6), torch.randint(5, (40,)))


@pytest.mark.parametrize(
    ("build", "data", "says", "never"),
    [
        (mlp(), points(), ["lambda: copy.deepcopy(model)"], ["forward"]),
        (mlp, WIDE, ["label 4", "3 outputs", "0 to 2", "number the classes from 0"], ["assert"]),
        (lambda: mlp(classes=1), points(classes=2), ["one output per class", "nn.Linear(features, 2)"], ["label"]),
        (lambda: nn.Sequential(mlp(classes=1), nn.Flatten(0)), points(classes=2), ["one output per class"], []),
        (mlp, TensorDataset(*points()), ["DataLoader(dataset, batch_size=128, shuffle=True)"], []),
        (mlp, (points()[0], points()[1].float()), ["y.long()"], []),
        (mlp, (points()[0], points()[1][:, None]), ["y.squeeze(1)"], []),
        (mlp, (points()[0], torch.eye(3)[points()[1]]), ["y.argmax(1)"], []),
    ],
)
def test_fit_says_what_to_do_with_what_it_cannot_take(build, data, says, never):
    with pytest.raises((TypeError, ValueError)) as caught:
        fit(build, data, SMALL)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in says), message
    assert not any(word in message for word in never), message


@pytest.mark.parametrize("joint", [True, False])
def test_float64_and_numpy_are_taken_as_float32_tensors_are(joint):
    x, y = points()
    expected = fit_many(mlp, (x, y), SMALL, seeds=[0, 1], joint=joint)
    given = (x.numpy().astype(np.float64), y.numpy().astype(np.int32))
    for one, other in zip(fit_many(mlp, given, SMALL, seeds=[0, 1], joint=joint), expected, strict=True):
        assert same(one, other)
    assert fit(double(mlp), (x.double(), y), SMALL).model[0].weight.dtype == torch.float64


def test_logits_of_arrays_pairs_and_data_sets_are_those_of_tensors():
    model, (x, y) = mlp(), points()
    expected = logits(model, x)
    torch.testing.assert_close(logits(model, x.numpy()), expected)
    torch.testing.assert_close(logits(model, x.numpy().astype(np.float64)), expected)
    for data in ((x, y), (x.numpy(), y.numpy()), TensorDataset(x, y), DataLoader(TensorDataset(x, y), 7)):
        found, labels = logits(model, data, batch=16)
        torch.testing.assert_close(found, expected)
        assert labels.tolist() == y.tolist()
    with pytest.raises(TypeError, match="a tensor x .* not int"):
        logits(model, 5)


@pytest.mark.parametrize("joint", [True, False])
def test_a_softmax_under_cross_entropy_is_warned_of_once(joint):
    def ends_with_softmax():
        return nn.Sequential(mlp(), nn.Softmax(1))

    with pytest.warns(UserWarning, match="before its softmax") as caught:
        fit_many(ends_with_softmax, points(), SMALL, seeds=[0, 1], joint=joint)
    assert len([one for one in caught if "softmax" in str(one.message)]) == (1 if joint else 2)
    for silent in (mlp, lambda: nn.Sequential(mlp(), nn.LogSoftmax(1))):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fit(silent, points(), SMALL)


def test_a_module_that_has_been_trained_is_refused_also_inside_another_one():
    net = mlp()
    first = fit(lambda: net, points(), SMALL)
    before = copy.deepcopy(first.model.state_dict())
    sharing = mlp()
    sharing.load_state_dict(net.state_dict(), assign=True)
    for again in (net, nn.Sequential(net, nn.Identity()), sharing):
        with pytest.raises(ValueError, match=r"lambda: copy.deepcopy\(model\)"):
            fit(lambda again=again: again, points(), SMALL)
    assert all(torch.equal(value, before[name]) for name, value in first.model.state_dict().items())


def test_a_new_module_with_the_trained_weights_is_fine():
    net = mlp()
    weights = fit(lambda: net, points(), SMALL).model.state_dict()

    def loaded():
        new = mlp()
        new.load_state_dict(weights)
        return new

    copied, started, loaded_ones = (
        fit(lambda: copy.deepcopy(net), points(), SMALL),
        fit(mlp, points(), SMALL, start=weights),
        fit(loaded, points(), SMALL),
    )
    assert same(copied, started) and same(copied, loaded_ones)


def test_what_was_trained_is_not_kept_alive():
    trained = fit(mlp, points(), SMALL).model
    alive = weakref.ref(trained)
    del trained
    gc.collect()
    assert alive() is None
