from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from methods.activation_driven.losses import activation_losses, pool, pooled_losses, require_relu
from tests.methods.activation_driven.reference import by_pairs, relu_outputs

BOTH_TYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


def _up_to(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float64)


def _grid(*sizes: int) -> list[Tensor]:
    return list(torch.meshgrid(*[_up_to(size) for size in sizes], indexing="ij"))


def _case_a() -> tuple[list[Tensor], list[int]]:
    i, j = _grid(4, 3)
    return [torch.sin(i + 2 * j)], [0, 0, 1, 1]


def _case_b() -> tuple[list[Tensor], list[int]]:
    i, j = _grid(6, 4)
    return [torch.cos(i * (j + 1)).relu()], [0, 1, 0, 2, 1, 0]


def _case_c() -> tuple[list[Tensor], list[int]]:
    i, c, h, w = _grid(5, 3, 2, 2)
    return [torch.sin(i * (c + 1) + 3 * h + 5 * w) * (1 + (i + c) % 3)], [2, 0, 2, 0, 2]


def _case_d() -> tuple[list[Tensor], list[int]]:
    i, c, h, w = _grid(5, 3, 2, 3)
    maps = torch.sin(i + 2 * c + h * (i + 1) + w * (c + 1)).relu()
    i, j = _grid(5, 6)
    vectors = torch.sin(1 + i * (j + 2)).relu()
    vectors[3] = 0
    return [maps, vectors], [1, 1, 0, 0, 1]


def _shifted_sines() -> list[Tensor]:
    i, j = _grid(3, 3)
    return [torch.sin(i + 2 * j) + 1]


CASES = {
    "A": (*_case_a(), (0.483268, -0.289098, 0.609180)),
    "B": (*_case_b(), (0.701015, 0.347133, 0.368337)),
    "C": (*_case_c(), (0.245144, 0.820350, 1.300378)),
    "D": (*_case_d(), (0.405410, 0.609080, 0.340714)),
    "no two of one class": (_shifted_sines(), [0, 1, 2], (0.0, 0.762614, 1.005471)),
    "one class": (_shifted_sines(), [0, 0, 0], (0.237386, 0.0, 1.005471)),
}
"""Activations, labels, and what the published code computes in float64; it has NaN where these have 0."""


def _values(losses: Sequence[Tensor]) -> list[float]:
    return [float(loss.detach()) for loss in losses]


def _gradients(losses: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Of a sum in which no two terms count alike, so that none stands in for another."""
    total = losses[0] + 2 * losses[1] + 3 * losses[2]
    return list(torch.autograd.grad(total, list(inputs)))


@BOTH_TYPES
@pytest.mark.parametrize("num_classes", [None, 3, 50])
@pytest.mark.parametrize("name", CASES)
def test_losses_are_those_of_the_published_code(name: str, dtype: torch.dtype, num_classes: int | None) -> None:
    activations, labels, expected = CASES[name]
    given_ = [activation.to(dtype) for activation in activations]
    losses = activation_losses(activations=given_, labels=torch.tensor(labels), num_classes=num_classes)
    assert _values(losses) == pytest.approx(list(expected), abs=1.5e-6)
    assert all(loss.dtype == dtype and loss.dim() == 0 for loss in losses)


def test_the_whole_objective_of_the_published_code() -> None:
    activations, labels, _ = CASES["D"]
    i, k = _grid(5, 2)
    cross_entropy = float(F.cross_entropy(torch.sin(i + 3 * k), torch.tensor(labels)))
    affinity, dispersion, compactness = _values(activation_losses(activations, torch.tensor(labels)))
    assert cross_entropy == pytest.approx(0.654729, abs=1e-6)
    assert cross_entropy + affinity + dispersion + 0.3 * compactness == pytest.approx(1.771434, abs=2e-6)


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=9),
    seed=st.integers(0, 10_000),
    numbered=st.booleans(),
    signed=st.booleans(),
)
def test_the_closed_form_equals_the_sum_over_pairs(labels: list[int], seed: int, numbered: bool, signed: bool) -> None:
    activations = relu_outputs(len(labels), seed=seed)
    num_classes = 5 if numbered else None
    losses = activation_losses(activations, torch.tensor(labels), signed=signed, num_classes=num_classes)
    expected = by_pairs(activations, labels)
    assert _values(losses) == pytest.approx(_values(expected), abs=1e-12)
    for found, wanted, activation in zip(
        _gradients(losses, activations), _gradients(expected, activations), activations, strict=True
    ):
        # Taking magnitudes passes nothing back at 0, nor does the ReLU in front of it when they are not taken. Rows of
        # zeros are left out: there the gradient is 1e12 times a value that both forms round differently.
        passed = (activation > 0) & (activation.flatten(1).sum(dim=1) > 0).view(-1, *[1] * (activation.dim() - 1))
        assert torch.allclose(found[passed], wanted[passed], rtol=1e-9, atol=1e-12)


def test_the_order_of_samples_does_not_matter() -> None:
    activations, labels = relu_outputs(8), torch.tensor([0, 1, 0, 2, 1, 1, 0, 3])
    order = torch.randperm(8, generator=torch.Generator().manual_seed(3))
    shuffled = activation_losses([activation[order] for activation in activations], labels[order])
    assert _values(shuffled) == pytest.approx(_values(activation_losses(activations, labels)), abs=1e-14)


def test_the_names_of_classes_do_not_matter() -> None:
    activations, labels = relu_outputs(6), torch.tensor([0, 1, 0, 2, 1, 1])
    renamed = torch.tensor([7, -4, 10**12])[labels]
    assert _values(activation_losses(activations, renamed)) == _values(activation_losses(activations, labels))


def test_the_size_of_a_sample_s_activations_counts_in_compactness_alone() -> None:
    activations, labels = relu_outputs(6), torch.tensor([0, 1, 0, 2, 1, 1])
    factors = torch.tensor([1e-3, 1.0, 7.0, 2.0, 300.0, 0.5], dtype=torch.float64)
    scaled = [activation * factors.view(-1, *[1] * (activation.dim() - 1)) for activation in activations]
    before, after = activation_losses(activations, labels), activation_losses(scaled, labels)
    assert _values(after)[:2] == pytest.approx(_values(before)[:2], abs=1e-12)
    assert _values(after)[2] != pytest.approx(_values(before)[2])


def test_losses_of_relu_outputs_lie_in_their_ranges_at_the_extremes() -> None:
    apart = torch.tensor([[2.0, 0.0], [5.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    assert _values(activation_losses([apart], torch.tensor([0, 0, 1, 1]))) == pytest.approx([0, 0, 11 / 8], abs=1e-6)
    assert _values(activation_losses([apart], torch.tensor([0, 1, 0, 1]))) == pytest.approx([1, 0.5, 11 / 8], abs=1e-6)


@BOTH_TYPES
def test_gradients_are_finite_in_every_degenerate_batch(dtype: torch.dtype) -> None:
    for labels in ([0], [1, 1], [0, 1], [0, 0, 1, 2, 2]):
        for silent in (False, True):
            before_relu = [
                (activation.detach() - (10.0 if silent else 0.0)).requires_grad_()
                for activation in relu_outputs(len(labels), dtype=dtype)
            ]
            losses = activation_losses([activation.relu() for activation in before_relu], torch.tensor(labels))
            gradients = _gradients(losses, before_relu)
            assert all(bool(gradient.isfinite().all()) for gradient in gradients)
            if silent:
                assert all(bool((gradient == 0).all()) for gradient in gradients), "ReLU passes nothing back at 0"


def test_a_single_sample_has_no_pairs() -> None:
    assert _values(activation_losses(relu_outputs(1), torch.tensor([3])))[:2] == [0, 0]


def test_a_row_of_zeros_is_similar_to_no_other() -> None:
    rows = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    affinity, dispersion, _ = _values(activation_losses([rows], torch.tensor([0, 0, 0])))
    assert affinity == pytest.approx(2 / 3)
    assert dispersion == 0
    assert _values(activation_losses([rows], torch.tensor([0, 1, 0])))[:2] == pytest.approx([0, 0], abs=1e-12)


def test_shorter_vectors_than_epsilon_are_divided_by_epsilon() -> None:
    rows = torch.tensor([[3e-13, 0.0], [1.0, 0.0]], dtype=torch.float64)
    assert float(activation_losses([rows], torch.tensor([0, 0])).affinity) == pytest.approx(1 - 0.3)


def test_gradients_agree_with_finite_differences() -> None:
    labels = torch.tensor([0, 1, 0, 2, 1])
    generator = torch.Generator().manual_seed(0)
    maps = (torch.rand(5, 3, 2, 3, generator=generator, dtype=torch.float64) + 0.1).requires_grad_()
    vectors = (torch.rand(5, 4, generator=generator, dtype=torch.float64) + 0.1).requires_grad_()
    for layout in (torch.contiguous_format, torch.channels_last):
        for signed in (True, False):

            def losses(
                maps: Tensor, vectors: Tensor, layout: torch.memory_format = layout, signed: bool = signed
            ) -> tuple[Tensor, ...]:
                return activation_losses([maps.contiguous(memory_format=layout), vectors], labels, signed=signed)

            assert torch.autograd.gradcheck(losses, (maps, vectors))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_pooling_is_the_mean_in_float32_or_wider_in_value_and_gradient(
    dtype: torch.dtype, layout: torch.memory_format
) -> None:
    generator = torch.Generator().manual_seed(0)
    # Of a size that a CPU pools in several blocks, the last of them smaller.
    maps = torch.randn(21, 32, 24, 32, generator=generator).relu().to(dtype).contiguous(memory_format=layout)
    maps.requires_grad_()
    weight = torch.randn(21, 32, generator=generator)
    pooled = pool(maps, signed=False)
    (gradient,) = torch.autograd.grad((pooled * weight).sum(), maps)
    exact = maps.detach().double().mean(dim=(2, 3))
    assert pooled.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.allclose(pooled.double(), exact, rtol=1e-6 if dtype != torch.float64 else 1e-12, atol=0)
    wanted = (weight.to(pooled.dtype) / (24 * 32)).to(dtype)[:, :, None, None].expand_as(maps)
    assert torch.equal(gradient, wanted)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_of_pooling_joins_that_of_the_other_readers_of_a_map(layout: torch.memory_format) -> None:
    def gradient(pooling: Any) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        before = torch.randn(4, 3, 5, 6, generator=generator, dtype=torch.float64).contiguous(memory_format=layout)
        before.requires_grad_()
        maps = (2 * before).relu()
        total = maps.square().sum() + (pooling(maps) ** 3).sum() + maps.sin().sum()
        return torch.autograd.grad(total, before)[0]

    plain = gradient(lambda maps: maps.mean(dim=(2, 3)))
    assert torch.allclose(gradient(lambda maps: pool(maps, signed=False)), plain, rtol=0, atol=1e-12)
    assert torch.allclose(gradient(pool), plain, rtol=0, atol=1e-12)


def test_autocast_lowers_the_precision_of_nothing() -> None:
    activations, labels = relu_outputs(8, dtype=torch.float32), torch.tensor([0, 1, 0, 2, 1, 1, 0, 3])
    plain = activation_losses(activations, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = activation_losses(activations, labels)
    assert _values(cast) == _values(plain)
    assert all(loss.dtype == torch.float32 for loss in cast)


def test_half_precision_activations_are_reduced_in_float32() -> None:
    activations = [activation.detach().bfloat16() for activation in relu_outputs(8, dtype=torch.float32)]
    labels = [0, 1, 0, 2, 1, 1, 0, 3]
    losses = activation_losses(activations, torch.tensor(labels))
    expected = by_pairs([activation.double() for activation in activations], labels)
    assert _values(losses) == pytest.approx(_values(expected), abs=1e-6)


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The names of all operations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def _operations(widths: Sequence[int], num_classes: int | None) -> list[str]:
    generator = torch.Generator().manual_seed(0)
    pooled = torch.rand(6, sum(widths), generator=generator, requires_grad=True)
    labels = torch.tensor([0, 1, 0, 2, 1, 1])
    pooled_losses(pooled, labels, widths=widths, num_classes=num_classes)
    with _Operations() as operations:
        sum(pooled_losses(pooled, labels, widths=widths, num_classes=num_classes)).backward()
    return operations.names


@pytest.mark.parametrize("num_classes", [None, 3])
def test_no_operation_makes_the_host_wait_and_layers_add_none(num_classes: int | None) -> None:
    few, many = _operations([4, 4], num_classes), _operations([4] * 30 + [7, 9], num_classes)
    assert few == many
    waiting = re.compile("_local_scalar_dense|nonzero|is_nonzero|unique|equal|masked_select|aten.index.Tensor")
    assert not [name for name in few if waiting.search(name)]


def test_labels_that_are_no_class_indices_are_refused() -> None:
    activations = relu_outputs(3)
    for labels in (torch.full((3, 2), 0.5), torch.tensor([0.0, 1.0, 0.5]), torch.zeros(3, 2, dtype=torch.int64)):
        with pytest.raises(ValueError, match="soft labels"):
            activation_losses(activations, labels)


def test_input_that_does_not_fit_is_refused_by_name() -> None:
    labels = torch.tensor([0, 1, 1])
    with pytest.raises(ValueError, match="at least one ReLU"):
        activation_losses([], labels)
    with pytest.raises(ValueError, match=r"activations\[1\] holds 4 samples, but there are 3 labels"):
        activation_losses([torch.rand(3, 2), torch.rand(4, 2)], labels)
    with pytest.raises(ValueError, match=r"float32 of shape \(3, 2, 2\)"):
        activation_losses([torch.rand(3, 2, 2)], labels)
    with pytest.raises(ValueError, match="int64"):
        pool(torch.ones(3, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="at least one sample"):
        activation_losses([torch.rand(0, 2)], labels[:0])
    with pytest.raises(ValueError, match=r"pass \(B, 5\)"):
        pooled_losses(torch.rand(3, 4), labels, widths=[2, 3])
    with pytest.raises(ValueError, match="3 pooled activations and 2 labels"):
        pooled_losses(torch.rand(3, 4), labels[:2], widths=[4])


def test_activations_of_no_relu_are_refused_by_their_place() -> None:
    require_relu([])
    require_relu(relu_outputs(3))
    with pytest.raises(ValueError, match=r"activations\[1\] holds values below 0, the least is -0.25"):
        require_relu([torch.zeros(2, 2), torch.tensor([[1.0, -0.25]]), torch.zeros(1, 1)])
