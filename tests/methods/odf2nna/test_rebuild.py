"""Rebuilding by the worked check values, and what folding promises."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.odf2nna.rebuild import Transfer, parameter_count, rebuild
from methods.odf2nna.usefulness import keep_units, unit_usefulness
from tests.methods.odf2nna.worked import forward, layers, rows

WEIGHTS, BIASES = layers()
HIDDEN, OUTPUT = forward(WEIGHTS, BIASES, rows())


def _rebuilt(epsilon: float, transfer: Transfer) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
    keep = keep_units([unit_usefulness(hidden) for hidden in HIDDEN], epsilon=epsilon)
    weights, biases = rebuild(WEIGHTS, BIASES, keep, transfer=transfer, inputs=rows())
    return weights, biases, forward(weights, biases, rows())[1]


def _deviation(output: torch.Tensor) -> float:
    return float((output - OUTPUT).abs().max())


def _widths(weights: list[torch.Tensor]) -> list[int]:
    return [weights[0].shape[1], *(len(weight) for weight in weights)]


@pytest.mark.parametrize(
    ("epsilon", "transfer", "parameters", "deviation"),
    [
        (0.3, "slice", 26, 0.162847),
        (0.3, "fold", 26, 0.0),
        (0.45, "slice", 20, 1.484482),
        (0.45, "fold", 20, 1.114881),
        (0.45, "fold_sequential", 20, 1.114881),
        (1.0, "slice", 10, 3.256178),
        (1.0, "fold", 10, 2.100517),
        (1.0, "fold_sequential", 10, 2.225994),
    ],
)
def test_deviation_of_the_worked_network(epsilon: float, transfer: Transfer, parameters: int, deviation: float) -> None:
    weights, _, output = _rebuilt(epsilon, transfer)
    assert parameter_count(_widths(weights)) == parameters
    assert _deviation(output) == pytest.approx(deviation, abs=1e-6 if deviation else 1e-14)


def test_biases_of_the_worked_network() -> None:
    def close(found: torch.Tensor, expected: list[float]) -> bool:
        return torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=1e-6)

    assert close(_rebuilt(0.3, "slice")[1][1], [0.05, 0.1])
    assert close(_rebuilt(0.3, "slice")[2][0], [0.243300, -0.016398])
    assert close(_rebuilt(0.3, "fold")[1][1], [-0.285598, 0.306864])
    for transfer in ("fold", "fold_sequential"):
        _, biases, output = _rebuilt(0.45, transfer)  # type: ignore[arg-type]
        assert close(biases[1], [-0.013629, 0.550509])
        assert close(output[0], [0.625922, 0.149709])
    _, biases, _ = _rebuilt(1.0, "fold")
    assert [close(*pair) for pair in zip(biases, [[0.1], [0.911047], [0.480839, 0.204899]], strict=True)] == [True] * 3
    assert close(_rebuilt(1.0, "fold_sequential")[1][2], [0.355361, 0.104442])


@pytest.mark.parametrize(
    ("widths", "count"),
    [
        ([784, 512, 512, 512, 10], 932_362),
        ([784, 256, 256, 256, 10], 335_114),
        ([30, 128, 128, 128, 2], 37_250),
        ([3, 4, 3, 2], 39),
    ],
)
def test_parameter_counts(widths: list[int], count: int) -> None:
    assert parameter_count(widths) == count


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_folding_constant_units_is_exact_and_keeping_all_changes_nothing(seed: int, hidden: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    widths = [3, *(width + 1 for width in hidden), 2]
    weights = [torch.randn(b, a, dtype=torch.float64, generator=generator) for a, b in pairwise(widths)]
    biases = [torch.randn(width, dtype=torch.float64, generator=generator) for width in widths[1:]]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        weight[-1] = 0  # the last unit of each hidden layer is a constant
        bias[-1] = 0.3
    inputs = torch.randn(20, 3, dtype=torch.float64, generator=generator)
    before = forward(weights, biases, inputs)[1]
    keep = [torch.arange(width) < width - 1 for width in widths[1:-1]]
    for transfer in ("fold", "fold_sequential"):
        smaller = rebuild(weights, biases, keep, transfer=transfer, inputs=inputs)  # type: ignore[arg-type]
        assert torch.allclose(forward(*smaller, inputs)[1], before, atol=1e-12)
    everything = [torch.ones(width, dtype=torch.bool) for width in widths[1:-1]]
    same = rebuild(weights, biases, everything, transfer="fold", inputs=inputs)
    assert all(torch.equal(one, other) for one, other in zip(same[0] + same[1], weights + biases, strict=True))


def test_what_does_not_fit_is_refused_in_words() -> None:
    keep = [torch.ones(4, dtype=torch.bool), torch.ones(3, dtype=torch.bool)]
    with pytest.raises(ValueError, match="give `inputs`"):
        rebuild(WEIGHTS, BIASES, keep, transfer="fold")
    with pytest.raises(ValueError, match="one keep-set per hidden layer"):
        rebuild(WEIGHTS, BIASES, keep[:1])
    with pytest.raises(ValueError, match=r"keep\[1\] is torch.float32"):
        rebuild(WEIGHTS, BIASES, [keep[0], torch.ones(3)])
    with pytest.raises(ValueError, match="drops every unit of hidden layer 0"):
        rebuild(WEIGHTS, BIASES, [~keep[0], keep[1]])
    with pytest.raises(ValueError, match="do not follow on the layer before"):
        rebuild([WEIGHTS[0], WEIGHTS[2], WEIGHTS[1]], BIASES, keep)
