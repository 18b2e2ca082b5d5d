"""Axes of the picture of score against size: what range to show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.comparison import Configuration, TaskComparison, Terms
from orchestrator.report.ticks import Tick, linear_ticks, log_ticks


@dataclass(frozen=True)
class Axes:
    """Ranges of one picture: sizes are ratios on a logarithmic axis, scores are linear."""

    smallest: float
    largest: float
    lowest: float
    highest: float

    def x_ticks(self) -> list[float]:
        return log_ticks(self.smallest, self.largest)

    def y_ticks(self) -> list[Tick]:
        return linear_ticks(self.lowest, self.highest)


def axes_of(task: TaskComparison, terms: Terms) -> Axes:
    """A range that shows every confirmed configuration; what lies below it is drawn at its edge."""
    ratios = [one.ratios[terms.measure].mean for one in task.configurations] + [one.ratio for one in task.trials]
    smallest = min([*ratios, *terms.size_budgets, 0.5])
    largest = max([*ratios, 1.0])
    lowest, highest = _scores(task, terms)
    return Axes(smallest / 1.25, largest * 1.25, lowest, highest)


def score_range(means: Iterable[float], *, lows: Iterable[float], highs: Iterable[float]) -> tuple[float, float]:
    """What a score axis shows: all means as far as 1 below the highest, and intervals as far as they leave room.

    Args:
        means: At least one.
        lows, highs: Ends of intervals.
    """
    given = list(means)
    # An accuracy spans 1 at most; an R2 may lie anywhere below 0, and one bad point would press all others together.
    lowest, highest = max(min(given), max(given) - 1), max(given)
    # Intervals of few seeds can be wider than all else: they may widen the range by half, no more.
    room = max(highest - lowest, 0.01) / 2
    lowest = max(min([lowest, *lows]), lowest - room)
    highest = min(max([highest, *(min(end, 1.0) for end in highs)]), highest + room)
    margin = 0.06 * max(highest - lowest, 0.01)
    # No score is above 1, so nothing is lost when the axis ends just there.
    return lowest - margin, min(highest + margin, max(1.0, highest) + margin / 3)


def _scores(task: TaskComparison, terms: Terms) -> tuple[float, float]:
    means = [one.score(task.split).mean for one in task.configurations]
    means = means or [one.score for one in task.trials] or [0.0, 1.0]
    if task.dense is not None:
        means.append(task.dense.score(task.split).mean - terms.tolerance)
    front = [one.score(task.split) for one in task.configurations if one.on_front]
    lows = [one.low for one in front if one.low is not None]
    return score_range(means, lows=lows, highs=[one.high for one in front if one.high is not None])


def front_of(task: TaskComparison, method: str) -> list[Configuration]:
    """The members of one method's front, smallest first."""
    return [one for one in task.configurations if one.method == method and one.on_front]
