"""What the methods recorded while they worked: the figures of one run of each method, folded away on the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from methods.figures import Figure
from orchestrator.comparison import Configuration, TaskComparison, Terms
from orchestrator.deployment import deployed
from orchestrator.report.charts import chart
from orchestrator.report.marks import Mark
from orchestrator.report.markup import Markup, element
from orchestrator.report.picture import row_id, swatch


@dataclass(frozen=True)
class ShownRun:
    """The run whose figures stand for those of its method."""

    configuration: Configuration
    seed: int
    run_key: str
    why: str
    """Why this one, in words."""


def shown_runs(task: TaskComparison, terms: Terms) -> tuple[ShownRun, ...]:
    """One run of each method, dense first: of the configuration that one would deploy, with the study's first seed."""
    found = [] if task.dense is None else [_run(task.dense, terms, "the reference")]
    return (*found, *(_run(one.configuration, terms, one.why) for one in deployed(task, terms)))


def _run(configuration: Configuration, terms: Terms, why: str) -> ShownRun:
    return ShownRun(configuration, terms.seeds[0], configuration.run_keys[0], why)


def inside(
    task: TaskComparison, terms: Terms, marks: Mapping[str, Mark], figures: Mapping[str, tuple[Figure, ...]]
) -> list[Markup]:
    """The figures of each method that has any, under a summary to click on; nothing when none has.

    Args:
        task: Whose methods.
        terms: Of the study.
        marks: Colour and shape of each competitor.
        figures: By run key, at least those of `shown_runs`.
    """
    shown = [(one, figures.get(one.run_key, ())) for one in shown_runs(task, terms)]
    return [_folded(one, found, task, marks.get(one.configuration.method)) for one, found in shown if found]


def _folded(one: ShownRun, figures: tuple[Figure, ...], task: TaskComparison, mark: Mark | None) -> Markup:
    configuration = one.configuration
    name = f"{configuration.method} #{configuration.trial} {configuration.variant}"
    count = f"{len(figures)} figure{'' if len(figures) == 1 else 's'}"
    return element(
        "details",
        element("summary", swatch(mark), element("strong", configuration.method), f": {count}", class_="mark"),
        element(
            "p",
            "Of ",
            element("a", name, href=f"#{row_id(task.task, configuration)}"),
            f", {one.why}, with seed {one.seed}.",
        ),
        element("div", *(chart(figure) for figure in figures), class_="charts"),
    )
