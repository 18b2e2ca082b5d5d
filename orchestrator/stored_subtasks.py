"""The second axis of a stored study: its table of sub-tasks, and what `subtask_comparison` says of it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from methods.registry import UnknownMethod, config_class
from orchestrator.comparison import Comparison, read_results
from orchestrator.errors import StoreProblem
from orchestrator.subtask_comparison import SubtaskComparison, compare_task
from orchestrator.subtask_table import COMPOSED, SCHEMA

if TYPE_CHECKING:
    from orchestrator.store import Store


def compare_subtasks(store: Store, study_name: str, comparison: Comparison) -> dict[str, SubtaskComparison]:
    """Compare by the study's `subtasks.parquet`, which a study of an earlier version lacks.

    Returns:
        Task -> what is to be said of its sub-tasks, for tasks with confirmed class modules.

    Raises:
        StoreProblem: The store cannot be read.
    """
    rows = read_subtasks(store, study_name).to_pylist()
    if not any(row["network"] == COMPOSED for row in rows):
        return {}
    results = read_results(store, study_name).to_pylist()
    found = [compare_task(task, rows, results, comparison.terms) for task in comparison.tasks]
    return {one.task: _with_defaults(one, store) for one in found if one is not None}


def _with_defaults(found: SubtaskComparison, store: Store) -> SubtaskComparison:
    """With the defaults of methods that are installed here; a run knows which method its label stands for."""
    defaults: dict[str, Mapping[str, Any]] = {}
    for one in found.chosen:
        result = store.read_outcome(one.configuration.run_keys[0])
        if result is not None:
            with suppress(UnknownMethod, ImportError, ValueError):
                defaults[one.configuration.method] = config_class(result.run.method)().model_dump(mode="json")
    return replace(
        found,
        modular=tuple(replace(one, defaults=defaults.get(one.configuration.method, {})) for one in found.modular),
        chosen=tuple(replace(one, defaults=defaults.get(one.configuration.method, {})) for one in found.chosen),
    )


def read_subtasks(store: Store, study_name: str) -> pa.Table:
    """The study's table of sub-tasks; empty where an earlier version wrote none.

    Raises:
        StoreProblem: It is there but cannot be read.
    """
    data = store.study(study_name).read_file("subtasks.parquet")
    if data is None:
        return SCHEMA.empty_table()
    try:
        return pq.read_table(io.BytesIO(data), schema=SCHEMA)
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreProblem(
            f"{store}: subtasks.parquet of study '{study_name}' is not readable ({error}); delete it, and "
            f"`pare resume` writes it again"
        ) from error
