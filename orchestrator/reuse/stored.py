"""Reuse of a stored study: evaluated once, kept beside its other results, read again for every view."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.comparison import compare
from orchestrator.errors import StoreProblem
from orchestrator.results import table_bytes
from orchestrator.reuse.evaluating import evaluate_reuse
from orchestrator.reuse.summary import Reuse, summarise
from orchestrator.reuse.table import FILE, SCHEMA, reuse_table
from orchestrator.spec import Study

if TYPE_CHECKING:
    from methods.tasks import TaskData
    from orchestrator.store import Store


def is_wanting(study: Study, store: Store) -> bool:
    """Whether the study has scenarios that are still to be evaluated, which its test sheet allows."""
    folder = store.study(study.name)
    return study.reuse is not None and folder.read_test() is not None and folder.read_file(FILE) is None


def write_reuse(study: Study, store: Store, data: Mapping[str, TaskData]) -> None:
    """Evaluate the study's scenarios and keep the table.

    Args:
        study: Its results table must be up to date.
        data: Of its tasks, test splits included.
    """
    rows = evaluate_reuse(study, store, data, compare(store, study.name))
    store.study(study.name).write_file(FILE, table_bytes(reuse_table(rows)))


def read_reuse(store: Store, study_name: str) -> Reuse | None:
    """What reuse gained on the test split; None for a study without scenarios, or before they are evaluated.

    Raises:
        StoreProblem: The table is there but cannot be read.
    """
    data = store.study(study_name).read_file(FILE)
    if data is None:
        return None
    try:
        table = pq.read_table(io.BytesIO(data), schema=SCHEMA)
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreProblem(
            f"{store}: {FILE} of study '{study_name}' is not readable ({error}); delete it, and `pare resume` writes "
            "it again"
        ) from error
    return summarise(table.to_pylist())
