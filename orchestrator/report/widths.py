"""Accuracy against width, of every method that delivers networks of several widths, and of networks made for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orchestrator.report.words as words
from methods.figures import Line, LineChart, Shade
from orchestrator.comparison import Configuration, TaskComparison
from orchestrator.report.charts import chart
from orchestrator.report.markup import Markup, element
from orchestrator.report.tables import head, table


@dataclass(frozen=True)
class WidthSeries:
    """Networks of several widths that belong together: of one configuration, or each trained for its own width."""

    label: str
    points: Mapping[float, Configuration]
    """By width, in ascending order."""


def width_series(task: TaskComparison) -> tuple[WidthSeries, ...]:
    """The series of a task, methods in alphabetical order; empty where no method sets a width.

    A network has a width here if its settings hold `width` and `compression_ratio`. A method whose configurations have
    one width each, such as networks trained for it, is one series; of any other each configuration is one.
    """
    by_method: dict[str, dict[int, dict[float, Configuration]]] = {}
    for one in task.configurations:
        if {"width", "compression_ratio"} <= one.settings.keys() and "depth" not in one.settings:
            trials = by_method.setdefault(one.method, {})
            trials.setdefault(one.trial, {})[float(one.settings["width"])] = one
    found = []
    for method, trials in sorted(by_method.items()):
        if all(len(points) == 1 for points in trials.values()):
            merged = {width: one for points in trials.values() for width, one in points.items()}
            found.append(WidthSeries(method, dict(sorted(merged.items()))))
            continue
        for trial, points in sorted(trials.items()):
            label = method if len(trials) == 1 else f"{method} #{trial}"
            found.append(WidthSeries(label, dict(sorted(points.items()))))
    return tuple(found)


def width_chart(task: TaskComparison) -> LineChart | None:
    """Mean accuracy over seeds with its standard deviation; None where no method sets a width."""
    series = width_series(task)
    if not series:
        return None
    lines = [
        Line(
            label=one.label,
            x=tuple(one.points),
            y=tuple(point.score(task.split).mean for point in one.points.values()),
            spread=tuple(point.score(task.split).std for point in one.points.values()),
        )
        for one in series
    ]
    if task.dense is not None:
        dense = task.dense.score(task.split).mean
        ends = (min(min(one.points) for one in series), max(max(one.points) for one in series))
        lines.append(Line(label="dense", x=ends, y=(dense, dense)))
    trained = {_trained(point) for one in series for point in one.points.values()} - {None}
    seen = next(iter(trained)) if len(trained) == 1 else None
    return LineChart(
        name="accuracy_by_width",
        title=f"{task.task}: {task.split} {words.METRIC_WORDS[task.metric]} against width, mean and standard deviation",
        x_label="width: share of the full width of what morphs",
        y_label=f"{task.split} {words.METRIC_WORDS[task.metric]}",
        lines=tuple(lines),
        shade=None if seen is None else Shade(label="widths seen in training", low=seen[0], high=seen[1]),
    )


def width_section(task: TaskComparison) -> list[Markup]:
    """Chart and table; nothing where no method sets a width."""
    drawn = width_chart(task)
    if drawn is None:
        return []
    return [
        element("h3", "Accuracy at any width"),
        element("div", chart(drawn), class_="charts"),
        _table(task),
    ]


def _table(task: TaskComparison) -> Markup:
    series = width_series(task)
    widths = sorted({width for one in series for width in one.points})
    return table(
        f"{task.split.capitalize()} {words.METRIC_WORDS[task.metric]}, mean ± standard deviation over seeds. "
        "Compression ratio: 1 - width, of what morphs alone. Parameters and multiply-accumulates as deployed, as "
        "shares of the dense network's, of the first method that has the width. A star: a width not trained.",
        [head("width"), *(head(f"{width:g}", number=True) for width in widths)],
        [
            _row("compression ratio", [f"{1 - width:g}" for width in widths]),
            *(
                _row(name, [_share(series, width, measure) for width in widths])
                for name, measure in (("parameters", "parameters"), ("multiply-accumulates", "macs"))
            ),
            *(_row(_name(one), [_cell(one.points.get(width), task) for width in widths]) for one in series),
        ],
    )


def _name(one: WidthSeries) -> str:
    """With the size of the generator, where networks come from one, as none of them is as large."""
    sizes = {int(point.settings.get("generator_parameters", 0)) for point in one.points.values()}
    return f"{one.label}, from a generator of {max(sizes):,} parameters" if max(sizes) else one.label


def _row(name: str, cells: Sequence[str]) -> Markup:
    return element("tr", element("th", name, scope="row"), *(element("td", cell, class_="n") for cell in cells))


def _share(series: Sequence[WidthSeries], width: float, measure: str) -> str:
    point = next(one.points[width] for one in series if width in one.points)
    return words.percent(point.ratios[measure].mean)


def _cell(point: Configuration | None, task: TaskComparison) -> str:
    if point is None:
        return ""
    star = "*" if point.settings.get("seen") is False else ""
    return f"{words.score_and_spread(point.score(task.split))}{star}"


def _trained(point: Configuration) -> tuple[float, float] | None:
    if not {"lowest_width", "highest_width"} <= point.settings.keys():
        return None
    return float(point.settings["lowest_width"]), float(point.settings["highest_width"])
