"""Fronts of score against size as pure functions: which points matter, and how good a set of points is.

A point is (score, ratio): higher scores and smaller sizes are better; a ratio is a share of the dense network's size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

SMALLEST_RATIO = 0.001
"""Left end of the size axis in `hypervolume`: beyond a thousandth of the dense network, smaller counts no more."""

Point = tuple[float, float]


def pareto_front(points: Sequence[Point]) -> list[int]:
    """Indices of the points that no other beats, smallest first; of equal points the first.

    A point is beaten by one that is at least as good in both and better in one.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][1], -points[i][0], i))
    front: list[int] = []
    best = -math.inf
    for i in order:
        if points[i][0] > best:
            front.append(i)
            best = points[i][0]
    return front


def hypervolume(points: Sequence[Point]) -> float:
    """Area between the points' front and the reference point (score 0, the dense network's size), scaled to 0..1.

    The size axis is logarithmic, from `SMALLEST_RATIO` to 1, because a method that halves 2 % gains as much as one
    that halves 50 %; on a linear axis everything below 5 % would look alike. So the value is the score one can have
    under a size budget, averaged over all budgets with every factor of ten counting alike. Scores below 0 (R2) count
    as 0; points larger than dense add nothing. It depends on nothing but the points, so it can be compared between
    studies and nights.

    Raises:
        ValueError: A ratio is not positive.
    """
    if any(not ratio > 0 for _, ratio in points):
        raise ValueError(f"hypervolume: ratios must be above 0, got {sorted(ratio for _, ratio in points)[0]}.")
    front = [points[i] for i in pareto_front(points)]
    edges = [_decades(ratio) for _, ratio in front] + [0.0]
    area = sum(max(score, 0.0) * (edges[i + 1] - edges[i]) for i, (score, _) in enumerate(front))
    return area / -math.log10(SMALLEST_RATIO)


def _decades(ratio: float) -> float:
    """Logarithm of a ratio, cut to the size axis."""
    return math.log10(min(max(ratio, SMALLEST_RATIO), 1.0))
