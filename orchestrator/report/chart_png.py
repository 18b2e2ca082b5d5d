"""A run's figures as PNG, for MLflow and slides: what `charts` draws on the page, on white."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import NullLocator

from methods.figures import Figure, Heatmap, LineChart
from orchestrator.report.charts import scales_of, segments, shortened, thinned
from orchestrator.report.marks import LIGHT, dash_of, slot_of
from orchestrator.report.ticks import Scale

_INCHES = (6.4, 3.9)
_MOST_POINTS = 2_000
"""Of one line: twice what 150 dots per inch tell apart."""
_MOST_LABELS = 24


def chart_png(figure: Figure) -> bytes:
    """One figure at 150 dots per inch."""
    # A canvas of its own: pyplot keeps global state and picks a screen.
    canvas = Canvas(figsize=_INCHES, layout="constrained")
    panel = canvas.subplots()
    if isinstance(figure, LineChart):
        _draw_lines(panel, figure)
    else:
        canvas.colorbar(_draw_cells(panel, figure), ax=panel)
    # Dollar signs in a text of ours are no mathematics.
    panel.set_title(_plain(figure.title), loc="left", fontsize=10, wrap=True)
    panel.set_xlabel(_plain(shortened(figure.x_label)), fontsize=9)
    panel.set_ylabel(_plain(shortened(figure.y_label, most=56)), fontsize=9)
    data = io.BytesIO()
    canvas.savefig(data, format="png", dpi=150, facecolor="white")
    return data.getvalue()


def _draw_lines(panel: Any, figure: LineChart) -> None:
    x_scale, y_scale = scales_of(figure)
    if figure.shade is not None:
        panel.axvspan(figure.shade.low, figure.shade.high, color="0.93", label=_plain(figure.shade.label), zorder=0)
    for number, line in enumerate(figure.lines):
        dash = dash_of(number)
        look = {
            "color": LIGHT[slot_of(number)],
            # In units of the line's width, which is less than two thirds of the page's.
            "linestyle": (0, tuple(0.6 * length for length in dash)) if dash else "-",
            "drawstyle": "steps-post" if figure.steps else "default",
            "linewidth": 1.5,
        }
        parts = [thinned(part, most=_MOST_POINTS) for part in segments(line, figure)]
        for part in parts:
            marker = "o" if len(part) == 1 else ""
            panel.plot([x for x, _ in part], [y for _, y in part], marker=marker, markersize=4, **look)
        for x, low, high in line.bars():
            panel.plot([x, x], [low, high], color=LIGHT[slot_of(number)], linewidth=1.0)
        panel.plot([], [], label=_plain(line.label), **look)
    panel.set_xscale("log" if x_scale.log else "linear")
    panel.set_yscale("log" if y_scale.log else "linear")
    panel.set_xlim(x_scale.low, x_scale.high)
    panel.set_ylim(y_scale.low, y_scale.high)
    _set_ticks(panel.xaxis, x_scale)
    _set_ticks(panel.yaxis, y_scale)
    panel.grid(axis="y", color="0.9", linewidth=0.8)
    panel.set_axisbelow(True)
    if len(figure.lines) > 1:
        panel.legend(fontsize=8, framealpha=0.9)


def _set_ticks(axis: Any, scale: Scale) -> None:
    ticks = scale.ticks(most=9)
    axis.set_ticks([place for place, _ in ticks], [label for _, label in ticks])
    axis.set_minor_locator(NullLocator())


def _draw_cells(panel: Any, figure: Heatmap) -> Any:
    colours = LinearSegmentedColormap.from_list("shades", ["#eef3fb", LIGHT[0]])
    values = [[math.nan if value is None else value for value in row] for row in figure.values]
    drawn = panel.imshow(values, aspect="auto", cmap=colours, interpolation="nearest")
    panel.set_xticks(*_labels(figure.columns), rotation=40, ha="right", fontsize=8)
    panel.set_yticks(*_labels(figure.rows), fontsize=8)
    return drawn


def _labels(names: Sequence[str]) -> tuple[list[int], list[str]]:
    every = math.ceil(len(names) / _MOST_LABELS)
    places = list(range(0, len(names), every))
    return places, [_plain(shortened(names[i], most=18)) for i in places]


def _plain(text: str) -> str:
    return text.replace("$", r"\$")
