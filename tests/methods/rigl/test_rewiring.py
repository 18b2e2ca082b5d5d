from __future__ import annotations

import torch

from methods.rigl.rewiring import rewire

WEIGHT = torch.tensor([[0.9, -0.1, 0.5], [0.0, 0.0, 0.0]])
MASK = torch.tensor([[True, True, True], [False, False, False]])


def test_the_smallest_living_weight_gives_way_to_the_largest_gradient() -> None:
    gradient = torch.tensor([[0.0, 0.05, 9.0], [0.3, -0.7, 0.2]])
    found = rewire(WEIGHT, gradient, MASK, living=3, replaced=1)
    assert found.tolist() == [[True, False, True], [False, True, False]]
    found = rewire(WEIGHT, gradient, MASK, living=3, replaced=2)
    assert found.tolist() == [[True, False, True], [False, True, False]], "9.0 brings the dropped 0.5 back"
    found = rewire(WEIGHT, gradient, MASK, living=3, replaced=3)
    assert found.tolist() == [[False, False, True], [True, True, False]]


def test_a_dropped_weight_stays_after_all_where_its_gradient_is_the_largest() -> None:
    gradient = torch.tensor([[0.0, -0.8, 0.0], [0.3, -0.7, 0.2]])
    assert torch.equal(rewire(WEIGHT, gradient, MASK, living=3, replaced=1), MASK)


def test_nothing_to_replace_and_nothing_alive_change_nothing() -> None:
    gradient = torch.ones(2, 3)
    assert torch.equal(rewire(WEIGHT, gradient, MASK, living=3, replaced=0), MASK)
    empty = torch.zeros_like(MASK)
    assert torch.equal(rewire(torch.zeros(2, 3), gradient, empty, living=0, replaced=0), empty)


def test_living_weights_of_zero_are_dropped_before_those_with_a_value_and_none_is_lost() -> None:
    weight = torch.tensor([0.0, 2.0, 0.0, 0.0])
    mask = torch.tensor([True, True, False, False])
    found = rewire(weight, torch.zeros(4), mask, living=2, replaced=1)
    assert bool(found[1])
    assert int(found.sum()) == 2


def test_layers_laid_out_channels_last_are_read_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, gradient = torch.randn(2, 4, 3, 3, 3, generator=generator)
    mask = torch.rand(4, 3, 3, 3, generator=generator) < 0.3
    living = int(mask.sum())
    plain = rewire(weight * mask, gradient, mask, living=living, replaced=living // 3)
    last = [tensor.contiguous(memory_format=torch.channels_last) for tensor in (weight * mask, gradient, mask)]
    found = rewire(*last, living=living, replaced=living // 3)
    assert torch.equal(found, plain)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert int(found.sum()) == living
