"""The result of a study in a few lines of plain text."""

from __future__ import annotations

from collections.abc import Mapping

import orchestrator.report.words as words
from orchestrator.comparison import Comparison, MethodSummary, TaskComparison, Terms
from orchestrator.report.reuse_words import reuse_lines
from orchestrator.report.subtask_words import subtask_lines, subtask_rows
from orchestrator.reuse.summary import Reuse
from orchestrator.subtask_comparison import SubtaskComparison


def summary_lines(
    comparison: Comparison, subtasks: Mapping[str, SubtaskComparison], reuse: Reuse | None = None
) -> list[str]:
    """One table per task, another of its sub-tasks where class modules were confirmed, then what they say.

    Args:
        comparison: What the study says.
        subtasks: Task -> what it says of k of N classes.
        reuse: What class modules were good for elsewhere; None: nothing was tried.

    Returns:
        Lines without markup; tables are as wide as their content, sentences are not wrapped.
    """
    lines: list[str] = []
    for task in comparison.tasks:
        lines += [*task_title(task, comparison.terms), *_aligned(task_rows(task, comparison.terms))]
        lines += [f"  {line}" for line in words.task_lines(task, comparison.terms)]
        if task.task in subtasks:
            lines += _subtasks(subtasks[task.task])
        lines += [f"  Incomplete: {line}" for line in task.incomplete]
        lines.append("")
    if reuse is not None:
        lines += [f"Reuse ({reuse.split}):", *(f"  {line}" for line in reuse_lines(reuse)), ""]
    return lines + _limits(comparison)


def _limits(comparison: Comparison) -> list[str]:
    if len(comparison.terms.seeds) == 1:
        return words.limits(comparison)
    return [
        f"±: standard deviation over {len(comparison.terms.seeds)} seeds. Intervals and all verdicts are in the "
        "report; 'not distinguishable' does not mean equal."
    ]


def task_title(task: TaskComparison, terms: Terms) -> list[str]:
    """What the table of a task shows, in one line."""
    metric, measure = words.METRIC_WORDS[task.metric], words.MEASURE_WORDS[terms.measure]
    return [f"{task.task}: {task.split} {metric}, mean ± std, n = {len(terms.seeds)}; size is the share of {measure}"]


def _subtasks(found: SubtaskComparison) -> list[str]:
    title = (
        f"  Sub-tasks of {found.sizes[-1]} classes: {found.split} accuracy (and share of the dense network's "
        "parameters) on k of them"
    )
    said = [f"  {line}" for line in subtask_lines(found)]
    return [title, *_aligned(subtask_rows(found)), *said]


def task_rows(task: TaskComparison, terms: Terms) -> list[list[str]]:
    """The head of a task's table, and a row or two for each method."""
    budgets = [f"at {words.budget_percent(budget)}" for budget in terms.size_budgets]
    rows = [["method", *budgets, f"smallest within {terms.tolerance:g}", "hypervolume"]]
    if task.dense is not None:
        dense = words.score_and_spread(task.dense.score(task.split))
        rows.append([task.dense.method, *["-"] * len(budgets), f"100 % ({dense})", "-"])
        error = words.mse_and_spread(task.dense.mse(task.split))
        rows += [["", *[""] * len(budgets), error, ""]] if error else []
    for one in task.methods:
        rows += [_method_row(one, task, terms), *_error_row(one, task, terms)]
    return rows


def _method_row(one: MethodSummary, task: TaskComparison, terms: Terms) -> list[str]:
    chosen = [one.at_budget[budget] for budget in terms.size_budgets]
    within = one.within_tolerance
    return [
        one.method,
        *(words.score_and_spread(best.score(task.split)) if best else "-" for best in chosen),
        f"{words.percent(within.ratios[terms.measure].mean)} ({words.score(within.score(task.split).mean)})"
        if within
        else "-",
        words.score_and_spread(one.hypervolume) if one.hypervolume else "-",
    ]


def _error_row(one: MethodSummary, task: TaskComparison, terms: Terms) -> list[list[str]]:
    """For a regression the squared errors under a method's scores; nothing for a classification."""
    chosen = [*(one.at_budget[budget] for budget in terms.size_budgets), one.within_tolerance]
    errors = [words.mse_and_spread(best.mse(task.split)) if best else "" for best in chosen]
    return [["", *errors, ""]] if any(errors) else []


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
