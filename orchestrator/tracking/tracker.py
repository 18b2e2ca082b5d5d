"""What a study sees of MLflow: a tracker that never blocks nor fails it; and `sync`, which brings all there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from orchestrator.backlog import Backlog
from orchestrator.errors import ServiceMissing
from orchestrator.runs import Record, RunResult
from orchestrator.store import Store
from orchestrator.tracking.connection import database_of, open_client, resolved, without_password
from orchestrator.tracking.experiment import Experiment
from orchestrator.tracking.parent_run import Execution


class Tracker(Protocol):
    """Shows a study while it runs. No call raises because of the service; `problem` says what is wrong with it."""

    @property
    def problem(self) -> str | None:
        """Why the service is behind the store; None when it is not."""
        ...

    def start(self, study: str, *, execution_id: str, tags: Mapping[str, str], params: Mapping[str, str]) -> None:
        """Open the parent run of this execution, or go on with it; end those that a crash left open.

        The caller holds the study's lock and has put its spec into the store.
        """
        ...

    def record(self, record: Record, result: RunResult | None) -> None:
        """Show a record that is in the store; returns at once."""
        ...

    def finish(self, *, status: str) -> None:
        """Show all that the store holds by now, the report too, and end the parent run.

        Blocks until everything is written or the service turns out to be away.

        Args:
            status: `finished`, `budget_spent` or `interrupted`.
        """
        ...


class NullTracker:
    """`tracking: none`."""

    problem: str | None = None

    def start(self, study: str, *, execution_id: str, tags: Mapping[str, str], params: Mapping[str, str]) -> None:
        del study, execution_id, tags, params

    def record(self, record: Record, result: RunResult | None) -> None:
        del record, result

    def finish(self, *, status: str) -> None:
        del status


class MlflowTracker:
    """Writes one study to MLflow.

    Args:
        uri: `http://...`, `https://...` or `sqlite:///<path>`.
        store: What is shown.
        retry_seconds: Pause between two attempts to reach a service that is away.
    """

    def __init__(self, uri: str, *, store: Store, retry_seconds: float = 15.0) -> None:
        self._uri = uri
        self._store = store
        self._backlog = Backlog(self._connect, retry_seconds=retry_seconds)
        self._execution: Execution | None = None

    @property
    def problem(self) -> str | None:
        found = self._backlog.problem
        return f"{without_password(self._uri)}: {found}" if found else None

    def start(self, study: str, *, execution_id: str, tags: Mapping[str, str], params: Mapping[str, str]) -> None:
        self._execution = Execution(study, execution_id, dict(tags), dict(params))
        self._backlog.add("start", lambda experiment: experiment.parent.close_orphans())

    def record(self, record: Record, result: RunResult | None) -> None:
        self._backlog.add(record.id, lambda experiment: experiment.put(record, result))

    def finish(self, *, status: str) -> None:
        self._add_all()
        self._backlog.add("finish", lambda experiment: experiment.finish(status=status))
        self._end()

    def catch_up(self, study: str) -> None:
        """Write everything that the store holds and MLflow does not, under the last parent run there was; blocks."""
        self._execution = Execution(study, None, {}, {})
        self._add_all()
        self._backlog.add("parent run", lambda experiment: experiment.finish(status=None))
        self._end()

    def _add_all(self) -> None:
        """Every record again, one entry each, and the networks and figures of confirmed ones.

        Those that are right already cost a look at what is known of their results.
        """
        assert self._execution is not None, "start comes first"
        self._backlog.add("results", lambda experiment: experiment.refresh())
        records = self._store.study(self._execution.study).records()
        for record in records:
            self.record(record, None)
        for record in records:
            if record.phase == "confirm" and record.status == "finished":
                self._add_network(record)

    def _add_network(self, record: Record) -> None:
        self._backlog.add(f"model of {record.id}", lambda experiment: experiment.put_model(record))
        self._backlog.add(f"figures of {record.id}", lambda experiment: experiment.put_figures(record))

    def _end(self) -> None:
        # What cannot be written stays in the store, from where `sync` brings it.
        self._backlog.drain()
        self._backlog.close()

    def _connect(self) -> Experiment:
        assert self._execution is not None, "start comes first"
        client = open_client(self._uri)
        return Experiment(client, self._store, self._execution, database=database_of(self._uri))


def open_tracker(uri: str | None, *, store_uri: str) -> Tracker:
    """The tracker that a study asks for; reaches for nothing yet.

    Args:
        uri: None or `none`; `sqlite`, a database in the local store; `http(s)://...`; `sqlite:///<path>`.
        store_uri: Of the store that is shown.

    Raises:
        ServiceMissing: No such kind of tracking, or the store is not local and cannot hold a database.
    """
    if uri is None or uri == "none":
        return NullTracker()
    return MlflowTracker(resolved(uri, store_uri), store=Store.open(store_uri))


def sync(store: Store, study: str, uri: str) -> None:
    """Bring MLflow up to what the store holds of a study; blocks. Doing it again changes nothing.

    Raises:
        ServiceMissing: MLflow is away or refuses something, or `uri` is `none`.
        StoreLocked: The study is running and does this itself.
        UnknownRecord: The store holds no such study.
    """
    if uri == "none":
        raise ServiceMissing(f"study '{study}' has tracking: none; name a server with --tracking, or `sqlite`")
    folder = store.study(study)
    folder.read_spec()
    with folder.lock(f"pare sync {study}"):
        tracker = MlflowTracker(resolved(uri, store.uri), store=store)
        tracker.catch_up(study)
    if tracker.problem:
        raise ServiceMissing(f"MLflow is behind: {tracker.problem}; start it and sync again")
