"""The ledger of one study in memory: its records as stored, and the running totals that policy asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from orchestrator.runs import Phase, Record
from orchestrator.store.study_folder import StudyFolder


class Ledger:
    """Records by id, each written to the store before it counts."""

    def __init__(self, folder: StudyFolder) -> None:
        self.device_seconds = 0.0
        """What the study has paid for all its recorded runs, failed and stopped ones included."""
        self._folder = folder
        self._records: dict[str, Record] = {}
        self._counts: dict[tuple[Phase, str], Counter[str]] = {}
        self._paid_seconds = 0.0
        self._paid_runs = 0
        for record in folder.records():
            self._count(record, 1)
            self._records[record.id] = record

    def __len__(self) -> int:
        return len(self._records)

    @property
    def records(self) -> Sequence[Record]:
        return tuple(self._records.values())

    def get(self, record_id: str) -> Record | None:
        return self._records.get(record_id)

    def add(self, record: Record) -> Record:
        """Write a record. A line that says finished stays; a failed or stopped one is replaced, its cost kept.

        Returns:
            The line as it stands now.
        """
        earlier = self._records.get(record.id)
        if earlier is not None and earlier.status == "finished":
            return earlier
        if earlier is not None:
            paid = earlier.device_seconds + record.device_seconds
            record = record.model_copy(update={"device_seconds": paid})
        self._folder.put_record(record, replace=earlier is not None)
        if earlier is not None:
            self._count(earlier, -1)
        self._count(record, 1)
        self._records[record.id] = record
        return record

    def counts(self, phase: Phase, cell: str) -> Counter[str]:
        """Status -> number of records of a cell (`<task>/<method label>`) in a phase."""
        return self._counts.get((phase, cell), Counter())

    @property
    def mean_run_seconds(self) -> float:
        """Mean device time of a finished run that this study paid for; 0 while there is none."""
        return self._paid_seconds / self._paid_runs if self._paid_runs else 0.0

    def _count(self, record: Record, sign: int) -> None:
        cell = f"{record.task_name}/{record.method}"
        self._counts.setdefault((record.phase, cell), Counter())[record.status] += sign
        self.device_seconds += sign * record.device_seconds
        if record.status == "finished" and record.device_seconds > 0:
            self._paid_seconds += sign * record.device_seconds
            self._paid_runs += sign
