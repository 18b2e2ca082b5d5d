"""Ticks are round, few, told apart by their labels, and inside the axis."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.report.ticks import in_powers, linear_ticks, log_ticks, scale_of, short_number


def _labels(low: float, high: float, **more: bool) -> list[str]:
    return [label for _, label in linear_ticks(low, high, **more)]


def test_linear_ticks_are_round_and_share_their_decimals() -> None:
    assert _labels(0.93, 1.0) == ["0.93", "0.94", "0.95", "0.96", "0.97", "0.98", "0.99", "1.00"]
    assert _labels(-0.1, 1.1) == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert _labels(1, 3) == ["1.0", "1.5", "2.0", "2.5", "3.0"]


def test_whole_numbers_get_whole_ticks() -> None:
    assert _labels(1, 3, whole=True) == ["1", "2", "3"]
    assert _labels(0.9, 11.1, whole=True) == ["2", "4", "6", "8", "10"]


def test_numbers_that_would_be_long_are_written_in_powers() -> None:
    assert _labels(0, 5e-5) == ["0", "10⁻⁵", "2·10⁻⁵", "3·10⁻⁵", "4·10⁻⁵", "5·10⁻⁵"]
    assert _labels(1.2e6, 1.204e6) == ["1.2·10⁶", "1.201·10⁶", "1.202·10⁶", "1.203·10⁶", "1.204·10⁶"]


@given(low=st.floats(-1e9, 1e9), span=st.floats(1e-6, 1e9))
def test_linear_ticks_lie_on_the_axis_and_their_labels_differ(low: float, span: float) -> None:
    high = low + max(span, 1e-6 * abs(low))
    ticks = linear_ticks(low, high)
    assert 3 <= len(ticks) <= 11
    assert len({label for _, label in ticks}) == len(ticks)
    assert all(low - 1e-6 * (high - low) <= place <= high + 1e-6 * (high - low) for place, _ in ticks)


def test_log_ticks_are_1_2_5_then_powers_then_some_powers() -> None:
    assert log_ticks(0.03, 1.0) == pytest.approx([0.05, 0.1, 0.2, 0.5, 1.0])
    assert log_ticks(1e-5, 1.0) == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0])
    assert [math.log10(tick) for tick in log_ticks(1e-12, 1e2, most=8)] == pytest.approx(range(-12, 3, 2))


def test_numbers_in_powers_and_short() -> None:
    assert [in_powers(value) for value in (0, 1e-6, -2e7, 1.25e12)] == ["0", "10⁻⁶", "-2·10⁷", "1.25·10¹²"]
    assert [short_number(value) for value in (0.0, 0.12345, 1234.4, 2e-7)] == ["0", "0.123", "1234", "2·10⁻⁷"]


def test_a_scale_shows_every_value_with_room_and_no_less_than_zero_for_nothing() -> None:
    scale = scale_of([0.0, 0.5, 1.0])
    assert (scale.low, scale.high) == pytest.approx((0.0, 1.05))
    assert scale.share(0.525) == pytest.approx(0.5)
    assert scale_of([-1.0, 1.5]).low < -1
    assert scale_of([3.5, 4.5], from_zero=True).low == 0.0


@pytest.mark.parametrize("values", [[], [0.0], [0.9, 0.9], [5.0], [-3.0], [1e-9]])
@pytest.mark.parametrize("log", [False, True])
def test_a_scale_of_one_value_or_none_can_be_drawn(values: list[float], log: bool) -> None:
    scale = scale_of([value for value in values if value > 0 or not log], log=log)
    assert scale.low < scale.high
    assert scale.ticks(most=8)
    assert all(0 <= scale.share(value) <= 1 for value in values if value > 0 or not log)


def test_a_log_scale_of_less_than_a_decade_is_labelled_in_round_steps() -> None:
    labels = [label for _, label in scale_of([2.2, 4.4], log=True).ticks(most=8)]
    assert labels == ["2.0", "2.5", "3.0", "3.5", "4.0", "4.5"]


def test_a_log_scale_is_labelled_in_one_way_throughout() -> None:
    assert [label for _, label in scale_of([0.01, 1.0], log=True).ticks(most=8)][:3] == ["0.01", "0.02", "0.05"]
    assert [label for _, label in scale_of([1e-8, 1.0], log=True).ticks(most=12)][-2:] == ["10⁻¹", "10⁰"]
