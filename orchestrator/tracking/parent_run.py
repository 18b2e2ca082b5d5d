"""The parent run: one execution of a study, with its counts, its report and its data sets."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.comparison import compare
from orchestrator.errors import StoreProblem
from orchestrator.report.markdown import comparison_table
from orchestrator.runs import Record
from orchestrator.store import Store
from orchestrator.tracking.calls import log_points, search_runs
from orchestrator.tracking.narrowed import narrowed
from orchestrator.tracking.notes import note_tags
from orchestrator.tracking.pages import parent_note
from orchestrator.tracking.tracked_run import Point

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PICTURE, _COMPARISON = "pareto.png", "comparison.md"
_TABLES = ("results.parquet", "subtasks.parquet", "reuse.parquet")
_FILES = ("report.html", _PICTURE, "modules.png", "accuracy_by_width.png", *_TABLES)
"""Files of a study that its parent run carries."""
_IN_NOTE, _NOTE_WIDTH = "note/accuracy_by_size.png", 720
"""The picture again, for the note."""
_DIGEST_LENGTH = 36
"""MLflow refuses longer digests of data sets."""


@dataclass(frozen=True)
class Execution:
    """What is needed to open the parent run, and to open it again after the service was away."""

    study: str
    id: str | None
    """None: the last one there was."""
    tags: Mapping[str, str]
    params: Mapping[str, str]


class ParentRun:
    """Opens the parent run of an execution, or goes on with it.

    When the last one there was is asked for and there is none, it is rebuilt from the store and ended.
    """

    def __init__(
        self, client: MlflowClient, store: Store, execution: Execution, *, experiment_id: str, question: str
    ) -> None:
        self._client = client
        self._store = store
        self._folder = store.study(execution.study)
        self._execution = execution
        self._experiment_id = experiment_id
        self._question = question
        self._datasets: set[tuple[str, str]] = set()
        self.id = self._find() or (self._create() if execution.id else self._rebuild())

    def fill(self) -> None:
        """Give it the study's counts and files."""
        now_ms = round(time.time() * 1000)
        records = self._folder.records()
        counts = Counter(record.status for record in records)
        figures = {f"runs_{name}": float(counts[name]) for name in ("finished", "stopped_early", "failed")}
        figures["device_seconds"] = sum(record.device_seconds for record in records)
        there = self._client.get_run(self.id).data
        changed = {key: value for key, value in figures.items() if there.metrics.get(key) != value}
        log_points(self._client, self.id, [Point(key, value, now_ms) for key, value in changed.items()])
        files = {name: data for name in _FILES if (data := self._folder.read_file(name)) is not None}
        table = self._table() if "results.parquet" in files else ""
        if table:
            files[_COMPARISON] = table.encode()
        if _PICTURE in files:
            files[_IN_NOTE] = narrowed(files[_PICTURE], width=_NOTE_WIDTH)
        with tempfile.TemporaryDirectory() as folder:
            for name, data in files.items():
                Path(folder, name).parent.mkdir(exist_ok=True)
                Path(folder, name).write_bytes(data)
            self._client.log_artifacts(self.id, folder)
        if files:
            picture = _IN_NOTE if _IN_NOTE in files else None
            note = parent_note(self._experiment_id, self.id, self._question, table=table, picture=picture)
            for key, value in note_tags(note, there=there.tags).items():
                if there.tags.get(key) != value:
                    self._client.set_tag(self.id, key, value)

    def _table(self) -> str:
        try:
            return comparison_table(compare(self._store, self._execution.study))
        except StoreProblem:
            # Results that cannot be read have no report either, which says why; the run must end all the same.
            return ""

    def end(self, *, status: str) -> None:
        """Say how the execution ended: `finished`, `budget_spent` or `interrupted`."""
        self._client.set_tag(self.id, "status", status)
        self._client.set_terminated(self.id, "KILLED" if status == "interrupted" else "FINISHED")

    def close_orphans(self) -> None:
        """End parent runs of this store that an earlier execution left open. The study's lock says it is gone."""
        running = "tags.kind = 'execution' and attributes.status = 'RUNNING'"
        for run in list(search_runs(self._client, self._experiment_id, running)):
            if run.info.run_id != self.id and run.data.tags.get("store") == str(self._store):
                self._client.set_tag(run.info.run_id, "status", "orphaned")
                self._client.set_terminated(run.info.run_id, "KILLED")

    def show_dataset(self, record: Record) -> None:
        """Name the data of a task, with its fingerprint, as an input."""
        from mlflow.entities import Dataset, DatasetInput

        identity = record.task_name, record.run.data_fingerprint
        if identity in self._datasets:
            return
        source = json.dumps({"source": record.run.task.data.source, "fingerprint": record.run.data_fingerprint})
        dataset = Dataset(record.task_name, record.run.data_fingerprint[:_DIGEST_LENGTH], "local", source)
        self._client.log_inputs(self.id, [DatasetInput(dataset, [])])
        self._datasets.add(identity)

    def _find(self) -> str | None:
        wanted = f" and tags.execution = '{self._execution.id}'" if self._execution.id else ""
        found = next(search_runs(self._client, self._experiment_id, f"tags.kind = 'execution'{wanted}"), None)
        if found is None:
            return None
        run_id: str = found.info.run_id
        if self._execution.id:
            self._client.update_run(run_id, status="RUNNING")
        return run_id

    def _create(self) -> str:
        began = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        created = self._client.create_run(
            self._experiment_id,
            run_name=f"{self._execution.study}, {began}",
            tags={**self._execution.tags, **self._tags(self._execution.id or "")},
        )
        run_id: str = created.info.run_id
        log_points(self._client, run_id, [], self._execution.params)
        return run_id

    def _rebuild(self) -> str:
        """Times and environment are those of the runs, as far as this study trained them itself."""
        records = [record for record in self._folder.records() if not record.cached]
        results = [result for record in records if (result := self._store.read_outcome(record.run.key))]
        ends = [datetime.fromisoformat(result.finished_at).timestamp() for result in results]
        began = min((end - result.fit_seconds for end, result in zip(ends, results, strict=True)), default=time.time())
        newest = max(results, key=lambda result: result.finished_at, default=None)
        created = self._client.create_run(
            self._experiment_id,
            start_time=round(began * 1000),
            run_name=f"{self._execution.study}, rebuilt from the store",
            tags={**(newest.environment if newest else {}), "question": self._question, **self._tags("sync")},
        )
        run_id: str = created.info.run_id
        self._client.set_terminated(run_id, end_time=round(max(ends, default=began) * 1000))
        return run_id

    def _tags(self, execution_id: str) -> dict[str, str]:
        study = self._execution.study
        return {"kind": "execution", "study": study, "execution": execution_id, "store": str(self._store)}
