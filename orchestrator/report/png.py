"""Score against size as PNG, for MLflow, slides and README: the page's picture without its finer points.

Where a study has one task and its scores spread far, a second panel shows what lies near the dense network, where most
methods are to be told apart.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

import orchestrator.report.words as words
from orchestrator.comparison import Comparison, TaskComparison, Terms
from orchestrator.report.axes import Axes, axes_of, front_of
from orchestrator.report.marks import LIGHT, Mark, marks_of

_COLUMNS = 3
_PANEL_INCHES = (6.4, 4.4)
_MOST_INSIDE = 6
"""Methods whose names find room inside of a panel; more stand below."""
_NEAR = 0.06
"""How far below dense the second panel reaches."""


def pareto_png(comparison: Comparison) -> bytes:
    """One panel per task, at 150 dots per inch, on white."""
    marks = marks_of(one.method for task in comparison.tasks for one in task.methods)
    # With what lies below: a first panel shows it at its lower edge, a second leaves it to the first.
    drawn = [(task, axes, axes.lowest) for task in comparison.tasks for axes in [axes_of(task, comparison.terms)]]
    if len(drawn) == 1 and (near := _near_dense(*drawn[0][:2])):
        drawn.append((comparison.tasks[0], near, -math.inf))
    panels = max(len(drawn), 1)
    columns = min(panels, _COLUMNS)
    rows = math.ceil(panels / columns)
    # A Figure of its own: pyplot keeps global state and picks a screen.
    figure = Figure(figsize=(_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for panel, (task, axes, lowest) in zip(grid, drawn, strict=False):
        _draw(panel, task, comparison.terms, marks, axes, lowest=lowest)
    for unused in grid[len(drawn) :]:
        unused.set_axis_off()
    _name(figure, grid[: len(drawn)])
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150, facecolor="white")
    return data.getvalue()


def _near_dense(task: TaskComparison, axes: Axes) -> Axes | None:
    """The axes of a second panel; None where the first shows as much."""
    if task.dense is None:
        return None
    lowest = task.dense.score(task.split).mean - _NEAR
    near = replace(axes, lowest=lowest, highest=min(axes.highest, 1 + _NEAR / 20))
    return near if lowest - axes.lowest > 2 * (axes.highest - lowest) else None


def _name(figure: Figure, panels: Sequence[Any]) -> None:
    """Put the names of the methods where there is room."""
    found = [panel.get_legend_handles_labels() for panel in panels]
    if all(len(names) <= _MOST_INSIDE + 1 for _, names in found):
        for panel, (_, names) in zip(panels, found, strict=True):
            if names:
                panel.legend(fontsize=8, loc="lower right", framealpha=0.9)
        return
    named = {name: handle for handles, names in found for handle, name in zip(handles, names, strict=True)}
    columns = min(len(named), 6 if len(panels) > 1 else 4)
    figure.legend(named.values(), named.keys(), fontsize=8, loc="outside lower center", ncols=columns, frameon=False)


def _draw(
    panel: Any, task: TaskComparison, terms: Terms, marks: Mapping[str, Mark], axes: Axes, *, lowest: float
) -> None:
    for budget in terms.size_budgets:
        panel.axvline(budget, color="0.6", linewidth=0.8, linestyle=":")
    if task.dense is not None:
        mean = task.dense.score(task.split).mean
        panel.axhspan(mean - terms.tolerance, mean, color="0.9", linewidth=0)
        panel.axhline(mean, color="0.1", linewidth=1, linestyle="--", label=task.dense.method)
    for one in task.methods:
        _draw_method(panel, task, terms, one.method, marks[one.method], lowest=lowest)
    panel.set_xscale("log")
    panel.set_xlim(axes.smallest, axes.largest)
    panel.set_ylim(axes.lowest, axes.highest)
    panel.xaxis.set_major_locator(FixedLocator(axes.x_ticks()))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: words.budget_percent(ratio)))
    ticks = axes.y_ticks()
    panel.set_yticks([score for score, _ in ticks], [label for _, label in ticks])
    panel.grid(axis="y", color="0.9", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.set_title(task.task if math.isfinite(lowest) else f"{task.task}, near dense", loc="left")
    panel.set_xlabel(f"share of the dense network's {words.MEASURE_WORDS[terms.measure]}")
    panel.set_ylabel(f"{task.split} {words.METRIC_WORDS[task.metric]}")


def _draw_method(panel: Any, task: TaskComparison, terms: Terms, method: str, mark: Mark, *, lowest: float) -> None:
    """Points below the picture, which scores of a regression can be, lie at its lower edge."""
    colour = LIGHT[mark.slot]
    trials = [one for one in task.trials if one.method == method]
    panel.scatter([one.ratio for one in trials], [one.score for one in trials], s=7, color=colour, alpha=0.35, lw=0)
    front = front_of(task, method)
    if front:
        sizes = [one.ratios[terms.measure].mean for one in front]
        scores = [max(one.score(task.split).mean, lowest) for one in front]
        panel.hlines(scores, sizes, [*sizes[1:], max(1.0, sizes[-1])], color=colour, alpha=0.7, linewidth=1.3)
    for one in task.configurations:
        if one.method == method:
            found = one.score(task.split)
            x = one.ratios[terms.measure].mean
            if found.low is not None and found.high is not None:
                reach = [[found.mean - found.low], [found.high - found.mean]]
                panel.errorbar([x], [found.mean], reach, color=colour, linewidth=1.1, capsize=2.5, alpha=0.8)
            face = colour if one.on_front else "white"
            y = max(found.mean, lowest)
            panel.plot([x], [y], marker=mark.matplotlib, color=colour, markerfacecolor=face, markersize=6)
    panel.plot([], [], marker=mark.matplotlib, color=colour, label=method, markersize=6)
