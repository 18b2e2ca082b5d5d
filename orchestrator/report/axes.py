"""Axes of the picture of score against size: what range to show, where to put ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.comparison import Configuration, TaskComparison, Terms


@dataclass(frozen=True)
class Axes:
    """Ranges of one picture: sizes are ratios on a logarithmic axis, scores are linear."""

    smallest: float
    largest: float
    lowest: float
    highest: float

    def x_ticks(self) -> list[float]:
        """1, 2 and 5 times each power of ten within the range; powers alone when there would be too many."""
        decades = range(math.floor(math.log10(self.smallest)), math.ceil(math.log10(self.largest)) + 1)
        ticks = [
            step * 10.0**decade
            for decade in decades
            for step in (1, 2, 5)
            if self.smallest <= step * 10.0**decade <= self.largest * 1.001
        ]
        return ticks if len(ticks) <= 12 else [tick for tick in ticks if math.log10(tick) % 1 < 1e-9]

    def y_ticks(self) -> list[tuple[float, str]]:
        """Between four and ten round scores, each with its label; all labels have the same number of decimals."""
        span = self.highest - self.lowest
        power = 10.0 ** math.floor(math.log10(span / 4))
        step = next(power * factor for factor in (5, 2, 1) if span / (power * factor) >= 4)
        first, last = math.ceil(self.lowest / step - 1e-9), math.floor(self.highest / step + 1e-9)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return [(i * step, f"{i * step:.{decimals}f}") for i in range(first, last + 1)]


def axes_of(task: TaskComparison, terms: Terms) -> Axes:
    """A range that shows every confirmed configuration; what lies below it is drawn at its edge."""
    ratios = [one.ratios[terms.measure].mean for one in task.configurations] + [one.ratio for one in task.trials]
    smallest = min([*ratios, *terms.size_budgets, 0.5])
    largest = max([*ratios, 1.0])
    lowest, highest = _scores(task, terms)
    return Axes(smallest / 1.25, largest * 1.25, lowest, highest)


def _scores(task: TaskComparison, terms: Terms) -> tuple[float, float]:
    shown = [one.score(task.split) for one in task.configurations]
    means = [one.mean for one in shown] or [one.score for one in task.trials] or [0.0, 1.0]
    if task.dense is not None:
        means.append(task.dense.score(task.split).mean - terms.tolerance)
    # An accuracy spans 1 at most; an R2 may lie anywhere below 0, and one bad point would press all others together.
    lowest, highest = max(min(means), max(means) - 1), max(means)
    # Intervals of few seeds can be wider than all else: they may widen the range by half, no more.
    room = max(highest - lowest, 0.01) / 2
    lowest = max(min([lowest, *_ends(task, low=True)]), lowest - room)
    highest = min(max([highest, *_ends(task, low=False)]), highest + room)
    margin = 0.06 * max(highest - lowest, 0.01)
    # No score is above 1, so nothing is lost when the axis ends just there.
    return lowest - margin, min(highest + margin, max(1.0, highest) + margin / 3)


def _ends(task: TaskComparison, *, low: bool) -> list[float]:
    found = [one.score(task.split) for one in task.configurations if one.on_front]
    ends = [one.low if low else one.high for one in found]
    return [end if low else min(end, 1.0) for end in ends if end is not None]


def front_of(task: TaskComparison, method: str) -> list[Configuration]:
    """The members of one method's front, smallest first."""
    return [one for one in task.configurations if one.method == method and one.on_front]
