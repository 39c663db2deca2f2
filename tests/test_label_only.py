"""Label-only attacks on classifiers whose answers are known, and on a tiny net that learnt its members by heart."""

import numpy as np
import pytest
import torch
from attack_cases import beats_the_gap, linear, overfit_net
from scipy.stats import norm

from mialab import metrics
from mialab.attacks.boundary import Search, boundary_distances
from mialab.attacks.label_only import (
    _moves,
    _rotated,
    _shifted,
    augmentation_scores,
    bit_flip_scores,
    noise_scores,
)
from mialab.attacks.target import Target

ATTACKS = {
    "augmentations": lambda query, x, labels, **more: augmentation_scores(query, x, labels, **more),
    "noise": lambda query, x, labels, **more: noise_scores(query, x, labels, stds=(2, 4, 8), **more),
    "boundary": lambda query, x, labels, **more: boundary_distances(
        query, x, labels, search=Search(rounds=3, probes=20), **more
    ),
}
every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


def brightness(images):
    """Answers 1 where the image's left upper pixel is lit; it sees nothing else."""
    return (images[:, 0, 0, 0] > 0.5).astype(np.int64)


@every_attack
@pytest.mark.parametrize("models", [1, 3])
def test_members_of_an_overfit_model_and_of_an_ensemble_score_higher_beyond_the_gap(attack, models):
    _, x, labels, member = overfit_net()
    query = Target([overfit_net(seed)[0] for seed in range(models)]).probabilities
    scores = attack(query, torch.from_numpy(x), torch.from_numpy(labels))
    assert beats_the_gap(scores, query, x, labels, member)


@every_attack
def test_shuffled_membership_leaves_an_auc_of_a_half(attack):
    net, x, labels, member = overfit_net()
    scores = attack(Target(net).probabilities, torch.from_numpy(x), labels)
    areas = [metrics.auc_interval(scores, np.random.default_rng(k).permutation(member)) for k in range(10)]
    assert sum(area.low < 0.5 < area.high for area in areas) >= 8


@every_attack
def test_arrays_tensors_labels_and_probabilities_give_the_same_scores(attack):
    net, x, labels, _ = overfit_net()
    query = Target(net).probabilities
    expected = attack(query, torch.from_numpy(x), torch.from_numpy(labels))
    np.testing.assert_array_equal(attack(query, x, labels), expected)
    kinds = set()

    def on_arrays(inputs):
        kinds.add((type(inputs), inputs.dtype))
        return query(torch.from_numpy(inputs)).argmax(1).numpy()

    np.testing.assert_array_equal(attack(on_arrays, x, labels), expected)
    assert kinds == {(np.ndarray, np.dtype(np.float32))}


@every_attack
def test_scores_hang_on_the_seed_alone_and_not_on_the_steps(attack):
    query, x, labels, _ = linear(features=9)
    x = x.reshape(-1, 1, 3, 3)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002 - the state that must stay

    def flat(inputs):
        return query(inputs.reshape(len(inputs), -1))

    first, second = attack(flat, x, labels), attack(flat, x, labels, at_once=7)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


def test_a_score_does_not_hang_on_the_other_samples():
    query, x, labels, _ = linear()
    scores = noise_scores(query, x, labels, stds=(0.5, 1))
    np.testing.assert_array_equal(scores[::-3], noise_scores(query, x[::-3], labels[::-3], stds=(0.5, 1)))
    assert not np.array_equal(scores, noise_scores(query, x, labels, stds=(0.5, 1), seed=1))


def test_answers_under_noise_are_right_as_often_as_the_margin_says():
    query, x, labels, distances = linear()
    scores = noise_scores(query, x, labels, stds=(0.5, 2.0), repeats=600)
    expected = 600 * (norm.cdf(distances / 0.5) + norm.cdf(distances / 2))
    assert np.abs(scores - expected).max() < 4.5 * np.sqrt(2 * 600)  # two levels of one direction go together
    assert np.corrcoef(scores, expected)[0, 1] > 0.98


def test_where_every_answer_is_wrong_nothing_survives():
    query, x, labels, _ = linear()
    assert (noise_scores(query, x, labels, stds=(1e-9,)) == 10).all()
    assert (noise_scores(query, x, 1 - labels, stds=(1e-9,)) == 0).all()
    assert (boundary_distances(query, x, 1 - labels) == 0).all()


def test_bits_flip_at_their_rate_and_only_bits_do():
    bits = np.random.default_rng(0).integers(0, 2, (5, 2000)).astype(np.uint8)
    shares = []

    def query(inputs):
        assert inputs.dtype == np.uint8 and np.isin(inputs, (0, 1)).all()
        shares.append((inputs != bits).mean())
        return np.zeros(len(inputs), int)

    scores = bit_flip_scores(query, bits, np.array([0, 0, 0, 1, 1]), rates=(0.0, 0.1, 0.5), repeats=2)
    np.testing.assert_array_equal(scores, [6, 6, 6, 0, 0])
    np.testing.assert_allclose(shares, [0, 0.1, 0.5] * 2, atol=0.05)
    with pytest.raises(ValueError, match="other numbers than 0 and 1.*use noise_scores"):
        bit_flip_scores(query, bits + 0.5, np.zeros(5, int), rates=(0.1,))


def test_shifts_move_by_whole_pixels_and_zeros_come_in():
    images = torch.arange(1.0, 10).reshape(1, 1, 3, 3)
    expected = torch.tensor([[0, 0, 0], [0, 1, 2], [0, 4, 5.0]])
    assert torch.equal(_shifted(images, down=1, right=1)[0, 0], expected)
    assert torch.equal(_shifted(images, down=0, right=-1)[0, 0], torch.tensor([[2, 3, 0], [5, 6, 0], [8, 9, 0.0]]))
    assert [len(_moves(d)) for d in (0, 1, 2, 3)] == [1, 4, 8, 12]


def test_rotations_are_whole_turns_where_they_should_be():
    square, wide = torch.rand(2, 3, 5, 5), torch.rand(2, 3, 4, 7)
    torch.testing.assert_close(_rotated(square, degrees=90.0), square.rot90(1, (2, 3)), atol=1e-5, rtol=0)
    torch.testing.assert_close(_rotated(wide, degrees=180.0), wide.flip((2, 3)), atol=1e-5, rtol=0)
    # A bright pixel one step right of the middle turns to one step above or below it, on images of any shape.
    point = torch.zeros(1, 1, 5, 9)
    point[..., 2, 5] = 1
    assert _rotated(point, degrees=90.0)[0, 0, :, 4].sum() == pytest.approx(1, abs=1e-5)


def test_augmentations_are_counted_as_documented():
    images = np.zeros((2, 1, 4, 4), np.float32)
    images[0, 0, 0, 0] = 1  # seen where it was: in the image itself and nowhere else
    scores = augmentation_scores(brightness, images, np.array([1, 0]), shifts=(1, 2), rotations_degrees=(90.0,))
    np.testing.assert_array_equal(scores, [1, 1 + 4 + 8 + 1 + 2])
    assert augmentation_scores(brightness, images, np.array([1, 0]), flip=False)[1] == 5


def test_bytes_stay_bytes():
    images = np.full((3, 1, 4, 4), 250, np.uint8)

    def query(inputs):
        assert inputs.dtype == np.uint8
        return (inputs.reshape(len(inputs), -1).min(axis=1) < 100).astype(int)

    assert (noise_scores(query, images, np.zeros(3, int), stds=(20.0,)) == 10).all()  # 260 would wrap around to 4


def test_tables_are_refused_where_images_are_needed():
    query, x, labels, _ = linear()
    with pytest.raises(ValueError, match=r"found shape \[300, 10\].*use noise_scores or bit_flip_scores"):
        augmentation_scores(query, x, labels)


@every_attack
def test_wrong_arguments_are_named(attack):
    x, labels = np.zeros((4, 1, 2, 2), np.float32), np.zeros(4, int)
    with pytest.raises(ValueError, match="x has 4 samples, labels 3"):
        attack(lambda inputs: np.zeros(len(inputs)), x, labels[:3])
    with pytest.raises(ValueError, match=r"query: found answers of shape \[1\]; expected labels \[4\]"):
        attack(lambda inputs: np.zeros(1), x, labels)


@pytest.mark.parametrize(("features", "excess"), [(2, 0.002), (10, 0.02)])
def test_on_a_linear_classifier_the_distance_is_the_margin_s(features, excess):
    query, x, labels, expected = linear(features=features)
    ratio = boundary_distances(query, x, labels) / expected
    assert ratio.min() > 1 - 1e-4 and ratio.max() < 1 + excess


def test_in_many_dimensions_the_distance_is_an_upper_bound_that_keeps_the_order():
    query, x, labels, expected = linear(features=200)
    found = boundary_distances(query, x, labels)
    assert (found > expected * (1 - 1e-4)).all() and np.corrcoef(found, expected)[0, 1] > 0.99
    longer = boundary_distances(query, x, labels, search=Search(rounds=40))
    assert (longer / expected).mean() < (found / expected).mean() < 1.5


def test_on_a_sphere_the_distance_is_the_radius_s():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5)).astype(np.float32)
    radius = np.linalg.norm(x, axis=1)

    def query(inputs):
        return (np.linalg.norm(inputs, axis=1) > 2).astype(int)

    ratio = boundary_distances(query, x, query(x)) / np.abs(radius - 2)
    assert ratio.min() > 0.999 and np.median(ratio) < 1.02


def test_the_search_asks_no_more_than_it_says():
    query, x, labels, _ = linear()
    asked = []

    def counting(inputs):
        asked.append(len(inputs))
        return query(inputs)

    search = Search(rounds=4, probes=10, halvings=8)
    boundary_distances(counting, x, labels, search=search, at_once=100)
    assert sum(asked) == search.queries * len(x) and max(asked) == 100


def test_without_a_boundary_or_on_bytes_the_search_says_so():
    _, x, labels, _ = linear()
    with pytest.raises(ValueError, match="every answer is 1, so no boundary"):
        boundary_distances(lambda inputs: np.ones(len(inputs)), x, labels)
    with pytest.raises(ValueError, match="torch.uint8, in which small steps vanish"):
        boundary_distances(lambda inputs: np.ones(len(inputs)), x.astype(np.uint8), labels)
