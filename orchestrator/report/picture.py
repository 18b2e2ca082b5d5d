"""Score against size as SVG inside the page: sharp on paper, follows the page's colours, needs no script."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import orchestrator.report.words as words
from orchestrator.comparison import Configuration, TaskComparison, Terms, Trial
from orchestrator.report.axes import Axes, axes_of, front_of
from orchestrator.report.marks import Mark
from orchestrator.report.markup import Markup, element, joined

WIDTH, HEIGHT = 1080.0, 470.0
LEFT, RIGHT, TOP, BOTTOM = 66.0, 1064.0, 26.0, 418.0


@dataclass(frozen=True)
class _Canvas:
    """Where on the picture a size and a score lie."""

    axes: Axes

    def x(self, ratio: float) -> float:
        span = math.log(self.axes.largest / self.axes.smallest)
        return LEFT + (RIGHT - LEFT) * math.log(ratio / self.axes.smallest) / span

    def y(self, score: float) -> float:
        span = self.axes.highest - self.axes.lowest
        return BOTTOM - (BOTTOM - TOP) * (score - self.axes.lowest) / span

    def y_inside(self, score: float) -> float:
        """Like `y`, but never outside the frame."""
        return min(max(self.y(score), TOP), BOTTOM)


def picture(task: TaskComparison, terms: Terms, marks: Mapping[str, Mark]) -> Markup:
    """The whole figure of one task: legend, picture, caption.

    Args:
        task: What to draw; points link to the table row with the same `row_id`.
        terms: Which size is drawn and which budgets are marked.
        marks: Colour and shape of each competitor.
    """
    canvas = _Canvas(axes_of(task, terms))
    competitors = [one.method for one in task.methods]
    drawing = element(
        "svg",
        _grid(canvas, terms),
        _dense_band(canvas, task, terms),
        *(_trial(canvas, one, marks[one.method]) for one in task.trials if one.method in marks),
        *(_front_line(canvas, task, terms, method, marks[method]) for method in competitors),
        *(_confirmed(canvas, one, task, terms, marks.get(one.method)) for one in task.configurations),
        _axis_names(task, terms),
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        role="group",
        aria_label=f"{task.task}: {words.METRIC_WORDS[task.metric]} against size; the table below has the same figures",
    )
    return element("figure", _legend(task, marks), drawing, _caption(task, terms))


def row_id(task: str, one: Configuration) -> str:
    """Name of a configuration's table row within the page."""
    return f"row-{task}-{one.method}-{one.trial}-{one.variant}"


def _grid(canvas: _Canvas, terms: Terms) -> Markup:
    parts: list[Markup] = []
    for score, label in canvas.axes.y_ticks():
        y = canvas.y(score)
        parts.append(element("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(element("text", label, x=LEFT - 8, y=y + 4.5, text_anchor="end"))
    for ratio in canvas.axes.x_ticks():
        x = canvas.x(ratio)
        parts.append(element("line", x1=x, x2=x, y1=BOTTOM, y2=BOTTOM + 5, class_="tick"))
        parts.append(element("text", words.budget_percent(ratio), x=x, y=BOTTOM + 20, text_anchor="middle"))
    for budget in terms.size_budgets:
        x = canvas.x(budget)
        parts.append(element("line", x1=x, x2=x, y1=TOP, y2=BOTTOM, class_="budget"))
        label = f"budget {words.budget_percent(budget)}"
        parts.append(element("text", label, x=x, y=TOP - 8, text_anchor="middle", class_="quiet"))
    parts.append(element("line", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM, class_="axis"))
    return joined(*parts)


def _axis_names(task: TaskComparison, terms: Terms) -> Markup:
    measure = words.MEASURE_WORDS[terms.measure]
    name_y = f"{task.split} {words.METRIC_WORDS[task.metric]}"
    middle = (TOP + BOTTOM) / 2
    return joined(
        element(
            "text",
            f"size: share of the dense network's {measure} (logarithmic)",
            x=(LEFT + RIGHT) / 2,
            y=HEIGHT - 10,
            text_anchor="middle",
        ),
        element("text", name_y, x=16, y=middle, text_anchor="middle", transform=f"rotate(-90 16 {middle:g})"),
    )


def _dense_band(canvas: _Canvas, task: TaskComparison, terms: Terms) -> Markup:
    if task.dense is None:
        return Markup()
    mean = task.dense.score(task.split).mean
    top, bottom = canvas.y_inside(mean), canvas.y_inside(mean - terms.tolerance)
    return joined(
        element("rect", x=LEFT, y=top, width=RIGHT - LEFT, height=bottom - top, class_="band"),
        element("line", x1=LEFT, x2=RIGHT, y1=top, y2=top, class_="dense"),
        element("text", f"dense {words.score(mean)}, band: within {terms.tolerance:g}", x=LEFT + 6, y=top - 5),
    )


def _front_line(canvas: _Canvas, task: TaskComparison, terms: Terms, method: str, mark: Mark) -> Markup:
    """What the method reaches under each size budget: a staircase, up at each member of the front, then level."""
    front = front_of(task, method)
    if not front:
        return Markup()
    corners = [(canvas.x(one.ratios[terms.measure].mean), canvas.y_inside(one.score(task.split).mean)) for one in front]
    ends = [x for x, _ in corners[1:]] + [max(canvas.x(1.0), corners[-1][0])]
    treads = "".join(f"M{x:.1f} {y:.1f}H{end:.1f}" for (x, y), end in zip(corners, ends, strict=True))
    # Faint, or they would pass for error bars.
    risers = "".join(f"M{x:.1f} {y:.1f}V{above:.1f}" for (_, y), (x, above) in pairwise(corners))
    return joined(
        element("path", d=treads, class_="front", stroke=mark.css),
        element("path", d=risers, class_="riser", stroke=mark.css),
    )


def _trial(canvas: _Canvas, one: Trial, mark: Mark) -> Markup:
    x, y = canvas.x(one.ratio), canvas.y(one.score)
    label = f"{one.method} #{one.trial} {one.variant}, search: validation {words.score(one.score)}"
    title = element("title", f"{label}, {words.percent(one.ratio)}")
    if y > BOTTOM:
        below = f"M{x - 3.5:.1f} {BOTTOM - 7:.1f}h7l-3.5 6z"
        return element("path", title, d=below, fill=mark.css, class_="trial")
    return element("circle", title, cx=x, cy=max(y, TOP), r=2.8, fill=mark.css, class_="trial")


def _confirmed(canvas: _Canvas, one: Configuration, task: TaskComparison, terms: Terms, mark: Mark | None) -> Markup:
    """A point with its interval; it links to its row of the table."""
    found, ratio = one.score(task.split), one.ratios[terms.measure]
    x, y = canvas.x(ratio.mean), canvas.y_inside(found.mean)
    colour = mark.css if mark else "var(--ink)"
    parts: list[Markup] = []
    if found.low is not None and found.high is not None:
        ends = canvas.y_inside(found.low), canvas.y_inside(found.high)
        parts.append(element("path", d=error_bar(x, *ends), stroke=colour, class_="bar"))
    fill = colour if one.on_front else "var(--paper)"
    parts.append(shape(x, y, mark, fill=fill, stroke=colour))
    name = " ".join(part for part in (f"{one.method} #{one.trial}", one.variant, words.settings(one.config)) if part)
    error = words.mse_and_spread(one.mse(task.split))
    label = (
        f"{name}: {task.split} {words.score_and_spread(found)} {words.interval(found)}, {error + ', ' if error else ''}"
        f"{words.percent(ratio.mean)} of dense {words.MEASURE_WORDS[terms.measure]}"
    )
    return element(
        "a", element("title", label), *parts, href=f"#{row_id(task.task, one)}", aria_label=label, class_="point"
    )


def error_bar(x: float, low: float, high: float) -> str:
    """A vertical bar with a cap at each end that lies within the frame; the ends are places on the picture."""
    caps = [f"M{x - 4:.1f} {y:.1f}h8" for y in (low, high) if TOP < y < BOTTOM]
    return f"M{x:.1f} {low:.1f}V{high:.1f}{''.join(caps)}"


def shape(x: float, y: float, mark: Mark | None, *, fill: str, stroke: str) -> Markup:
    """A method's mark at a place on the picture; None: the dense reference."""
    if mark is None:
        return element("path", d=f"M{x - 6:.1f} {y:.1f}h12M{x:.1f} {y - 6:.1f}v12", stroke=stroke, class_="cross")
    if not mark.outline:
        return element("circle", cx=x, cy=y, r=5.4, fill=fill, stroke=stroke)
    corners = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in mark.outline)
    return element("polygon", points=corners, fill=fill, stroke=stroke)


def _legend(task: TaskComparison, marks: Mapping[str, Mark]) -> Markup:
    items = [_legend_item(one.method, marks[one.method]) for one in task.methods]
    if task.dense is not None:
        items.append(_legend_item(task.dense.method, None))
    return element("ul", *items, class_="legend")


def _legend_item(name: str, mark: Mark | None) -> Markup:
    return element("li", swatch(mark), name)


def swatch(mark: Mark | None) -> Markup:
    """A method's mark beside its name; None: the dense reference."""
    colour = mark.css if mark else "var(--ink)"
    return element("svg", shape(9.0, 9.0, mark, fill=colour, stroke=colour), viewBox="0 0 18 18", aria_hidden="true")


def _caption(task: TaskComparison, terms: Terms) -> Markup:
    n = len(terms.seeds)
    bars = "bars: 95 % interval of the mean over seeds" if n > 1 else "one seed: no intervals"
    return element(
        "figcaption",
        f"Large points: confirmed configurations, mean over {n} seed{'s' if n > 1 else ''} on {task.split}, {bars}; "
        "filled: on the method's front by validation. Steps: what a method reaches under each size. Faint points: "
        "search trials, one seed, on validation. What lies below the picture is drawn at its lower edge, trials as "
        "small triangles.",
    )
