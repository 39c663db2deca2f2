"""Seeds are stable, independent, and leave the global random state alone."""

import numpy as np
import pytest
import torch

from mialab.seeds import derive, forked, generator


def test_derived_seeds_are_the_same_on_every_machine():
    # Recorded once: a change here would change every recorded result.
    assert derive(0) == 6197007067532723406
    assert derive(7, "shadow", 3) == 3587259596657839628


def test_roles_indices_and_their_order_give_different_seeds():
    names = [(), ("a",), ("b",), ("a", 1), ("a", "1"), (1, "a"), ("a1",), ("a", 1, 0)]
    seeds = [derive(seed, *name) for seed in (0, 1, -1, 2**70) for name in names]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_numpy_integers_derive_like_pythons():
    assert derive(np.int64(3), "a", np.int32(2)) == derive(3, "a", 2)


def test_a_fractional_seed_is_refused():
    with pytest.raises(TypeError):
        derive(0.5)


def test_generators_of_one_name_repeat_and_of_two_names_differ():
    draws = [torch.rand(4, generator=generator(0, name)) for name in ("a", "a", "b")]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_forking_repeats_inside_and_changes_nothing_outside():
    before = torch.get_rng_state()
    with forked(5):
        first = torch.rand(3)
    with forked(5):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_forking_restores_the_global_state_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="on purpose"), forked(5):
        torch.rand(3)
        raise RuntimeError("on purpose")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_forking_covers_the_cuda_generator():
    before = torch.cuda.get_rng_state()
    with forked(5, "cuda"):
        first = torch.rand(3, device="cuda")
    with forked(5, "cuda"):
        assert torch.equal(torch.rand(3, device="cuda"), first)
    assert torch.equal(torch.cuda.get_rng_state(), before)
