"""A study's second axis as one Arrow table: accuracy on k of N classes, against the size of what serves them.

One row per finished run, network and number of classes: the modules of the classes composed, or a whole network whose
other logits are cut off. The columns are `COLUMNS`. A pure function of what the store holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from orchestrator.module_results import COMPOSED_ROW
from orchestrator.results import COLUMNS as RUN_COLUMNS
from orchestrator.results import Column
from orchestrator.runs import Record, RunResult

COMPOSED = "composed"
"""In the column `network`: made of class modules."""
WHOLE = "whole"
"""Likewise: a delivered network with the other logits cut off."""
TEST_KEY = "subtask_accuracy_"
"""In a study's test sheet, with the number of classes behind it."""

_RUN = ("study", "task", "method", "trial", "seed", "phase", "run_key")

COLUMNS = (
    *(column for column in RUN_COLUMNS if column.name in _RUN),
    Column("network", pa.string(), "`composed` of class modules, or `whole` with the other logits cut off."),
    Column("variant", pa.string(), "Label of the network of the run that it was made of."),
    Column("settings", pa.string(), "JSON of how units were chosen for the modules; `{}` of a whole network."),
    Column("num_classes", pa.int64(), "k: how many classes a sub-task has."),
    Column("val_accuracy", pa.float64(), "On validation, 200 samples of each class at most; mean over subsets."),
    Column("test_accuracy", pa.float64(), "The same on all test samples of them; null until the test split is opened."),
    Column(
        "parameters_ratio",
        pa.float64(),
        "Parameters of what is deployed as a share of the dense network's; of a whole network all of it.",
    ),
    Column("macs_ratio", pa.float64(), "Multiply-accumulates likewise."),
)

SCHEMA = pa.schema([pa.field(c.name, c.type, metadata={"description": c.description}) for c in COLUMNS])


def subtask_table(
    records: Sequence[Record], outcomes: Mapping[str, RunResult], test: Mapping[str, Any] | None
) -> pa.Table:
    """Gather what finished runs are worth on sub-tasks.

    Args:
        records: The study's ledger.
        outcomes: Run key -> stored result, for every finished record.
        test: What the test phase stored; None before it.

    Returns:
        A table of schema `SCHEMA`, ordered by task, method, phase, trial, seed, network and number of classes.
    """
    sheet: Mapping[str, Mapping[str, float]] = (test or {}).get("rows", {})
    rows = [
        row
        | {"study": record.study, "task": record.task_name, "method": record.method, "trial": record.trial}
        | {"seed": record.seed, "phase": record.phase, "run_key": record.run.key}
        for record in records
        if record.status == "finished"
        for row in _run_rows(outcomes[record.run.key], sheet)
    ]
    order = ("task", "method", "phase", "trial", "seed", "network", "variant", "num_classes")
    rows.sort(key=lambda row: [row[name] for name in order])
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _run_rows(result: RunResult, sheet: Mapping[str, Mapping[str, float]]) -> Iterator[dict[str, Any]]:
    for variant in result.variants:
        tested = sheet.get(f"{result.key}/{variant.label}", {})
        for count, accuracy in variant.subtasks.items():
            yield {
                "network": WHOLE,
                "variant": variant.label,
                "settings": "{}",
                "num_classes": int(count),
                "val_accuracy": accuracy,
                "test_accuracy": tested.get(f"{TEST_KEY}{count}"),
                "parameters_ratio": variant.ratio("parameters"),
                "macs_ratio": variant.ratio("macs"),
            }
    if result.modules is None:
        return
    tested = sheet.get(f"{result.key}/{COMPOSED_ROW}", {})
    for one in result.modules.subtasks:
        yield {
            "network": COMPOSED,
            "variant": result.modules.variant,
            "settings": json.dumps(result.modules.settings, sort_keys=True),
            "num_classes": one.num_classes,
            "val_accuracy": one.accuracy,
            "test_accuracy": tested.get(f"{TEST_KEY}{one.num_classes}"),
            "parameters_ratio": one.parameters_ratio,
            "macs_ratio": one.macs_ratio,
        }
