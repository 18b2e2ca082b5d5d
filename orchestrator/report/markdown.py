"""The comparison as tables in Markdown, for places that show no page: the same rows as in the terminal."""

from __future__ import annotations

from orchestrator.comparison import Comparison
from orchestrator.report.terminal import task_rows, task_title


def comparison_table(comparison: Comparison) -> str:
    """A table per task under a line that says what is in it; empty while no configuration was confirmed."""
    tables = [
        "\n\n".join([*task_title(task, comparison.terms), _table(task_rows(task, comparison.terms))])
        for task in comparison.tasks
        if task.configurations
    ]
    return "\n\n".join(tables) + "\n" if tables else ""


def _table(rows: list[list[str]]) -> str:
    head, *body = rows
    aligned = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(_line(cells) for cells in (head, aligned, *body))


def _line(cells: list[str]) -> str:
    # Labels and numbers alone: nothing in a cell could end it.
    return f"| {' | '.join(cells)} |"
