"""Which confirmed configurations validation cannot tell apart, so that more seeds of them are worth their time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise

from orchestrator.comparison import Configuration, TaskComparison, Terms, compare_tasks, terms_of
from orchestrator.results import results_table
from orchestrator.runs import Record
from orchestrator.spec import Cell, Study
from orchestrator.statistics import Estimate
from orchestrator.store import Store


def close_calls(study: Study, records: Iterable[Record], store: Store) -> list[tuple[Cell, int]]:
    """Cell and trial of every configuration that is too close to call, in the order of the study's cells.

    Only runs with the study's own seeds are looked at, so the answer stays the same while further seeds come in and
    an interrupted study goes on where it was.

    Raises:
        StoreProblem: A result cannot be read.
    """
    own = [record for record in records if record.seed in study.seeds]
    keys = {record.run.key for record in own if record.status == "finished"}
    outcomes = {key: result for key in sorted(keys) if (result := store.read_outcome(key)) is not None}
    known = [record for record in own if record.status != "finished" or record.run.key in outcomes]
    table = results_table(known, outcomes, None, measure=study.report.measure, tolerance=study.report.tolerance)
    dense = tuple(entry.label for entry in study.methods if entry.method == "dense")
    terms = terms_of(study, dense_labels=dense)
    close = {
        (task.task, one.method, one.trial)
        for task in compare_tasks(table.to_pylist(), terms)
        for one in too_close(task, terms)
    }
    return [
        (cell, trial)
        for cell in study.cells
        for task, label, trial in sorted(close)
        if (task, label) == (cell.task_name, cell.entry.label)
    ]


def too_close(task: TaskComparison, terms: Terms) -> list[Configuration]:
    """Configurations whose interval on validation overlaps that of one they are compared with.

    Compared are, at each size budget, the choices of two methods that follow each other in rank, and the members of
    one method's front. Without interval, of a single seed, nothing can be told apart. The dense network is compared
    with none of them.
    """
    pairs = [*_neighbours_at_budgets(task, terms), *_front_members(task)]
    return [one for pair in pairs if _overlap(pair[0].validation, pair[1].validation) for one in pair]


def _neighbours_at_budgets(task: TaskComparison, terms: Terms) -> Iterator[Sequence[Configuration]]:
    for budget in terms.size_budgets:
        chosen = [one for summary in task.methods if (one := summary.at_budget[budget]) is not None]
        yield from pairwise(sorted(chosen, key=lambda one: (-one.validation.mean, one.method)))


def _front_members(task: TaskComparison) -> Iterator[Sequence[Configuration]]:
    for summary in task.methods:
        own = [one for one in task.configurations if one.method == summary.method and one.on_front]
        yield from combinations(own, 2)


def _overlap(one: Estimate, other: Estimate) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return True
    return one.low <= other.high and other.low <= one.high
