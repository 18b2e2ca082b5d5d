"""How far a study is, read from its ledger in the store; works while it runs and after, from any machine."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.errors import StudyInvalid
from orchestrator.runs import Record
from orchestrator.spec import Study
from orchestrator.spec.study_file import parse_study
from orchestrator.store import Store


@dataclass(frozen=True)
class CellStatus:
    """The ledger of one cell, counted."""

    task: str
    method: str
    trials: int
    """Configurations the study gives the cell; 0 when its study file can no longer be read."""
    searched: int
    confirmed: int
    stopped_early: int
    failed: int
    cached: int


@dataclass(frozen=True)
class StudyStatus:
    """Where a study stands."""

    study: str
    question: str
    tested: bool
    """The locked test split has been opened: the study is complete."""
    device_seconds: float
    cells: tuple[CellStatus, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def stored_study(store: Store, name: str) -> Study:
    """The study as it was submitted, to be gone on with from this store.

    Raises:
        UnknownRecord: The store holds no such study.
        StudyInvalid: Its file no longer fits this version or this machine, e.g. a data folder is gone.
    """
    text = store.study(name).read_spec()
    return parse_study(text, file=f"{store}/studies/{name}/study.yaml")


def study_status(store: Store, name: str) -> StudyStatus:
    """Count a study's ledger.

    Raises:
        UnknownRecord: The store holds no such study.
    """
    folder = store.study(name)
    folder.read_spec()
    try:
        study = stored_study(store, name)
    except StudyInvalid:
        study = None  # its data may lie on another machine; the ledger can be counted all the same
    trials = {(cell.task_name, cell.entry.label): cell.num_trials for cell in study.cells} if study else {}
    by_cell: dict[tuple[str, str], list[Record]] = {key: [] for key in trials}
    records = folder.records()
    for record in records:
        by_cell.setdefault((record.task_name, record.method), []).append(record)
    return StudyStatus(
        study=name,
        question=study.question if study else "",
        tested=folder.read_test() is not None,
        device_seconds=sum(record.device_seconds for record in records),
        cells=tuple(_cell_status(*key, trials.get(key, 0), found) for key, found in by_cell.items()),
    )


def _cell_status(task: str, method: str, trials: int, records: list[Record]) -> CellStatus:
    phases = Counter(record.phase for record in records)
    endings = Counter(record.status for record in records)
    return CellStatus(
        task=task,
        method=method,
        trials=trials,
        searched=phases["search"],
        confirmed=phases["confirm"],
        stopped_early=endings["stopped_early"],
        failed=endings["failed"],
        cached=sum(record.cached for record in records),
    )
