import math

import pytest
import torch

from methods.cnn_decomposition.layers import MaskedLayer
from methods.cnn_decomposition.masks import KernelMasks, binarise, size_term


def test_a_mask_is_on_above_zero_and_its_gradient_clipped() -> None:
    mask = torch.sin(torch.arange(8, dtype=torch.float64)).requires_grad_()
    binary = binarise(mask)
    assert binary.tolist() == [0, 1, 1, 1, 0, 0, 0, 1]
    binary.backward(1.3 * torch.cos(2 * torch.arange(8, dtype=torch.float64)))
    expected = torch.tensor([1, -0.540991, -0.849737, 1, -0.189150, -1, 1, 0.177758], dtype=torch.float64)
    torch.testing.assert_close(mask.grad, expected, rtol=0, atol=5e-7)


def test_zero_is_off_and_gets_a_gradient_so_that_a_removed_kernel_can_come_back() -> None:
    mask = torch.zeros(2, requires_grad=True)
    binary = binarise(mask)
    assert binary.tolist() == [0, 0]
    binary.backward(torch.tensor([0.5, -0.25]))
    assert mask.grad is not None
    assert mask.grad.tolist() == [0.5, -0.25]


def test_each_use_of_a_mask_is_clipped_by_itself() -> None:
    per_use = torch.tensor(0.5, requires_grad=True)
    (0.8 * binarise(per_use) + 0.9 * binarise(per_use)).backward()
    once = torch.tensor(0.5, requires_grad=True)
    binary = binarise(once)
    (0.8 * binary + 0.9 * binary).backward()
    assert per_use.grad is not None
    assert once.grad is not None
    assert per_use.grad.item() == pytest.approx(1.7)
    assert once.grad.item() == pytest.approx(1.0)


def test_the_size_term_is_the_share_of_kernels_kept_over_all_layers() -> None:
    masks = [torch.tensor([[1.0, -1.0], [1.0, 1.0]]), torch.tensor([[0.0] * 4, [2.0] * 4])]
    assert size_term(masks).item() == pytest.approx(7 / 12)
    assert size_term(masks[0]).item() == pytest.approx(3 / 4)
    with pytest.raises(ValueError, match="no masks"):
        size_term([])


def test_tied_layers_share_one_mask_and_weigh_double() -> None:
    masks = KernelMasks([MaskedLayer(("a",), 2), MaskedLayer(("b", "d"), 3)], num_modules=2)
    with torch.no_grad():
        masks.vectors[1].fill_(-1)
    assert size_term(masks.listed()).item() == pytest.approx(2 / (2 + 3 + 3))
    gates = masks.gates()
    assert list(gates) == ["a", "b", "d"]
    (gates["b"] * 0.8 + gates["d"] * 0.9).sum().backward()
    assert masks.vectors[1].grad is not None
    assert masks.vectors[1].grad.flatten().tolist() == pytest.approx([1.7] * 6)
    assert [kept.tolist() for kept in masks.kept()] == [[[True] * 2] * 2, [[False] * 3] * 2]


def test_everything_is_kept_at_first() -> None:
    masks = KernelMasks([MaskedLayer(("a",), 5)], num_modules=3)
    assert math.isclose(size_term(masks.listed()).item(), 1.0)
