"""What each method's figures cost on one task, and how far its choice by validation flattered it."""

from __future__ import annotations

from collections.abc import Mapping

import orchestrator.report.words as words
from orchestrator.comparison import MethodSummary, TaskComparison
from orchestrator.report.marks import Mark
from orchestrator.report.markup import Markup, element
from orchestrator.report.tables import head, method_head, table


def effort_section(task: TaskComparison, marks: Mapping[str, Mark]) -> list[Markup]:
    """A table of the competitors, and a sentence where their times differ much."""
    said = words.unequal_effort(task)
    rows = [_row(one, marks.get(one.method)) for one in task.methods if one.effort is not None]
    shown = table(
        "Device time of the search and of training its best again with every seed; results that the store had already "
        "count with the time they took. Gap: validation minus test score, mean over confirmed configurations, with its "
        "95 % interval; above 0 the choice by validation flattered.",
        [
            head("method"),
            head("trials", number=True),
            head("stopped early", number=True),
            head("failed runs", number=True),
            head("search", number=True),
            head("confirmation", number=True),
            head("gap", number=True),
        ],
        rows,
    )
    return [shown, *([element("p", said)] if said else [])]


def _row(one: MethodSummary, mark: Mark | None) -> Markup:
    effort = one.effort
    assert effort is not None
    numbers = [
        *(str(count) for count in (effort.trials, effort.stopped_early, effort.failed)),
        *(words.duration(seconds) for seconds in (effort.search_seconds, effort.confirm_seconds)),
    ]
    if one.gap is None:
        gap = element("td", "not tested", class_="n quiet")
    else:
        gap = element("td", words.signed(one.gap.mean), element("small", words.interval(one.gap)), class_="n")
    return element("tr", method_head(one.method, mark), *(element("td", number, class_="n") for number in numbers), gap)
