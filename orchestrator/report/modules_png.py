"""Reuse accuracy against module size as PNG, for MLflow, slides and README: the page's picture of the trade-off."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

import orchestrator.report.words as words
from orchestrator.report.marks import LIGHT, Mark
from orchestrator.report.series import Series, series_of
from orchestrator.report.tradeoff import tradeoff_axes, tradeoff_marks
from orchestrator.subtask_comparison import SubtaskComparison

_COLUMNS = 3
_PANEL_INCHES = (6.4, 4.8)


def modules_png(tasks: Sequence[SubtaskComparison]) -> bytes:
    """One panel per task, at least one, at 150 dots per inch, on white."""
    columns = min(len(tasks), _COLUMNS)
    rows = math.ceil(len(tasks) / columns)
    # A Figure of its own: pyplot keeps global state and picks a screen.
    figure = Figure(figsize=(_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, found in zip(axes, tasks, strict=False):
        _draw(panel, found)
    for unused in axes[len(tasks) :]:
        unused.set_axis_off()
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150, facecolor="white")
    return data.getvalue()


def _draw(panel: Any, found: SubtaskComparison) -> None:
    axes, marks = tradeoff_axes(found), tradeoff_marks(found)
    if found.dense is not None:
        dense = found.dense.curve.reuse_accuracy(found.split).mean
        panel.axhline(dense, color="0.1", linewidth=1, linestyle="--", label="dense, other logits cut off")
    drawn = series_of(found.modular)
    for series in drawn:
        _draw_series(panel, series, found, marks[series.label])
    named = " or ".join(sorted({series.named_by for series in drawn if any(series.names)}))
    panel.set_xscale("log")
    panel.set_xlim(axes.sizes.low, axes.sizes.high)
    panel.set_ylim(axes.lowest, axes.highest)
    panel.xaxis.set_major_locator(FixedLocator(axes.size_ticks()))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda size, _: words.budget_percent(size)))
    ticks = axes.score_ticks()
    panel.set_yticks([score for score, _ in ticks], [label for _, label in ticks])
    panel.grid(axis="y", color="0.9", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.set_title(f"{found.task}: sub-tasks of {found.sizes[-1]} classes", loc="left")
    panel.set_xlabel("class module: share of the network's parameters")
    panel.set_ylabel(f"{found.split} reuse accuracy")
    panel.legend(
        fontsize=8,
        # Below the axes: points of methods that cost much accuracy lie in every corner.
        loc="upper center",
        bbox_to_anchor=(0.5, -0.13),
        ncols=3,
        frameon=False,
        title=f"beside the points: {named}; filled: its method's front" if named else None,
        title_fontsize=7,
    )


def _draw_series(panel: Any, series: Series, found: SubtaskComparison, mark: Mark) -> None:
    colour = LIGHT[mark.slot]
    reuse = [one.composed.reuse_accuracy(found.split) for one in series.points]
    sizes = [one.module_size.mean for one in series.points]
    if series.joined:
        panel.plot(sizes, [one.mean for one in reuse], color=colour, alpha=0.7, linewidth=1.3)
    for one, score, size, name in zip(series.points, reuse, sizes, series.names, strict=True):
        if score.low is not None and score.high is not None:
            reach = [[score.mean - score.low], [score.high - score.mean]]
            panel.errorbar([size], [score.mean], reach, color=colour, linewidth=1.1, capsize=2.5, alpha=0.8)
        face = colour if one.on_front else "white"
        panel.plot([size], [score.mean], marker=mark.matplotlib, color=colour, markerfacecolor=face, markersize=6)
        panel.annotate(name, (size, score.mean), xytext=(5, -9), textcoords="offset points", fontsize=7, color="0.35")
    line = "-" if series.joined else "none"
    panel.plot([], [], marker=mark.matplotlib, linestyle=line, color=colour, label=series.label, markersize=6)
