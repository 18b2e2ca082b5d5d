"""Intervals, paired tests and corrections against known answers and by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from orchestrator.statistics import estimate, holm, interval_kind, paired_p_value, t_reach


def _coverage(n: int, *, repeats: int) -> float:
    draws = np.random.default_rng(11).normal(loc=0.9, scale=0.01, size=(repeats, n))
    intervals = [estimate(sample.tolist()) for sample in draws]
    return sum(e.low is not None and e.high is not None and e.low <= 0.9 <= e.high for e in intervals) / repeats


@pytest.mark.parametrize(("n", "repeats"), [(3, 1_000), (10, 1_000)])
def test_intervals_hold_the_true_mean_as_often_as_they_say(n: int, repeats: int) -> None:
    # A plain bootstrap has 0.75 and 0.90 here; the standard error of the simulation is 0.007.
    assert _coverage(n, repeats=repeats) == pytest.approx(0.95, abs=0.025)


def test_three_values_get_students_interval() -> None:
    found = estimate([0.90, 0.91, 0.92])
    assert found.kind == "t"
    assert found.std == pytest.approx(0.01)
    # t(0.975, 2) = 4.30265; half width = 4.30265 * 0.01 / sqrt(3).
    assert (found.low, found.high) == (pytest.approx(0.885159, abs=1e-6), pytest.approx(0.934841, abs=1e-6))


def test_many_values_get_a_bootstrap_interval_that_is_the_same_every_time_and_in_every_order() -> None:
    values = np.random.default_rng(0).exponential(size=12).tolist()
    found = estimate(values)
    assert found.kind == interval_kind(12) == "bootstrap"
    again = estimate(values[::-1])
    assert (again.low, again.high) == (found.low, found.high)
    assert found.low is not None
    assert found.high is not None
    assert min(values) < found.low < found.mean < found.high < max(values)


def test_one_value_has_no_interval() -> None:
    found = estimate([0.9])
    assert (found.mean, found.std, found.low, found.high, found.kind) == (0.9, None, None, None, "none")
    assert paired_p_value(found) is None


@pytest.mark.parametrize("n", [2, 3, 9])
def test_equal_values_have_no_spread_and_a_point_as_interval(n: int) -> None:
    found = estimate([0.1] * n)
    assert (found.mean, found.std, found.low, found.high) == (0.1, 0.0, 0.1, 0.1)


@pytest.mark.parametrize("values", [[], [0.9, float("nan")], [float("inf")]])
def test_nothing_and_values_that_are_not_finite_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        estimate(values)


def test_reach_of_three_seeds_is_two_and_a_half_standard_deviations() -> None:
    assert t_reach(3) == pytest.approx(2.484, abs=1e-3)


def test_paired_p_value_agrees_with_the_textbook_and_survives_no_spread() -> None:
    # Differences 1, 2, 3: t = 2 / (1 / sqrt 3) = 3.4641 with 2 degrees of freedom, p = 0.07418.
    assert paired_p_value(estimate([1.0, 2.0, 3.0])) == pytest.approx(0.07418, abs=1e-5)
    assert paired_p_value(estimate([0.0, 0.0, 0.0])) == 1.0
    assert paired_p_value(estimate([0.02, 0.02, 0.02])) == 0.0


def test_p_value_of_differences_equal_but_for_rounding_is_a_number() -> None:
    p = paired_p_value(estimate([0.3 - 0.2, 0.2 - 0.1, 0.1 - 0.0]))
    assert p is not None
    assert 0 <= p <= 1


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.03, 0.04: times 3, 2, 1 = 0.03, 0.06, 0.04, then never falling.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_does_not_depend_on_the_order() -> None:
    values = (0.001, 0.02, 0.02, 0.5)
    expected = dict(zip(values, holm(values), strict=True))
    for order in itertools.permutations(values):
        assert dict(zip(order, holm(order), strict=True)) == expected


def test_an_interval_ends_where_the_quantity_does() -> None:
    free, bounded = estimate([0.6, 0.9, 1.0]), estimate([0.6, 0.9, 1.0], highest=1.0)
    assert free.high is not None
    assert free.high > 1
    assert (bounded.low, bounded.high) == (free.low, 1.0)
