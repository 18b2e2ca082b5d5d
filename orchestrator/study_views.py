"""The views of a study that are made from the store: results table, report, what MLflow holds, stage times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.comparison import compare
from orchestrator.report import summary_lines, write_report
from orchestrator.results import results_table, table_bytes
from orchestrator.reuse.stored import read_reuse
from orchestrator.spec import Study
from orchestrator.store import Store, StudyFolder
from orchestrator.stored_subtasks import compare_subtasks
from orchestrator.subtask_table import subtask_table

_TIMINGS_FILE = "timings.json"


@dataclass(frozen=True)
class Views:
    """Where a study can be read, and its comparison in a few lines."""

    report: str = ""
    """Path of the page; empty while no run has finished."""
    lines: tuple[str, ...] = ()
    """The comparison as a table for a terminal."""


def write_views(study: Study, store: Store) -> Views:
    """Make results table and report anew, as far as the study got."""
    folder = store.study(study.name)
    write_results(study, store)
    if not any(record.status == "finished" for record in folder.records()):
        return Views()
    report = write_report(store, study.name)
    comparison = compare(store, study.name)
    subtasks = compare_subtasks(store, study.name, comparison)
    reuse = read_reuse(store, study.name)
    return Views(str(report), tuple(summary_lines(comparison, subtasks, reuse)))


def write_results(study: Study, store: Store) -> None:
    """Make `results.parquet` and `subtasks.parquet` anew from the ledger, the results and the test sheet."""
    folder = store.study(study.name)
    records = folder.records()
    keys = {record.run.key for record in records if record.status == "finished"}
    outcomes = {key: result for key in keys if (result := store.read_outcome(key)) is not None}
    test = folder.read_test()
    table = results_table(records, outcomes, test, measure=study.report.measure, tolerance=study.report.tolerance)
    folder.write_file("results.parquet", table_bytes(table))
    folder.write_file("subtasks.parquet", table_bytes(subtask_table(records, outcomes, test)))


def phase_times(folder: StudyFolder) -> dict[str, float]:
    """Phase -> seconds it took in all executions that ended, or were interrupted, in good order."""
    stored = folder.read_file(_TIMINGS_FILE)
    times: dict[str, float] = json.loads(stored) if stored else {}
    return times


def add_phase_times(folder: StudyFolder, seconds: Mapping[str, float]) -> None:
    """Add one execution's stage times to those of earlier ones."""
    total = phase_times(folder)
    for name, more in seconds.items():
        total[name] = total.get(name, 0.0) + more
    folder.write_file(_TIMINGS_FILE, json.dumps(total).encode())
