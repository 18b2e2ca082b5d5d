"""One study in a tracking service that answers: its experiment, and a child run for each record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.runs import Record, RunResult
from orchestrator.store import Store
from orchestrator.tracking.calls import log_points, search_runs
from orchestrator.tracking.connection import settle_database
from orchestrator.tracking.figures import put_figures
from orchestrator.tracking.models import LoggedModels
from orchestrator.tracking.notes import note_tags
from orchestrator.tracking.pages import NOTE_TAG, confirmed_views, experiment_note, run_note
from orchestrator.tracking.parent_run import Execution, ParentRun
from orchestrator.tracking.stored_runs import StoredRuns
from orchestrator.tracking.tracked_run import Point, TrackedRun
from orchestrator.tracking_server import ARTIFACTS

if TYPE_CHECKING:
    from mlflow import MlflowClient


_COLOUR_TAG = "mlflow.runColor"
"""What MLflow's charts and tables draw a run in (3.17)."""


@dataclass
class _Known:
    """A child run that MLflow holds."""

    run_id: str
    status: str
    variant: str
    tested: bool


class Experiment:
    """Writes one study. Lives in the backlog's thread alone.

    Args:
        client: Answers.
        store: What is shown.
        execution: Whose parent run is opened.
        database: The SQLite file behind the client; None for a server.
    """

    def __init__(self, client: MlflowClient, store: Store, execution: Execution, *, database: Path | None) -> None:
        self._client = client
        self._store = store
        self._database = database
        self._stored = StoredRuns(store, execution.study)
        self._id = self._open(execution.study)
        self._guide()
        self._known = self._find_runs()
        self._models: LoggedModels | None = None
        self.parent = ParentRun(client, store, execution, experiment_id=self._id, question=self._stored.question)

    def refresh(self) -> None:
        """Read from the store what changes what is shown of runs that are there: the dense networks, the test."""
        self._stored.refresh()

    def put(self, record: Record, result: RunResult | None) -> None:
        """Make the child run of a record unless it is there; one that says something else is replaced.

        Args:
            record: In the store.
            result: None: read it from the store if there is one.
        """
        run = self._stored.shape(record, result)
        known = self._known.get(run.identity)
        variant = run.headline.label if run.headline else ""
        if known is not None and (known.status, known.variant) != (run.record.status, variant):
            self._client.delete_run(known.run_id)
            known = None
        now_ms = round(time.time() * 1000)
        tested = run.test_points(now_ms=now_ms)
        if known is None:
            # The test's in the same batch: a call costs more than what it carries.
            run_id = self._create(run, tested, now_ms)
            self._known[run.identity] = _Known(run_id, run.record.status, variant, bool(tested))
        elif tested and not known.tested:
            log_points(self._client, known.run_id, tested)
            known.tested = True

    def put_model(self, record: Record) -> None:
        """Make the logged model of a confirmed record, whose run is there; add what the test said of it since."""
        if self._models is None:
            # Asked late, when every run is as the store has it: a model of any other run is stale.
            ids = {known.run_id for known in self._known.values()}
            self._models = LoggedModels(self._client, self._store, self._id, run_ids=ids)
        run = self._stored.shape(record, None)
        known = self._known.get(run.identity)
        if known is not None:  # else its run could not be written, and that was said
            self._models.put(run, known.run_id, now_ms=round(time.time() * 1000))

    def put_figures(self, record: Record) -> None:
        """Give a confirmed record's run the figures it recorded; those of one seed stand for the others."""
        known = self._known.get((record.id, record.run.key))
        if known is not None and self._stored.first_seed in (None, record.seed):
            put_figures(self._client, self._store, record.run.key, known.run_id)

    def finish(self, *, status: str | None) -> None:
        """Fill the parent run and, with a status, end it."""
        self._guide()
        self.parent.fill()
        if status:
            self.parent.end(status=status)
        if self._database is not None:
            settle_database(self._database)

    def _open(self, study: str) -> str:
        found = self._client.get_experiment_by_name(study)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                self._client.restore_experiment(found.experiment_id)
            known: str = found.experiment_id
            return known
        # Beside a database of ours; a server knows its own place.
        place = (self._database.parent / ARTIFACTS / study).as_uri() if self._database else None
        created: str = self._client.create_experiment(study, artifact_location=place)
        return created

    def _guide(self) -> None:
        """Lead readers: a note, unless somebody wrote one, and a view of what was confirmed on each task."""
        tags = self._client.get_experiment(self._id).tags
        scores = self._stored.scores
        wanted = note_tags(experiment_note(self._id, self._stored.question, tasks=list(scores)), there=tags)
        for key, value in (wanted | confirmed_views(scores)).items():
            if tags.get(key) != value:
                self._client.set_experiment_tag(self._id, key, value)

    def _find_runs(self) -> dict[tuple[str, str], _Known]:
        """Child runs by identity. One that was never completed, or is there twice, is deleted."""
        known: dict[tuple[str, str], _Known] = {}
        for run in list(search_runs(self._client, self._id, "tags.kind = 'run'")):  # deleting would shift the pages
            tags = run.data.tags
            identity = tags.get("record", ""), tags.get("run_key", "")
            if run.info.status == "RUNNING" or identity in known:
                self._client.delete_run(run.info.run_id)
                continue
            tested = any(name.startswith("test_") for name in run.data.metrics)
            known[identity] = _Known(run.info.run_id, tags.get("status", ""), tags.get("variant", ""), tested)
        return known

    def _create(self, run: TrackedRun, tested: Sequence[Point], now_ms: int) -> str:
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        self.parent.show_dataset(run.record)
        tags = run.tags() | {MLFLOW_PARENT_RUN_ID: self.parent.id, NOTE_TAG: run_note(run, store=str(self._store))}
        if run.colour is not None:
            tags[_COLOUR_TAG] = run.colour
        created = self._client.create_run(self._id, start_time=run.start_ms or now_ms, tags=tags, run_name=run.name)
        run_id: str = created.info.run_id
        log_points(self._client, run_id, [*run.points(now_ms=now_ms), *tested], run.parameters())
        # Only now is the run complete; a crash before this line leaves it RUNNING, and it is made anew.
        self._client.set_terminated(run_id, run.mlflow_status, run.end_ms or now_ms)
        return run_id
