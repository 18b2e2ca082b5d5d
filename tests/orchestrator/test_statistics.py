"""Intervals, paired tests and corrections against known answers and by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics import (
    Estimate,
    estimate,
    holm,
    interval_kind,
    moderated_p_values,
    paired_p_value,
    t_reach,
)


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


def _differences(scores_MN: np.ndarray) -> list[Estimate]:
    return [estimate((a - b).tolist()) for a, b in itertools.combinations(scores_MN, 2)]


def _scores(deviations: np.ndarray, seeds: int, draw: np.random.Generator) -> np.ndarray:
    """Of equally good methods, with what seeds have in common."""
    noise = draw.normal(size=(len(deviations), seeds)) * deviations[:, None]
    return np.asarray(0.9 + 0.01 * (noise + draw.normal(size=seeds)))


@pytest.mark.parametrize(
    ("deviations", "seeds"),
    [
        ([1.0] * 6, 3),
        ([0.3, 0.5, 1.0, 1.0, 1.5, 2.0], 3),
        ([1.0] * 9 + [10.0], 3),
        ([0.4, 0.7, 1.0, 2.0, 1.3], 5),
    ],
    ids=["equally steady", "differently steady", "one unsteady", "five seeds"],
)
def test_a_study_of_equal_methods_finds_any_difference_in_no_more_than_a_twentieth(
    deviations: list[float], seeds: int
) -> None:
    draw = np.random.default_rng(5)
    repeats = 200
    false = 0
    for _ in range(repeats):
        found = moderated_p_values(
            _differences(_scores(np.array(deviations), seeds, draw)), num_methods=len(deviations)
        )
        false += min(holm([p for p in found if p is not None])) < 0.05
    # The standard error of the simulation is 0.015.
    assert false / repeats <= 0.05 + 0.03


def test_a_clear_difference_among_many_methods_is_found_where_plain_tests_miss_it() -> None:
    draw = np.random.default_rng(6)
    found = {"plain": 0, "moderated": 0}
    for _ in range(20):
        scores = _scores(np.ones(16), 3, draw)
        scores[0] += 0.06
        differences = _differences(scores)
        plain = [p for p in map(paired_p_value, differences) if p is not None]
        moderated = [p for p in moderated_p_values(differences, num_methods=16) if p is not None]
        found["plain"] += sum(p < 0.05 for p in holm(plain)[:15])
        found["moderated"] += sum(p < 0.05 for p in holm(moderated)[:15])
    assert found["moderated"] > 0.6 * 20 * 15
    assert found["plain"] < 0.1 * 20 * 15


def test_a_pair_that_scatters_far_more_than_others_hardly_gains_from_them() -> None:
    steady = [[0.010, 0.012, 0.009], [0.002, 0.001, 0.003], [0.004, 0.007, 0.005], [0.001, 0.004, 0.002]]
    differences = [estimate(values) for values in (*steady, [0.3, -0.1, 0.2])]
    found = moderated_p_values(differences, num_methods=4)
    assert found[4] == pytest.approx(paired_p_value(differences[4]), rel=0.02)
    assert found[1] != pytest.approx(paired_p_value(differences[1]), rel=0.02)


def test_moderated_p_values_do_not_depend_on_the_order_of_pairs_or_on_the_unit() -> None:
    differences = _differences(_scores(np.ones(5), 3, np.random.default_rng(1)))
    found = moderated_p_values(differences, num_methods=5)
    assert moderated_p_values(differences[::-1], num_methods=5) == pytest.approx(found[::-1])
    scaled = [estimate([100 * value for value in one.values]) for one in differences]
    assert moderated_p_values(scaled, num_methods=5) == pytest.approx(found)


def test_moderation_needs_scatter_and_several_pairs() -> None:
    one = estimate([0.01, 0.02, 0.03])
    assert moderated_p_values([one], num_methods=2) == pytest.approx([paired_p_value(one)])
    single = [estimate([0.01]), estimate([0.02])]
    assert moderated_p_values(single, num_methods=3) == [None, None]
    still = [estimate([0.1] * 3), estimate([0.0] * 3), estimate([0.2] * 3)]
    assert moderated_p_values(still, num_methods=3) == [0.0, 1.0, 0.0]
    some = [estimate([0.1, 0.11, 0.1]), estimate([0.0] * 3), estimate([0.2, 0.21, 0.2]), estimate([0.1] * 3)]
    found = moderated_p_values(some, num_methods=4)
    assert found[1] == 1.0
    assert all(p is not None and 0 <= p <= 1 for p in found)


def test_moderation_by_hand() -> None:
    # Three differences of standard deviation 0.01: the logarithms do not differ, so what to expect is as certain as can
    # be, which is the (M - 1)(N - 1) = 4 degrees of freedom of three methods and three seeds, 2 beside a pair's own. As
    # two degrees of freedom make logarithms small, one expects e^0.5772 = 1.7811 times that variance, and joins to
    # (2 * 1.7811 + 2) / 4 = 1.3905 of it.
    means = (0.02, 0.03, 0.05)
    found = moderated_p_values([estimate([m - 0.01, m, m + 0.01]) for m in means], num_methods=3)
    for mean, p in zip(means, found, strict=True):
        t = mean / (0.01 * np.sqrt(1.3905 / 3))
        assert p == pytest.approx(2 * stats.t.sf(t, 4), rel=1e-3)


def test_equal_rounded_scores_are_no_certainty() -> None:
    # Five equal methods, 100 samples each: their scores are hundredths, and often those of two do not differ by seed.
    draw = np.random.default_rng(8)
    found = {0.0: 0, 0.01 * np.sqrt(2 / 12): 0}
    for _ in range(150):
        scores = draw.binomial(100, 0.97, size=(5, 3)) / 100
        for rounding in found:
            p_values = moderated_p_values(_differences(scores), num_methods=5, rounding=rounding)
            found[rounding] += min(holm([p for p in p_values if p is not None])) < 0.05
    plain, rounded = found.values()
    assert rounded <= 0.05 * 150
    assert rounded <= plain


def test_pairs_may_have_different_numbers_of_seeds() -> None:
    differences = [estimate([0.01, 0.012, 0.009]), estimate([0.02, 0.021, 0.018, 0.022, 0.019]), estimate([0.0, 0.003])]
    found = moderated_p_values(differences, num_methods=3)
    assert all(p is not None and 0 < p < 1 for p in found)
    assert found[1] is not None
    assert found[0] is not None
    assert found[1] < found[0]
