"""Results of reuse as one Arrow table: a row per patch or new task, seed and split, and one for what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from orchestrator.results import Column

FILE = "reuse.parquet"

COLUMNS = (
    Column("study", pa.string(), "Name of the study."),
    Column("kind", pa.string(), "`patch` (a weak network mended) or `new_task` (a task made of modules)."),
    Column("seed", pa.int64(), "Seed of all runs that take part."),
    Column(
        "split",
        pa.string(),
        "Samples of the weak network's or the new task: `validation` or `test`. Validation samples of a new task may "
        "have trained a module that is a part of it.",
    ),
    Column("num_samples", pa.int64(), "How many these are."),
    Column("weak", pa.string(), "Cell (task/method) whose network is mended; of a new task that trained from scratch."),
    Column("strong", pa.string(), "Cell whose module is taken; of a new task all cells, with commas between."),
    Column("weak_run", pa.string(), "Content key of its run."),
    Column("strong_run", pa.string(), "Content key of its run; of a new task all, with commas between."),
    Column("way", pa.string(), "Of a patch: `calibrated`, `score` or `trained_head`; null of a new task."),
    Column("class_name", pa.string(), "Of a patch, the class; null of a new task."),
    Column("before_precision", pa.float64(), "Of the class, in the decisions of the weak network."),
    Column("before_recall", pa.float64(), "Likewise."),
    Column("before_f1", pa.float64(), "Likewise."),
    Column("before_others", pa.float64(), "Accuracy of the weak network on the samples of all other classes."),
    Column("after_precision", pa.float64(), "The same of the patched network."),
    Column("after_recall", pa.float64(), "Likewise."),
    Column("after_f1", pa.float64(), "Likewise."),
    Column("after_others", pa.float64(), "Likewise."),
    Column("control_precision", pa.float64(), "Of `trained_head`: the weak network behind a layer trained alone."),
    Column("control_recall", pa.float64(), "Likewise."),
    Column("control_f1", pa.float64(), "Likewise."),
    Column("control_others", pa.float64(), "Likewise."),
    Column("accuracy", pa.float64(), "Of a new task: of the modules put together."),
    Column("scratch_accuracy", pa.float64(), "Of a new task: of the network trained from scratch."),
    Column("weak_macs", pa.int64(), "Multiply-accumulates of the weak network, or of that trained from scratch."),
    Column("macs", pa.int64(), "Of the patched network, or of the modules put together."),
    Column("reason", pa.string(), "Why this was not done; all figures are null then. Null of what was measured."),
)
SCHEMA = pa.schema([pa.field(c.name, c.type, metadata={"description": c.description}) for c in COLUMNS])


def reuse_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The rows, in the order given."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=SCHEMA)
