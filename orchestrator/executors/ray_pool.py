"""Runs work on a pool of long-lived Ray actors; the only file that imports Ray to run work.

An actor costs about half a second to start, so actors live as long as the study. The samples of a task are put into
the object store once and mapped by all actors of a node without copying. Retries belong to the coordinator: Ray itself
never runs a piece of work twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from methods.crew import working_with
from orchestrator.errors import PareError, ServiceMissing
from orchestrator.executors.base import let_all_go_on
from orchestrator.executors.ray_crew import RayCrew
from orchestrator.runs import Failure
from orchestrator.work import Completion, Execute, Judge, Report, Work, WorkerSettings

if TYPE_CHECKING:
    from methods.tasks import TaskData

_POLL_SECONDS = 0.25
_SPARE_OBJECT_STORE_BYTES = 128 * 2**20


def _ray() -> Any:
    """Ray, or a clear error where it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise ServiceMissing(
            "executor: Ray is not installed; `pip install ray[default]` or `executor: inline`"
        ) from error
    return ray


class _Worker:
    """Body of an actor: owns one device and does one piece of work at a time.

    It has two threads: one works, the other carries reports out and requests to stop in.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        references: Mapping[str, Any],
        run_work: Execute,
        helpers: int,
        room: tuple[float, float],
    ) -> None:
        self._settings = settings
        self._references = references
        self._tasks: dict[str, TaskData] = {}
        self._run_work = run_work
        self._reports: list[Report] = []
        self._unwanted: set[str] = set()
        cpus, gpus = room
        self._crew = (
            RayCrew(_ray(), helpers=helpers, cpus=cpus, gpus=gpus, threads=settings.threads) if helpers else None
        )

    def run(self, work: Work) -> Completion:
        self._unwanted.discard(work.run.key)
        name = work.run.task_name
        if name not in self._tasks:
            # The arrays inside are views of this node's object store, not copies.
            self._tasks[name] = _ray().get(self._references[name])
        with working_with(self._crew):
            return self._run_work(work, self._tasks[name], self._settings, self._judge)

    def exchange(self, unwanted: set[str]) -> list[Report]:
        """Take the keys of runs to stop, give the reports since the last call."""
        self._unwanted |= unwanted
        # One by one: the other thread may append to the list while it is emptied.
        return [self._reports.pop(0) for _ in range(len(self._reports))]

    def _judge(self, report: Report) -> bool:
        self._reports.append(report)
        return report.key in self._unwanted


class RayPool:
    """An `Executor` on Ray: a local cluster of its own, or the one at `address`."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        tasks: Mapping[str, TaskData],
        run_work: Execute,
        cpus: float,
        gpus: float = 0,
        workers: int | None = None,
        helpers: int = 0,
        address: str | None = None,
    ) -> None:
        """Start or join a cluster and fill it with workers.

        Args:
            settings: What each worker is told.
            tasks: The samples of each task, by its name.
            run_work: What a worker does; `orchestrator.execution.execute` in a real study.
            cpus: CPUs that one worker holds.
            gpus: GPUs that one worker holds; a part of one is allowed.
            workers: At most so many workers; None fills the cluster.
            helpers: Further actors of each worker, to which a method may hand parts of its run; each holds as much.
            address: `ray://...` or `auto` to join a cluster; None starts a local one that ends with `close`.

        Raises:
            ServiceMissing: Ray is not installed, no cluster answers, or it holds no room for a single worker.
        """
        self._ray = _ray()
        self.judge: Judge = let_all_go_on
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, Work, float]] = {}
        self._unwanted: set[str] = set()
        self._last_poll = time.monotonic()
        self._closed = False
        self._owns_cluster = self._connect(address, tasks)
        room = self._ray.cluster_resources()
        fits = min(
            int(room.get("CPU", 0) / (cpus * (1 + helpers))) if cpus else 10**6,
            int(room.get("GPU", 0) / (gpus * (1 + helpers))) if gpus else 10**6,
        )
        self.slots = min(fits, workers) if workers else fits
        if self.slots < 1:
            self.close()
            who = f"a worker with {helpers} helpers" if helpers else "a worker"
            raise ServiceMissing(
                f"resources: {who} needs {cpus * (1 + helpers):g} CPUs and {gpus * (1 + helpers):g} GPUs, but the "
                f"cluster has {room.get('CPU', 0):g} and {room.get('GPU', 0):g}; ask for less or join a larger cluster"
            )
        references = {name: self._ray.put(data) for name, data in tasks.items()}
        actor = self._ray.remote(_Worker).options(
            num_cpus=cpus, num_gpus=gpus, max_concurrency=2, max_restarts=0, max_task_retries=0
        )
        self._new_worker: Callable[[], Any] = lambda: actor.remote(
            settings, references, run_work, helpers, (cpus, gpus)
        )
        self._idle += [self._new_worker() for _ in range(self.slots)]

    def _connect(self, address: str | None, tasks: Mapping[str, TaskData]) -> bool:
        """True when the cluster is ours to end."""
        if self._ray.is_initialized():
            return False
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # would reach for the network
        needed_bytes = int(sum(data.num_bytes for data in tasks.values()) * 1.2)
        local = {
            "num_cpus": len(os.sched_getaffinity(0)),
            "include_dashboard": False,
            "object_store_memory": _SPARE_OBJECT_STORE_BYTES + needed_bytes,
        }
        try:
            self._ray.init(
                address=address,
                log_to_driver=False,
                logging_level="ERROR",
                **({} if address else local),
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ServiceMissing(f"executor: no Ray cluster at '{address or 'local'}': {error}") from error
        _tighten_token()
        return True

    def submit(self, work: Work) -> None:
        if not self._idle:
            raise RuntimeError("no idle worker; submit at most `slots` pieces of work at a time")
        worker = self._idle.pop()
        self._busy[worker.run.remote(work)] = (worker, work, time.perf_counter())

    def wait(self, timeout_seconds: float) -> list[Completion]:
        deadline = time.monotonic() + timeout_seconds
        while self._busy:
            remaining = max(0.0, deadline - time.monotonic())
            done, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=min(remaining, _POLL_SECONDS))
            if time.monotonic() - self._last_poll >= _POLL_SECONDS:
                self._exchange()
            if done:
                done, _ = self._ray.wait(list(self._busy), num_returns=len(self._busy), timeout=0)
                return [self._completion(reference) for reference in done]
            if remaining == 0.0:
                break
        return []

    def _completion(self, reference: Any) -> Completion:
        worker, work, started = self._busy.pop(reference)
        self._unwanted.discard(work.run.key)
        try:
            completion: Completion = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            # Ray's own text is the worker's traceback; a user is told what the worker said.
            if isinstance(error.cause, PareError):
                raise error.cause from error
            raise
        except self._ray.exceptions.RayError as error:
            # An actor that died, by itself, with its node, or killed by Ray because memory was short.
            self._idle.append(self._new_worker())
            cause = str(error).strip().splitlines()[0]
            failure = Failure(kind="worker_died", message=f"the worker's process ended: {cause}", at=_now())
            return Completion(work, "failed", time.perf_counter() - started, failure=failure)
        self._idle.append(worker)
        return completion

    def _exchange(self) -> None:
        """Carry reports in and requests to stop out. A worker that is gone shows in its own completion."""
        self._last_poll = time.monotonic()
        calls = [worker.exchange.remote(self._unwanted) for worker, _, _ in self._busy.values()]
        answered, _ = self._ray.wait(calls, num_returns=len(calls), timeout=_POLL_SECONDS)
        for call in answered:
            try:
                reports = self._ray.get(call)
            except self._ray.exceptions.RayError:
                continue
            self._unwanted |= {report.key for report in reports if self.judge(report)}

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._owns_cluster:
            self._ray.shutdown()
            return
        for worker in [*self._idle, *(worker for worker, _, _ in self._busy.values())]:
            self._ray.kill(worker)


def _tighten_token() -> None:
    """Ray writes its access token readable for all; nobody but its owner needs it."""
    token = Path.home() / ".ray" / "auth_token"
    if token.is_file() and token.stat().st_mode & 0o077:
        token.chmod(0o600)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
