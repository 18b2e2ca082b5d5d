"""Who beats whom in accuracy and size, as pure functions.

A point is (score, size): more score is better, less size is better.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

Point = tuple[float, float]


def non_dominated(points: Sequence[Point]) -> list[int]:
    """Indices of the points that no other one matches in both and betters in one; smallest size first.

    Equal points do not dominate each other. Takes O(n log n).
    """
    front: list[int] = []
    best_score, best_size = float("-inf"), float("nan")
    for index in sorted(range(len(points)), key=lambda index: (points[index][1], -points[index][0], index)):
        score, size = points[index]
        if score > best_score or (score == best_score and size == best_size):
            front.append(index)
            best_score, best_size = score, size
    return front


def ranks(points: Sequence[Point], *, margin: float = 0.0) -> list[int]:
    """How many layers of better points lie above each one.

    A point is beaten by another that is no larger and better in score by more than `margin`. What nobody beats has
    rank 0; without these, what nobody beats has rank 1; and so on (non-dominated sorting, Deb et al. 2002, with a
    margin for noise). Takes O(n log n).

    Args:
        points: Scores and sizes; finite, or minus infinity as score.
        margin: At least 0, in units of score.
    """
    result = [0] * len(points)
    best_of_rank: list[float] = []  # negated best score of each rank among points no larger; ascending
    for index in sorted(range(len(points)), key=lambda index: (points[index][1], -points[index][0])):
        score = points[index][0]
        # A point of rank r was beaten by one of rank r - 1 with a better score, so the best scores fall with the
        # rank: the ranks that beat this point are the first few.
        rank = bisect_left(best_of_rank, -(score + margin))
        result[index] = rank
        if rank == len(best_of_rank):
            best_of_rank.append(-score)
        else:
            best_of_rank[rank] = min(best_of_rank[rank], -score)
    return result
