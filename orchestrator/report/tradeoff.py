"""What a smaller module costs: reuse accuracy against module size as SVG inside the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orchestrator.report.subtask_words as subtask_words
import orchestrator.report.words as words
from orchestrator.report.axes import score_range
from orchestrator.report.marks import Mark, dash_of, marks_of
from orchestrator.report.markup import Markup, element, joined
from orchestrator.report.picture import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, error_bar, shape, swatch
from orchestrator.report.series import Series, series_of
from orchestrator.report.ticks import Scale, Tick, linear_ticks, log_ticks, scale_of
from orchestrator.statistics import Estimate
from orchestrator.subtask_comparison import ModularConfiguration, SubtaskComparison

_LETTER = 7.2
_LINE = 14.0
"""Size of the labels' letters."""


@dataclass(frozen=True)
class TradeoffAxes:
    """Ranges of the picture: sizes of modules on a logarithmic axis, accuracies on a linear one."""

    sizes: Scale
    lowest: float
    highest: float

    def size_ticks(self) -> list[float]:
        """Round sizes; within less than a decade evenly spaced ones, as there would be too few otherwise."""
        places = log_ticks(self.sizes.low, self.sizes.high)
        return places if len(places) > 3 else [place for place, _ in linear_ticks(self.sizes.low, self.sizes.high)]

    def score_ticks(self) -> list[Tick]:
        return linear_ticks(self.lowest, self.highest)


def tradeoff_axes(found: SubtaskComparison) -> TradeoffAxes:
    """Ranges that show every configuration, dense, and intervals as far as there is room."""
    scores = [one.composed.reuse_accuracy(found.split) for one in found.modular]
    means = [one.mean for one in scores]
    if found.dense is not None:
        means.append(found.dense.curve.reuse_accuracy(found.split).mean)
    lows = [one.low for one in scores if one.low is not None]
    lowest, highest = score_range(means, lows=lows, highs=[one.high for one in scores if one.high is not None])
    sizes = scale_of([one.module_size.mean for one in found.modular], log=True, room=0.1)
    return TradeoffAxes(sizes, lowest, highest)


def tradeoff_marks(found: SubtaskComparison) -> dict[str, Mark]:
    """Colour and shape of each series by its label."""
    return marks_of(series.label for series in series_of(found.modular))


def module_row_id(task: str, one: ModularConfiguration) -> str:
    """Name of a configuration's row in the table of sub-tasks."""
    return f"modules-{task}-{one.configuration.method}-{one.configuration.trial}"


@dataclass(frozen=True)
class _Canvas:
    """Where on the picture a size and a score lie."""

    axes: TradeoffAxes

    def x(self, size: float) -> float:
        return LEFT + (RIGHT - LEFT) * self.axes.sizes.share(size)

    def y(self, score: float) -> float:
        """Never outside the frame."""
        span = self.axes.highest - self.axes.lowest
        return min(max(BOTTOM - (BOTTOM - TOP) * (score - self.axes.lowest) / span, TOP), BOTTOM)


def tradeoff(found: SubtaskComparison) -> Markup:
    """The figure of one task: legend, picture, caption. Points link to their rows of the table of sub-tasks."""
    canvas = _Canvas(tradeoff_axes(found))
    series, marks = series_of(found.modular), tradeoff_marks(found)
    drawing = element(
        "svg",
        _grid(canvas),
        _dense_line(canvas, found),
        *(_line(canvas, one, found, number, marks[one.label]) for number, one in enumerate(series) if one.joined),
        *(_point(canvas, one, found, marks[own.label]) for own in series for one in own.points),
        *_labels(canvas, series, found),
        _axis_names(found),
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        role="group",
        aria_label=f"{found.task}: reuse accuracy against size of a class module; the table below has the same figures",
    )
    return element("figure", _legend(series, marks), drawing, _caption(series, found))


def _grid(canvas: _Canvas) -> Markup:
    parts: list[Markup] = []
    for score, label in canvas.axes.score_ticks():
        y = canvas.y(score)
        parts.append(element("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(element("text", label, x=LEFT - 8, y=y + 4.5, text_anchor="end"))
    for size in canvas.axes.size_ticks():
        x = canvas.x(size)
        parts.append(element("line", x1=x, x2=x, y1=BOTTOM, y2=BOTTOM + 5, class_="tick"))
        parts.append(element("text", words.budget_percent(size), x=x, y=BOTTOM + 20, text_anchor="middle"))
    parts.append(element("line", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM, class_="axis"))
    return joined(*parts)


def _axis_names(found: SubtaskComparison) -> Markup:
    middle = (TOP + BOTTOM) / 2
    return joined(
        element(
            "text",
            "mean size of a class module: share of the network's parameters (logarithmic)",
            x=(LEFT + RIGHT) / 2,
            y=HEIGHT - 10,
            text_anchor="middle",
        ),
        element(
            "text",
            f"{found.split} reuse accuracy",
            x=12,
            y=middle,
            text_anchor="middle",
            transform=f"rotate(-90 12 {middle:g})",
        ),
    )


def _dense_line(canvas: _Canvas, found: SubtaskComparison) -> Markup:
    if found.dense is None:
        return Markup()
    mean = found.dense.curve.reuse_accuracy(found.split).mean
    y = canvas.y(mean)
    return joined(
        element("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="dense"),
        element("text", f"dense {words.score(mean)}, other logits cut off", x=LEFT + 6, y=y - 5),
    )


def _line(canvas: _Canvas, series: Series, found: SubtaskComparison, number: int, mark: Mark) -> Markup:
    corners = [_place(canvas, one, found) for one in series.points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)
    dashes = " ".join(map(str, dash_of(number)))
    return element("path", d=path, class_="front", stroke=mark.css, **({"stroke_dasharray": dashes} if dashes else {}))


def _point(canvas: _Canvas, one: ModularConfiguration, found: SubtaskComparison, mark: Mark) -> Markup:
    """A point with its intervals; it links to its row of the table."""
    reuse = one.composed.reuse_accuracy(found.split)
    x, y = _place(canvas, one, found)
    bars = [_upright_bar(canvas, x, reuse, mark), _level_bar(canvas, y, one.module_size, mark)]
    point = shape(x, y, mark, fill=mark.css if one.on_front else "var(--paper)", stroke=mark.css)
    label = (
        f"{subtask_words.name(one)} {words.settings({**one.configuration.config, **one.settings})}: {found.split} "
        f"reuse accuracy {words.score_and_spread(reuse)} {words.interval(reuse)}, module size "
        f"{words.percent(one.module_size.mean)}, overlap {words.percent(one.module_overlap.mean)}"
    )
    link = f"#{module_row_id(found.task, one)}"
    return element("a", element("title", label), *bars, point, href=link, aria_label=label, class_="point")


def _upright_bar(canvas: _Canvas, x: float, reuse: Estimate, mark: Mark) -> Markup:
    if reuse.low is None or reuse.high is None:
        return Markup()
    return element("path", d=error_bar(x, canvas.y(reuse.low), canvas.y(reuse.high)), stroke=mark.css, class_="bar")


def _level_bar(canvas: _Canvas, y: float, size: Estimate, mark: Mark) -> Markup:
    if size.low is None or size.high is None:
        return Markup()
    scale = canvas.axes.sizes
    low, high = (min(max(end, scale.low), scale.high) for end in (size.low, size.high))
    return element("path", d=f"M{canvas.x(low):.1f} {y:.1f}H{canvas.x(high):.1f}", stroke=mark.css, class_="bar")


def _place(canvas: _Canvas, one: ModularConfiguration, found: SubtaskComparison) -> tuple[float, float]:
    return canvas.x(one.module_size.mean), canvas.y(one.composed.reuse_accuracy(found.split).mean)


def _labels(canvas: _Canvas, all_series: tuple[Series, ...], found: SubtaskComparison) -> Iterator[Markup]:
    """Names beside the points, each where it covers neither another point nor another name; else left out."""
    points = [_place(canvas, one, found) for series in all_series for one in series.points]
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in points]
    names = [name for series in all_series for name in series.names]
    for (x, y), name in zip(points, names, strict=True):
        width = _LETTER * len(name)
        # Larger modules are more accurate, so lines rise and leave room below on the right and above on the left.
        corners = ((x + 9, y + 16), (x - 9 - width, y - 5), (x + 9, y - 5), (x - 9 - width, y + 16))
        for left, base in corners:
            box = left, base - _LINE + 3, left + width, base + 3
            if box[0] > LEFT and box[2] < RIGHT and box[1] > TOP and box[3] < BOTTOM and not _covers(box, taken):
                taken.append(box)
                yield element("text", name, x=left, y=base, class_="quiet")
                break


_Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def _covers(box: _Box, taken: list[_Box]) -> bool:
    return any(box[0] < it[2] and it[0] < box[2] and box[1] < it[3] and it[1] < box[3] for it in taken)


def _legend(all_series: tuple[Series, ...], marks: Mapping[str, Mark]) -> Markup:
    items = [element("li", swatch(marks[one.label]), one.label) for one in all_series]
    return element("ul", *items, class_="legend")


def _caption(all_series: tuple[Series, ...], found: SubtaskComparison) -> Markup:
    n = found.modular[0].module_size.n
    bars = "bars: 95 % interval of the mean over seeds" if n > 1 else "one seed: no intervals"
    lines = (
        " Lines join configurations that differ in nothing but how units were chosen."
        if any(one.joined for one in all_series)
        else ""
    )
    named = ", ".join(sorted({one.named_by for one in all_series}))
    return element(
        "figcaption",
        f"Reuse accuracy: of class modules composed for k classes, on {found.split} samples of these classes; mean "
        f"over subsets of k classes, then over k = {found.sizes[0]} to {found.sizes[-1]}. Points: confirmed "
        f"configurations, mean over {n} seed{'s' if n > 1 else ''}, {bars}; filled: no configuration of the method "
        f"has smaller modules and more reuse accuracy on validation. Beside the points: {named}.{lines}",
    )
