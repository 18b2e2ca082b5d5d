from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from methods.hypersparse.fused import BracketedSelect, FusedPenalty, select_on_device
from methods.hypersparse.penalty import penalty_gradient


def _parameters(*tensors: Tensor) -> list[nn.Parameter]:
    weights = [nn.Parameter(tensor.clone()) for tensor in tensors]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    return weights


def _random(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) * 0.05 for shape in shapes]


def _assert_equal_to_reference(weights: list[nn.Parameter], kind: str, rate: float, *, strength: float = 1.0) -> None:
    """Against the float64 reference, relative to the largest entry."""
    reference = penalty_gradient([w.detach().double() for w in weights], kind=kind, pruning_rate=rate)  # type: ignore[arg-type]
    largest = max(float(part.abs().max()) for part in reference) or 1.0
    for weight, expected in zip(weights, reference, strict=True):
        assert weight.grad is not None
        assert float((weight.grad.double() / strength - expected).abs().max()) <= 1e-6 * largest


@pytest.mark.parametrize("kind", ["hypersparse", "l1", "l2"])
@pytest.mark.parametrize("rate", [0.0, 0.5, 0.9, 0.995])
def test_it_adds_what_the_reference_formula_gives(kind: str, rate: float) -> None:
    weights = _parameters(*_random((64, 32, 3, 3), (128, 300), (10, 64), (400, 300)))
    FusedPenalty(weights, kind=kind, pruning_rate=rate).add_to_gradients(1.0)  # type: ignore[arg-type]
    _assert_equal_to_reference(weights, kind, rate)


def test_it_stays_equal_while_weights_drift_and_jump() -> None:
    weights = _parameters(*_random((200, 700), (10, 50)))
    fused = FusedPenalty(weights, kind="hypersparse", pruning_rate=0.9)
    for factor in (1.0, 0.999, 0.99, 0.5, 3.0, 1.01):
        with torch.no_grad():
            for weight in weights:
                weight.mul_(factor)
                weight.grad = torch.zeros_like(weight)
        fused.add_to_gradients(1.0)
        _assert_equal_to_reference(weights, "hypersparse", 0.9)


def test_ties_and_zeros_are_handled_as_in_the_reference() -> None:
    t3 = torch.tensor([0, 0, 0, 0.2, -0.2, 0.2, 0.5, -0.5, 1, -2])
    for _ in range(2):
        weights = _parameters(t3[:4], t3[4:].view(2, 3))
        fused = FusedPenalty(weights, kind="hypersparse", pruning_rate=0.5)
        fused.add_to_gradients(1.0)
        fused.add_to_gradients(1.0)
        _assert_equal_to_reference(weights, "hypersparse", 0.5, strength=2.0)
        reading = fused.read()
        assert reading.tau == pytest.approx(0.2)
        assert reading.c == pytest.approx(2.711325, abs=1e-5)


def test_at_zero_threshold_nothing_is_added_and_the_steps_are_counted() -> None:
    weights = _parameters(torch.tensor([0, 0, 0, 0.2, -0.2, 0.2, 0.5, -0.5, 1, -2]))
    fused = FusedPenalty(weights, kind="hypersparse", pruning_rate=0.2)
    for _ in range(3):
        fused.add_to_gradients(1.0)
    assert weights[0].grad is not None
    assert weights[0].grad.tolist() == [0.0] * 10
    reading = fused.read()
    assert (reading.tau, reading.c, reading.skipped_steps) == (0.0, 0.0, 3)


def test_it_adds_to_the_gradient_that_is_there_times_the_strength() -> None:
    (weight,) = _parameters(*_random((30, 30)))
    weight.grad = torch.ones_like(weight)
    FusedPenalty([weight], kind="hypersparse", pruning_rate=0.8).add_to_gradients(0.25)
    (expected,) = penalty_gradient([weight.detach()], kind="hypersparse", pruning_rate=0.8)
    torch.testing.assert_close(weight.grad, 1 + 0.25 * expected, atol=1e-6, rtol=0)


def test_a_layer_without_gradient_gets_one() -> None:
    used, unused = _parameters(*_random((20, 20), (20, 20)))
    unused.grad = None
    FusedPenalty([used, unused], kind="hypersparse", pruning_rate=0.8).add_to_gradients(1.0)
    _assert_equal_to_reference([used, unused], "hypersparse", 0.8)


@pytest.mark.parametrize("grad_format", [torch.channels_last, torch.contiguous_format])
def test_memory_formats_of_weight_and_gradient_do_not_matter(grad_format: torch.memory_format) -> None:
    (values,) = _random((8, 6, 3, 3))
    weight = nn.Parameter(values.contiguous(memory_format=torch.channels_last))
    weight.grad = torch.zeros_like(values).contiguous(memory_format=grad_format)
    FusedPenalty([weight], kind="hypersparse", pruning_rate=0.9).add_to_gradients(1.0)
    _assert_equal_to_reference([weight], "hypersparse", 0.9)


@pytest.mark.parametrize("rate", [0.2, 0.9])
def test_the_path_for_other_devices_gives_the_same(rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = _random((64, 32, 3, 3), (128, 300))
    weights = _parameters(*tensors)
    fused = FusedPenalty(weights, kind="hypersparse", pruning_rate=rate)
    monkeypatch.setattr(fused, "_on_cpu", False)
    monkeypatch.setattr(fused, "_scratch", torch.empty(sum(t.numel() for t in tensors)))
    fused.add_to_gradients(1.0)
    _assert_equal_to_reference(weights, "hypersparse", rate)
    for weight in weights:
        weight.data.zero_()
        weight.grad = torch.zeros_like(weight)
    fused.add_to_gradients(1.0)
    _assert_equal_to_reference(weights, "hypersparse", rate)
    assert fused.read().skipped_steps == 1


@pytest.mark.gpu
def test_on_a_gpu_it_adds_the_same_without_waiting() -> None:
    weights = _parameters(*(t.cuda() for t in _random((64, 32, 3, 3), (1280, 300))))
    fused = FusedPenalty(weights, kind="hypersparse", pruning_rate=0.9)
    torch.cuda.set_sync_debug_mode("error")
    try:
        fused.add_to_gradients(1.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    _assert_equal_to_reference(weights, "hypersparse", 0.9)


@settings(deadline=None, max_examples=60)
@given(
    values=st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=60),
    share=st.floats(0, 1, exclude_max=True),
    block=st.integers(1, 16),
    drift=st.floats(0.5, 1.5),
)
def test_selection_is_exact_whatever_the_values(values: list[float], share: float, block: int, drift: float) -> None:
    x = torch.tensor(values, dtype=torch.float32)
    rank = int(share * len(x))
    select = BracketedSelect(torch.empty(min(block, len(x))))
    for moved in (x, x * drift, x):
        expected = float(moved.abs().sort().values[rank])
        assert select(moved, rank) == expected
        assert float(select_on_device(moved.abs(), rank)) == expected


def test_selection_over_all_is_the_exception() -> None:
    (x,) = _random((300_000,))
    select = BracketedSelect(torch.empty(65_536))
    for step in range(20):
        assert select(x * 0.998**step, 270_000) > 0
    assert select.full_selections == 1


def test_weights_in_half_precision_are_refused() -> None:
    with pytest.raises(ValueError, match="float32 master weights"):
        FusedPenalty([torch.zeros(3, dtype=torch.bfloat16)], kind="l1", pruning_rate=0.5)
