"""A run's figures as SVG inside the page: the data of `methods.figures` in the page's own colours, without script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from methods.figures import Figure, Heatmap, Line, LineChart
from orchestrator.report.cells import Cells, cells_of, shade
from orchestrator.report.marks import dash_of, slot_of
from orchestrator.report.markup import Markup, element, joined
from orchestrator.report.ticks import Scale, scale_of, short_number

MOST_POINTS = 300
"""Of one line; more cannot be told apart at this size."""
WIDTH, HEIGHT = 560.0, 320.0
_RIGHT, _TOP, _BOTTOM = 548.0, 30.0, 268.0
_LETTER = 7.2
"""Width of a letter or digit at the page's font size for pictures."""
_LONGEST_NAME = 76
_MOST_Y_TICKS, _MOST_X_TICKS = 8, 8

Point = tuple[float, float]


def chart(figure: Figure) -> Markup:
    """One figure with title and legend, as wide as its place."""
    parts = _line_chart(figure) if isinstance(figure, LineChart) else _heatmap(figure)
    return element("figure", element("figcaption", figure.title), *parts)


def segments(line: Line, figure: LineChart) -> list[list[Point]]:
    """The parts of a line between its gaps: values that are not finite or that a logarithmic axis cannot show.

    A step before a gap is ended by a point of its own, at the gap's place.
    """
    parts: list[list[Point]] = [[]]
    for x, y in zip(line.x, line.y, strict=True):
        place = x if x is not None and _can_show(x, log=figure.log_x) else None
        if place is not None and y is not None and _can_show(y, log=figure.log_y):
            parts[-1].append((place, y))
        elif parts[-1]:
            if figure.steps and place is not None:
                parts[-1].append((place, parts[-1][-1][1]))
            parts.append([])
    return [part for part in parts if part]


def thinned(points: Sequence[Point], *, most: int) -> list[Point]:
    """At most about `most` points that look the same: the lowest and highest of each stretch, the ends included."""
    if len(points) <= most:
        return list(points)
    inner = points[1:-1]
    num_stretches = max(most // 2 - 1, 1)
    bounds = [round(i * len(inner) / num_stretches) for i in range(num_stretches + 1)]
    kept: list[Point] = [points[0]]
    for start, end in pairwise(bounds):
        stretch = range(start, end)
        lowest = min(stretch, key=lambda i: inner[i][1])
        highest = max(stretch, key=lambda i: inner[i][1])
        kept += [inner[i] for i in sorted({lowest, highest})]
    return [*kept, points[-1]]


def scales_of(figure: LineChart) -> tuple[Scale, Scale]:
    """The two axes of a line chart, wide enough for all that can be shown."""
    points = [point for line in figure.lines for part in segments(line, figure) for point in part]
    points += [(x, end) for line in figure.lines for x, *ends in line.bars() for end in ends if _can_show(x, log=False)]
    x = scale_of([x for x, _ in points], log=figure.log_x, room=0.02)
    return x, scale_of([y for _, y in points], log=figure.log_y, from_zero=figure.steps)


def _can_show(value: float, *, log: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not log)


@dataclass(frozen=True)
class _Canvas:
    """Where on the picture a place and a value lie."""

    x_scale: Scale
    y_scale: Scale
    left: float

    def x(self, value: float) -> float:
        return self.left + (_RIGHT - self.left) * self.x_scale.share(value)

    def y(self, value: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * self.y_scale.share(value)


def _line_chart(figure: LineChart) -> list[Markup]:
    x_scale, y_scale = scales_of(figure)
    y_ticks = y_scale.ticks(most=_MOST_Y_TICKS)
    canvas = _Canvas(x_scale, y_scale, left=18 + _LETTER * max((len(label) for _, label in y_ticks), default=0))
    drawn = [_line(canvas, figure, line, number) for number, line in enumerate(figure.lines)]
    empty = [] if any(drawn) else [_nothing()]
    names = ", ".join(line.label for line in figure.lines)
    drawing = element(
        "svg",
        *_shade(canvas, figure),
        _grid(canvas),
        *drawn,
        *empty,
        _axis_names(figure, left=canvas.left),
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        role="img",
        aria_label=f"{figure.title}: {figure.y_label} against {figure.x_label}; lines: {names}",
    )
    # One line is named by the title and the axis.
    return [_legend(figure), drawing] if len(figure.lines) > 1 else [drawing]


def _grid(canvas: _Canvas) -> Markup:
    parts: list[Markup] = []
    for value, label in canvas.y_scale.ticks(most=_MOST_Y_TICKS):
        y = canvas.y(value)
        parts.append(element("line", x1=canvas.left, x2=_RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(element("text", label, x=canvas.left - 7, y=y + 4.5, text_anchor="end"))
    for value, label in canvas.x_scale.ticks(most=_MOST_X_TICKS):
        x = canvas.x(value)
        parts.append(element("line", x1=x, x2=x, y1=_BOTTOM, y2=_BOTTOM + 5, class_="tick"))
        parts.append(element("text", label, x=x, y=_BOTTOM + 20, text_anchor="middle"))
    parts.append(element("line", x1=canvas.left, x2=_RIGHT, y1=_BOTTOM, y2=_BOTTOM, class_="axis"))
    return joined(*parts)


def _axis_names(figure: Figure, *, left: float) -> Markup:
    # The name of the upright axis lies above it: long ones then need neither turning nor cutting.
    middle = (left + _RIGHT) / 2
    return joined(
        element("text", shortened(figure.y_label), x=4.0, y=15.0, class_="quiet"),
        element("text", shortened(figure.x_label), x=middle, y=HEIGHT - 10, text_anchor="middle", class_="quiet"),
    )


def _line(canvas: _Canvas, figure: LineChart, line: Line, number: int) -> Markup:
    parts = segments(line, figure)
    if not parts:
        return Markup()
    # Each part gets its share of the points; of hundreds of parts, dots for most, only some are drawn.
    total = sum(len(part) for part in parts)
    some = parts[:: math.ceil(2 * len(parts) / MOST_POINTS)]
    shown = [thinned(part, most=max(2, MOST_POINTS * len(part) // total)) for part in some]
    path = "".join(_path(canvas, part, steps=figure.steps) for part in shown if len(part) > 1)
    dots = [element("circle", cx=canvas.x(x), cy=canvas.y(y), r=3) for ((x, y), *rest) in shown if not rest]
    values = [y for part in parts for _, y in part]
    label = f"{line.label}: {short_number(min(values))} to {short_number(max(values))}, last {short_number(values[-1])}"
    curve = element("path", d=path, **_stroke(number), class_="curve")
    bars = _bars(canvas, line, slot=slot_of(number))
    return element("g", element("title", label), curve, *bars, *dots, fill=f"var(--m{slot_of(number)})")


def _shade(canvas: _Canvas, figure: LineChart) -> list[Markup]:
    shade = figure.shade
    if shade is None:
        return []
    left, right = (canvas.x(value) for value in (shade.low, shade.high))
    box = element(
        "rect", element("title", shade.label), x=left, y=_TOP, width=right - left, height=_BOTTOM - _TOP, class_="shade"
    )
    name = element("text", shade.label, x=(left + right) / 2, y=_BOTTOM - 8, text_anchor="middle", class_="quiet")
    return [box, name]


def _bars(canvas: _Canvas, line: Line, *, slot: int) -> list[Markup]:
    return [
        element("path", d=f"M{canvas.x(x):.1f} {canvas.y(low):.1f}V{canvas.y(high):.1f}", stroke=f"var(--m{slot})")
        for x, low, high in line.bars()
    ]


def _path(canvas: _Canvas, points: Sequence[Point], *, steps: bool) -> str:
    first, *rest = [(canvas.x(x), canvas.y(y)) for x, y in points]
    start = f"M{first[0]:.1f} {first[1]:.1f}"
    if steps:
        return start + "".join(f"H{x:.1f}V{y:.1f}" for x, y in rest)
    return start + "".join(f"L{x:.1f} {y:.1f}" for x, y in rest)


def _stroke(number: int) -> dict[str, str]:
    dashes = " ".join(map(str, dash_of(number)))
    return {"stroke": f"var(--m{slot_of(number)})"} | ({"stroke_dasharray": dashes} if dashes else {})


def _legend(figure: LineChart) -> Markup:
    items = [
        element(
            "li",
            element(
                "svg",
                element("path", d="M2 9H32", **_stroke(number), class_="curve"),
                viewBox="0 0 34 18",
                aria_hidden="true",
            ),
            line.label,
        )
        for number, line in enumerate(figure.lines)
    ]
    return element("ul", *items, class_="legend lines")


def _heatmap(figure: Heatmap) -> list[Markup]:
    cells = cells_of(figure)
    left = 14 + _LETTER * max(len(_short_label(label)) for label in cells.rows)
    width, height = (_RIGHT - left) / len(cells.columns), max(7.0, min(22.0, 300 / len(cells.rows)))
    bottom = _TOP + 8 + height * len(cells.rows)
    labels, depth = _column_labels(cells, left=left, width=width, y=bottom)
    drawing = element(
        "svg",
        _key(cells),
        element("text", shortened(figure.y_label, most=44), x=4.0, y=15.0, class_="quiet"),
        *_row_labels(cells, left=left, height=height),
        # Cells are drawn as unit squares and stretched, which keeps thousands of them short.
        element(
            "g",
            *_squares(cells),
            transform=f"translate({left:g} {_TOP + 8:g}) scale({width:.4g} {height:.4g})",
            class_="cells",
        ),
        *labels,
        element(
            "text",
            shortened(figure.x_label),
            x=(left + _RIGHT) / 2,
            y=bottom + depth + 16,
            text_anchor="middle",
            class_="quiet",
        ),
        viewBox=f"0 0 {WIDTH:g} {bottom + depth + 26:.0f}",
        role="img",
        aria_label=f"{figure.title}: {figure.y_label} by {figure.x_label}, {len(figure.rows)} x {len(figure.columns)} "
        f"values from {short_number(cells.low)} to {short_number(cells.high)}",
    )
    note = [element("p", cells.note, class_="quiet")] if cells.note else []
    return [drawing, *note]


def _squares(cells: Cells) -> list[Markup]:
    parts: list[Markup] = []
    for y, (row, values) in enumerate(zip(cells.rows, cells.values, strict=True)):
        for x, (column, value) in enumerate(zip(cells.columns, values, strict=True)):
            if value is None:
                parts.append(
                    element("path", element("title", f"{row}, {column}: empty"), d=f"M{x} {y}l1 1", class_="no")
                )
                continue
            title = element("title", f"{row}, {column}: {short_number(value)}")
            opacity = f"{shade(value, low=cells.low, high=cells.high):.2f}"
            parts.append(element("path", title, d=f"M{x} {y}h1v1h-1z", fill_opacity=opacity))
    return parts


def _row_labels(cells: Cells, *, left: float, height: float) -> list[Markup]:
    every = math.ceil(13 / height)
    return [
        element("text", _short_label(label), x=left - 6, y=_TOP + 8 + height * (i + 0.5) + 4.5, text_anchor="end")
        for i, label in enumerate(cells.rows)
        if i % every == 0
    ]


def _column_labels(cells: Cells, *, left: float, width: float, y: float) -> tuple[list[Markup], float]:
    """The labels, aslant where they do not fit side by side, and how far they reach below the cells."""
    shown = [_short_label(label) for label in cells.columns]
    longest = _LETTER * max(len(label) for label in shown)
    flat = longest + 4 <= width or longest <= 4 * _LETTER
    every = math.ceil((longest + 6) / width) if flat else math.ceil(20 / width)
    labels = []
    for i in range(0, len(shown), every):
        x = left + width * (i + 0.5)
        place: dict[str, str | float] = {"x": x, "y": y + 16, "text_anchor": "middle"}
        if not flat:
            place = {
                "x": x + 4,
                "y": y + 12,
                "text_anchor": "end",
                "transform": f"rotate(-40 {x + 4:.1f} {y + 12:.1f})",
            }
        labels.append(element("text", shown[i], **place))
    return labels, 20.0 if flat else 14 + 0.65 * longest


def _key(cells: Cells) -> Markup:
    """What the shades mean, at the upper right."""
    if cells.low == cells.high:
        return element("text", f"all {short_number(cells.low)}", x=_RIGHT, y=15.0, text_anchor="end")
    low, high = short_number(cells.low), short_number(cells.high)
    right = _RIGHT - _LETTER * len(high) - 6
    steps = [shade(i / 7, low=0.0, high=1.0) for i in range(8)]
    boxes = [
        element("rect", x=right - 12 * (8 - i), y=5.0, width=12, height=12, fill_opacity=f"{opacity:.2f}")
        for i, opacity in enumerate(steps)
    ]
    return joined(
        element("text", low, x=right - 12 * 8 - 6, y=15.0, text_anchor="end"),
        element("g", *boxes, class_="cells"),
        element("text", high, x=_RIGHT, y=15.0, text_anchor="end"),
    )


def shortened(text: str, *, most: int = _LONGEST_NAME) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _short_label(label: str) -> str:
    return shortened(label, most=18)


def _nothing() -> Markup:
    return element("text", "no value can be shown", x=WIDTH / 2, y=(_TOP + _BOTTOM) / 2, text_anchor="middle")
