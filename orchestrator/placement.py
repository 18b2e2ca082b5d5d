"""Gets runs done, each once: from the store, from a run already on its way, or by a worker; prerequisites first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from orchestrator.execution import prerequisite_runs
from orchestrator.executors.base import Executor
from orchestrator.runs import Phase, Run, RunResult
from orchestrator.spec import Cell
from orchestrator.store import Store
from orchestrator.work import Completion, Work


@dataclass(frozen=True)
class Job:
    """One thing a study wants done: a trial of a cell with one seed."""

    cell: Cell
    trial: int
    seed: int
    phase: Phase
    run: Run


@dataclass(frozen=True)
class Ending:
    """How a job ended."""

    status: Literal["finished", "stopped_early", "failed"]
    result: RunResult | None = None
    reason: str = ""
    progress: float = 1.0
    accuracy: float | None = None
    """Last reported, of a job stopped early."""
    size: float | None = None
    cached: bool = False
    """Nobody had to work for it on behalf of this job."""
    device_seconds: float = 0.0


OnEnd = Callable[[Job, Ending], None]


@dataclass
class _Pending:
    """A run that is wanted and not done."""

    run: Run
    jobs: list[Job] = field(default_factory=list)
    """Those that want it; the first one pays. Empty for a bare prerequisite."""
    missing: set[str] = field(default_factory=set)
    """Keys of prerequisites that are not done."""
    attempts: int = 0
    seconds: float = 0.0
    redone: bool = False
    """It was stopped early for its job while others came to need it, and is done again in full."""


class Placement:
    """Turns jobs into work for an executor and completions into endings.

    Two jobs that want the same run share it. A run whose worker died is tried again, at most `max_retries` times;
    a run that raised would raise again, so it is recorded and not repeated.
    """

    def __init__(self, store: Store, executor: Executor, *, max_retries: int, on_end: OnEnd) -> None:
        self.prerequisite_seconds = 0.0
        """Worker time of runs that nobody asked for but as prerequisites."""
        self._store = store
        self._executor = executor
        self._max_retries = max_retries
        self._on_end = on_end
        self._pending: dict[str, _Pending] = {}
        self._ready: deque[str] = deque()
        self._in_flight = 0

    @property
    def has_idle_worker(self) -> bool:
        """Whether a job started now would find an idle worker, unless it has to wait for a prerequisite."""
        return self._in_flight + len(self._ready) < self._executor.slots

    @property
    def has_room(self) -> bool:
        """Whether the search should propose more.

        A job that waits for a prerequisite leaves its worker idle, but was chosen without what the search learns
        meanwhile: no more of them wait than there are workers.
        """
        waiting = sum(bool(pending.missing) for pending in self._pending.values())
        return self.has_idle_worker and waiting < self._executor.slots

    @property
    def is_idle(self) -> bool:
        return not self._pending

    def sole_job(self, key: str) -> Job | None:
        """The one job that a run is done for; None when others want it or need it first."""
        pending = self._pending.get(key)
        return None if pending is None or self._is_shared(pending) else pending.jobs[0]

    def jobs(self) -> list[Job]:
        """All jobs under way."""
        return [job for pending in self._pending.values() for job in pending.jobs]

    def start(self, job: Job) -> None:
        """Get a job on its way; one whose result is in the store ends before this returns."""
        pending = self._pending.get(job.run.key)
        if pending is not None:
            pending.jobs.append(job)
            return
        result = self._store.read_outcome(job.run.key)
        if result is not None:
            self._on_end(job, Ending("finished", result, cached=True))
            return
        self._want(job.run).jobs.append(job)
        self._dispatch()

    def wait(self, timeout_seconds: float) -> None:
        """Let work go on until something ends or the time is over, and handle what ended."""
        for completion in self._executor.wait(timeout_seconds):
            self._in_flight -= 1
            self._handle(completion)
        self._dispatch()

    def _want(self, run: Run) -> _Pending:
        """Queue a run, its missing prerequisites before it."""
        pending = self._pending.get(run.key)
        if pending is not None:
            return pending
        pending = self._pending[run.key] = _Pending(run)
        for needed in prerequisite_runs(run).values():
            if needed.key in self._pending or self._store.read_outcome(needed.key) is None:
                self._want(needed)
                pending.missing.add(needed.key)
        if not pending.missing:
            self._ready.append(run.key)
        return pending

    def _dispatch(self) -> None:
        while self._ready and self._in_flight < self._executor.slots:
            pending = self._pending[self._ready.popleft()]
            pending.attempts += 1
            self._in_flight += 1
            self._executor.submit(Work(pending.run))

    def _handle(self, completion: Completion) -> None:
        key = completion.work.run.key
        pending = self._pending[key]
        pending.seconds += completion.seconds
        if completion.failure is not None:
            self._store.add_failure(key, completion.failure)
            if completion.failure.kind == "worker_died" and pending.attempts <= self._max_retries:
                self._ready.append(key)
                return
        if completion.status == "stopped_early" and self._is_shared(pending) and not pending.redone:
            # Asked to stop for its only job, before others wanted it: they are not to suffer for that one's rank.
            pending.redone = True
            self._ready.append(key)
            return
        self._end(key, _ending(completion, pending))

    def _is_shared(self, pending: _Pending) -> bool:
        key = pending.run.key
        return len(pending.jobs) != 1 or any(key in other.missing for other in self._pending.values())

    def _end(self, key: str, ending: Ending) -> None:
        pending = self._pending.pop(key)
        if not pending.jobs:
            self.prerequisite_seconds += pending.seconds
        for position, job in enumerate(pending.jobs):
            self._on_end(job, ending if position == 0 else replace(ending, cached=True, device_seconds=0.0))
        for other_key, other in list(self._pending.items()):
            if key not in other.missing or other_key not in self._pending:
                continue  # the latter: ended meanwhile, with another prerequisite that failed for the same reason
            if ending.status == "finished":
                other.missing.remove(key)
                if not other.missing:
                    self._ready.append(other_key)
            else:
                reason = f"its prerequisite '{pending.run.method}' (run {key}) failed: {ending.reason}"
                self._end(other_key, Ending("failed", reason=reason))


def _ending(completion: Completion, pending: _Pending) -> Ending:
    if completion.status == "finished":
        return Ending("finished", completion.result, device_seconds=pending.seconds)
    last = completion.last_report
    if completion.status == "stopped_early" and last is not None:
        return Ending(
            "stopped_early",
            reason=f"stopped early at {last.progress:.0%} of the schedule: others are better and no larger",
            progress=last.progress,
            accuracy=last.accuracy,
            size=last.size,
            device_seconds=pending.seconds,
        )
    failure = completion.failure
    message = failure.message if failure else "ended without a reason"
    if failure is not None and failure.kind == "worker_died":
        message = f"{message} ({pending.attempts} attempts)"
    progress = last.progress if last else 0.0
    return Ending("failed", reason=message, progress=progress, device_seconds=pending.seconds)
