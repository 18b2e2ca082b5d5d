"""Runs work on a pool of long-lived Ray actors; the only file that imports Ray to run work.

An actor costs about half a second to start, so actors live as long as the study. The samples of a task are put into
the object store once and mapped by all actors of a node without copying. Retries belong to the coordinator: Ray itself
never runs a piece of work twice.

A cluster may grow and shrink meanwhile. A worker gets work once it has answered for the first time, so that none waits
for one that has no room yet; nodes that join get workers, and workers that die are replaced as far as there is room.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from methods.crew import working_with
from orchestrator.errors import PareError, ServiceMissing
from orchestrator.executors.base import Tell, let_all_go_on, say_nothing
from orchestrator.executors.ray_crew import RayCrew
from orchestrator.runs import Failure
from orchestrator.work import Completion, Execute, Judge, Report, Work, WorkerSettings

if TYPE_CHECKING:
    from methods.tasks import TaskData

_POLL_SECONDS = 0.25
_TEND_SECONDS = 2.0
"""How soon a node that joined is used."""
_FIRST_SECONDS = 30.0
"""What the workers that fit at first may take to start before work begins with those that have."""
_TELL_SECONDS = 10.0
_ANSWER_SECONDS = 2.0
"""What an idle worker may take to answer."""
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
        tell: Tell = say_nothing,
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
            tell: Hears why nothing runs, while there is no room for a single worker.

        Raises:
            ServiceMissing: Ray is not installed, no cluster answers, or a local one has no room for a single worker.
        """
        self._ray = _ray()
        self.judge: Judge = let_all_go_on
        self._tell = tell
        self._cpus, self._gpus, self._helpers, self._most = cpus, gpus, helpers, workers
        self._starting: dict[Any, Any] = {}
        """First answer to come -> worker."""
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, Work, float]] = {}
        self._unwanted: set[str] = set()
        self._last_poll = time.monotonic()
        self._closed = False
        self._owns_cluster = self._connect(address, tasks)
        if self._wanted() < 1 and address is None:
            room = self._ray.cluster_resources()
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
        self._tended = 0.0
        self._tend()
        self._await_the_first()

    @property
    def slots(self) -> int:
        """Workers that have started and live, as far as is known."""
        return len(self._idle) + len(self._busy)

    def _wanted(self) -> int:
        """How many workers the nodes have room for, others' work left out."""
        fits = 0
        for node in self._ray.nodes():
            if node["Alive"]:
                room = node["Resources"]
                by_cpus = int(room.get("CPU", 0) / self._cpus + 1e-9) if self._cpus else 10**6
                fits += min(by_cpus, int(room.get("GPU", 0) / self._gpus + 1e-9) if self._gpus else 10**6)
        fits //= 1 + self._helpers
        return min(fits, self._most) if self._most else fits

    def _tend(self) -> None:
        """Take in workers that have started, begin such as there is room for, let go of those that are gone."""
        self._tended = time.monotonic()
        for answer in self._answered(self._starting, timeout=0):
            worker = self._starting.pop(answer)
            with suppress(self._ray.exceptions.RayError):  # its node left before it came up
                self._ray.get(answer)
                self._idle.append(worker)
        wanted = self._wanted()
        # One at least, whatever the nodes have: it is what makes a cluster that scales by itself grow.
        for _ in range(max(1, wanted) - self.slots - len(self._starting)):
            worker = self._new_worker()
            self._starting[worker.exchange.remote(set())] = worker
        if self.slots + len(self._starting) > max(1, wanted):
            self._let_go(max(1, wanted))

    def _let_go(self, wanted: int) -> None:
        """Nodes have left: drop workers that wait for room in vain, and idle ones that do not answer any more."""
        while self._starting and self.slots + len(self._starting) > wanted:
            _, worker = self._starting.popitem()
            self._ray.kill(worker)
        self._drop_the_silent()

    def _drop_the_silent(self) -> None:
        """Let go of idle workers that do not answer: work given to them would cost its run an attempt."""
        calls = {worker.exchange.remote(set()): worker for worker in self._idle}
        answered = self._answered(calls, timeout=_ANSWER_SECONDS)
        living = []
        for call in answered:
            with suppress(self._ray.exceptions.RayError):
                self._ray.get(call)
                living.append(calls[call])
        for worker in self._idle:
            if worker not in living:
                self._ray.kill(worker)
        self._idle = living

    def _answered(self, calls: Mapping[Any, Any], *, timeout: float) -> list[Any]:
        """Those of the calls that have come back by then, well or not."""
        if not calls:
            return []
        answered: list[Any] = self._ray.wait(list(calls), num_returns=len(calls), timeout=timeout)[0]
        return answered

    def _await_the_first(self) -> None:
        """Block until all workers that fit now have started, or some have and it takes too long."""
        began = told = time.monotonic()
        while self._starting or not self.slots:
            now = time.monotonic()
            if self.slots and now - began > _FIRST_SECONDS:
                return
            if not self.slots and now - told > _TELL_SECONDS:
                told = now
                self._tell(self._why_nothing_runs())
            self._answered(self._starting, timeout=_POLL_SECONDS)
            if not self._starting:
                time.sleep(_POLL_SECONDS)
            self._tend()

    def _await_any(self) -> None:
        """Without any worker nobody may think that all is done: the work that is left waits for one."""
        if not self.slots:
            self._await_the_first()

    def _why_nothing_runs(self) -> str:
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        needs = f"a worker needs {self._cpus:g} CPUs and {self._gpus:g} GPUs"
        if self._wanted():
            return f"nothing runs: {needs}, and what the {len(nodes)} nodes have is taken by other work"
        largest = max((node.get("CPU", 0) for node in nodes), default=0)
        gpus = max((node.get("GPU", 0) for node in nodes), default=0)
        return (
            f"nothing runs: {needs}, and no node has as much (the largest of {len(nodes)}: {largest:g} CPUs, "
            f"{gpus:g} GPUs); waiting for one to join"
        )

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
            if time.monotonic() - self._tended >= _TEND_SECONDS:
                self._tend()
                self._await_any()
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
            # A node may have gone, and other workers with it.
            self._drop_the_silent()
            self._tend()
            self._await_any()
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
        for worker in [*self._idle, *self._starting.values(), *(worker for worker, _, _ in self._busy.values())]:
            self._ray.kill(worker)


def _tighten_token() -> None:
    """Ray writes its access token readable for all; nobody but its owner needs it."""
    token = Path.home() / ".ray" / "auth_token"
    if token.is_file() and token.stat().st_mode & 0o077:
        token.chmod(0o600)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
