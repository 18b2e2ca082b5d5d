"""Runs that the ledger calls finished and the store has no more, as somebody deleted them: trained again."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.errors import RunFailed
from orchestrator.executors.base import Executor
from orchestrator.placement import Ending, Job, Placement
from orchestrator.runs import Record
from orchestrator.spec import Study
from orchestrator.store import Store, StudyFolder

_WAIT_SECONDS = 0.5


def lost_records(folder: StudyFolder, store: Store) -> list[Record]:
    """Finished records without a result, each run once."""
    there = set(store.finished_keys())
    lost = {one.run.key: one for one in folder.records() if one.status == "finished" and one.run.key not in there}
    return list(lost.values())


def restore(lost: Sequence[Record], study: Study, store: Store, executor: Executor) -> None:
    """Train lost runs again, prerequisites first. Records, choices and test figures stay as they are.

    Raises:
        RunFailed: One of them fails now.
    """
    failed: list[str] = []

    def on_end(job: Job, ending: Ending) -> None:
        if ending.status != "finished":
            failed.append(f"run {job.run.key} of '{job.run.method}': {ending.reason}")

    placement = Placement(store, executor, max_retries=study.resources.max_retries, on_end=on_end)
    cells = {(cell.task_name, cell.entry.label): cell for cell in study.cells}
    for one in lost:
        while not placement.has_idle_worker:
            placement.wait(_WAIT_SECONDS)
        # As of the last phase, so that nobody thinks of stopping it early.
        placement.start(Job(cells[one.task_name, one.method], one.trial, one.seed, "confirm", one.run))
    while not placement.is_idle:
        placement.wait(_WAIT_SECONDS)
    if failed:
        raise RunFailed(f"what the store has lost cannot be trained again: {'; '.join(failed)}")
