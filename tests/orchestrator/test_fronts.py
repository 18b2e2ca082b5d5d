"""Fronts and hypervolumes worked out by hand, and their properties on any points."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.fronts import SMALLEST_RATIO, hypervolume, pareto_front

points = st.lists(st.tuples(st.floats(0, 1), st.floats(1e-4, 2)), max_size=12)


def test_front_leaves_out_what_another_point_beats() -> None:
    found = pareto_front([(0.9, 1.0), (0.8, 0.1), (0.7, 0.2), (0.8, 0.5), (0.5, 0.01)])
    assert found == [4, 1, 0]


def test_front_of_equal_points_is_the_first() -> None:
    assert pareto_front([(0.8, 0.1), (0.8, 0.1)]) == [0]


def test_front_of_nothing_is_nothing() -> None:
    assert pareto_front([]) == []
    assert hypervolume([]) == 0.0


def test_hypervolume_by_hand() -> None:
    assert SMALLEST_RATIO == 0.001
    # One decade of three at 0.6 (1 % to 10 %), one at 0.9 (10 % to 100 %).
    assert hypervolume([(0.6, 0.01), (0.9, 0.1)]) == pytest.approx((0.6 + 0.9) / 3)
    assert hypervolume([(1.0, 0.001)]) == pytest.approx(1.0)
    assert hypervolume([(1.0, 1e-6)]) == pytest.approx(1.0), "smaller than the axis counts as its end"


def test_the_dense_network_and_negative_scores_add_nothing() -> None:
    assert hypervolume([(0.95, 1.0)]) == 0.0
    assert hypervolume([(0.95, 1.7)]) == 0.0
    assert hypervolume([(-3.0, 0.01)]) == 0.0


def test_a_ratio_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        hypervolume([(0.9, 0.0)])


@given(points, st.tuples(st.floats(0, 1), st.floats(1e-4, 2)))
def test_another_point_never_makes_a_hypervolume_smaller(
    some: list[tuple[float, float]], more: tuple[float, float]
) -> None:
    before = hypervolume(some)
    assert 0 <= before <= 1 + 1e-12
    assert hypervolume([*some, more]) >= before - 1e-12


@given(points)
def test_front_alone_has_the_whole_hypervolume(some: list[tuple[float, float]]) -> None:
    front = [some[i] for i in pareto_front(some)]
    assert hypervolume(front) == pytest.approx(hypervolume(some))
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(front))
