"""Usefulness by the worked check values, in one piece and streamed."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.odf2nna.usefulness import (
    StreamingMoments,
    balanced_mean_and_std,
    emptied,
    keep_units,
    unit_usefulness,
)
from tests.methods.odf2nna.worked import forward, layers, rows

WEIGHTS, BIASES = layers()
HIDDEN, OUTPUT = forward(WEIGHTS, BIASES, rows())


def _close(found: torch.Tensor, expected: list[float]) -> bool:
    return torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=1e-6)


def test_the_worked_network_is_the_specified_one() -> None:
    assert _close(OUTPUT[0], [0.393159, 0.039192])
    assert _close(OUTPUT[2], [3.761612, 2.054103])


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ({}, [0.401469, 0.511192, 0.638673, 0], [0, 0.482555, 0.997046]),
        ({"relative": True}, [0.628599, 0.800398, 1, 0], [0, 0.483984, 1]),
        ({"statistic": "range"}, [0.921090, 1.094667, 1.787071, 0], [0, 1.335152, 2.491786]),
        ({"outgoing": True}, [0.553885, 0.609152, 0.650878, 0], [0, 0.590543, 1.054429]),
        ({"outgoing": True, "relative": True}, [0.850982, 0.935893, 1, 0], [0, 0.560060, 1]),
    ],
)
def test_usefulness_of_the_worked_network(kind: dict[str, object], first: list[float], second: list[float]) -> None:
    for layer, expected in enumerate((first, second)):
        arguments = dict(kind)
        if arguments.pop("outgoing", False):
            arguments["outgoing"] = WEIGHTS[layer + 1]
        assert _close(unit_usefulness(HIDDEN[layer], **arguments), expected)  # type: ignore[arg-type]


def test_streamed_moments_of_the_worked_network() -> None:
    moments = StreamingMoments()
    for batch in torch.split(HIDDEN[0], 4):
        moments.update(batch)
    assert _close(moments.mean, [0.282255, 0.361443, 0.481608, 0.7])
    assert _close(moments.std, [0.401469, 0.511192, 0.638673, 0])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 10_000), st.floats(-1e6, 1e6))
def test_moments_do_not_depend_on_how_rows_are_batched_or_merged(sizes: list[int], seed: int, offset: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn(sum(sizes), 3, dtype=torch.float64, generator=generator) + offset
    streamed, merged = StreamingMoments(), StreamingMoments()
    for batch in torch.split(data, sizes):
        streamed.update(batch)
        part = StreamingMoments()
        part.update(batch)
        merged.merge(part)
    for moments in (streamed, merged):
        assert moments.count == len(data)
        assert torch.allclose(moments.mean, data.mean(dim=0), rtol=1e-12, atol=1e-9)
        assert torch.allclose(moments.std, data.std(dim=0, correction=0), rtol=1e-6, atol=1e-9)
        assert torch.equal(moments.range, data.max(dim=0).values - data.min(dim=0).values)


def test_a_far_off_mean_does_not_cancel_the_deviation() -> None:
    data = torch.tensor([[1e8], [1e8 + 1], [1e8 + 2]], dtype=torch.float64)
    moments = StreamingMoments()
    for row in data:
        moments.update(row[None])
    assert float(moments.std) == pytest.approx(math.sqrt(2 / 3), rel=1e-9)


def test_balanced_moments_are_those_of_repeated_rows() -> None:
    generator = torch.Generator().manual_seed(1)
    rare, common = (torch.randn(n, 4, dtype=torch.float64, generator=generator) for n in (2, 10))
    parts = [StreamingMoments(), StreamingMoments(), StreamingMoments()]
    parts[0].update(rare + 3)
    parts[1].update(common)
    mean, std = balanced_mean_and_std(parts)
    repeated = torch.cat([(rare + 3).repeat(5, 1), common])
    assert torch.allclose(mean, repeated.mean(dim=0))
    assert torch.allclose(std, repeated.std(dim=0, correction=0))


def test_keeping_units_of_the_worked_network() -> None:
    usefulness = [unit_usefulness(hidden) for hidden in HIDDEN]
    as_lists = [[keep.tolist() for keep in keep_units(usefulness, epsilon=epsilon)] for epsilon in (0.3, 0.45, 1.0)]
    assert as_lists[0] == [[True, True, True, False], [False, True, True]]
    assert as_lists[1] == [[False, True, True, False], [False, True, True]]
    assert as_lists[2] == [[False, False, True, False], [False, False, True]]
    assert emptied(usefulness, epsilon=1.0) == [(0, 2), (1, 2)]
    assert emptied(usefulness, epsilon=0.3) == []


def test_epsilon_zero_drops_constants_alone_and_the_comparison_is_strict() -> None:
    usefulness = [torch.tensor([1e-16, 0.5, 0.25], dtype=torch.float64)]
    assert keep_units(usefulness, epsilon=0)[0].tolist() == [False, True, True]
    assert keep_units(usefulness, epsilon=0.25)[0].tolist() == [False, True, False]


def test_of_equally_useful_units_of_an_emptied_layer_the_first_stays() -> None:
    assert keep_units([torch.tensor([0.2, 0.3, 0.3])], epsilon=1)[0].tolist() == [False, True, False]


@pytest.mark.parametrize("epsilon", [-0.1, math.nan, math.inf])
def test_an_epsilon_that_is_no_tolerance_is_refused(epsilon: float) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        keep_units([torch.ones(2)], epsilon=epsilon)


def test_bad_activations_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="unit 1 are not finite"):
        unit_usefulness(torch.tensor([[0.0, math.nan]]))
    with pytest.raises(ValueError, match="no rows"):
        unit_usefulness(torch.empty(0, 3))
    with pytest.raises(ValueError, match="for 2 units"):
        unit_usefulness(torch.ones(3, 2), outgoing=torch.ones(2, 5))
    with pytest.raises(ValueError, match=r"give \(rows, units\)"):
        StreamingMoments().update(torch.ones(3))


def test_scaling_a_layer_up_and_the_next_down_changes_no_contribution() -> None:
    outgoing = WEIGHTS[1]
    before = unit_usefulness(HIDDEN[0], outgoing=outgoing)
    after = unit_usefulness(HIDDEN[0] * 8, outgoing=outgoing / 8)
    assert torch.allclose(before, after)
