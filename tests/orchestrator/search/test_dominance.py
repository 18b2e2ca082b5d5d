"""Layers and fronts agree with their definitions, worked out the slow way."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.search.dominance import Point, non_dominated, ranks

# A coarse grid, so that ties in one or both values are common.
points_on_a_grid = st.lists(st.tuples(st.integers(0, 6).map(float), st.integers(0, 6).map(float)), max_size=12)


def betters(other: Point, point: Point) -> bool:
    return other[0] >= point[0] and other[1] <= point[1] and other != point


def peeled(points: list[Point], margin: float) -> list[int]:
    left, result, layer = set(range(len(points))), [-1] * len(points), 0
    while left:
        free = {
            i
            for i in left
            if not any(points[j][1] <= points[i][1] and points[j][0] > points[i][0] + margin for j in left)
        }
        for index in free:
            result[index] = layer
        left -= free
        layer += 1
    return result


@given(points_on_a_grid)
def test_the_front_is_what_nobody_betters_smallest_first(points: list[Point]) -> None:
    front = non_dominated(points)
    assert set(front) == {i for i, point in enumerate(points) if not any(betters(other, point) for other in points)}
    assert [points[i][1] for i in front] == sorted(points[i][1] for i in front)


@given(points_on_a_grid, st.integers(0, 3).map(float))
def test_ranks_are_the_layers_left_after_peeling(points: list[Point], margin: float) -> None:
    assert ranks(points, margin=margin) == peeled(points, margin)


def test_a_lead_within_the_margin_beats_nobody() -> None:
    points = [(0.90, 0.1), (0.895, 0.2), (0.80, 0.3)]
    assert ranks(points, margin=0.01) == [0, 0, 1]
    assert ranks(points) == [0, 1, 2]
