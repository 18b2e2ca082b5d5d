"""The tables of a study, column by column, as a page: `python -m orchestrator.columns_page > studies/RESULTS.md`."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.results import COLUMNS, Column
from orchestrator.reuse.table import COLUMNS as REUSE_COLUMNS
from orchestrator.subtask_table import COLUMNS as SUBTASK_COLUMNS

_OPENING = """# Results, column by column

A study leaves three tables in its folder of the store, `studies/<name>/`, for any tool that reads Parquet. Shares are
between 0 and 1 unless said otherwise; a value that is not known is null. The same descriptions are in each column's
metadata.

Two examples to start from, which print a table each: [with pandas](examples/ask_with_pandas.py) and
[with SQL](examples/ask_with_sql.py) through DuckDB.
"""

_TABLES = (
    ("results.parquet", "One row per delivered network and seed, one per run that delivered none.", COLUMNS),
    (
        "subtasks.parquet",
        "One row per network, seed and number of classes: accuracy on k of N classes.",
        SUBTASK_COLUMNS,
    ),
    ("reuse.parquet", "One row per patch or new task, seed and split; of studies with `reuse` alone.", REUSE_COLUMNS),
)


def columns_page() -> str:
    """The whole page as Markdown."""
    return _OPENING + "".join(_table(name, what, columns) for name, what, columns in _TABLES)


def _table(name: str, what: str, columns: Sequence[Column]) -> str:
    rows = "".join(f"| `{one.name}` | {one.type} | {one.description} |\n" for one in columns)
    return f"\n## {name}\n\n{what}\n\n| column | type | meaning |\n| --- | --- | --- |\n{rows}"


if __name__ == "__main__":
    print(columns_page(), end="")
