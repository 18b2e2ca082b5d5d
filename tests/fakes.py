"""Parts that tests and benchmarks put in place of training: they stand at a protocol's edge, never inside."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from methods.crew import spread
from methods.task_spec import DataSpec, NetworkSpec, TaskSpec
from orchestrator.errors import StoreFull
from orchestrator.executors.base import let_all_go_on
from orchestrator.runs import Failure, GradedVariant, Run, RunResult
from orchestrator.sizes import Sizes
from orchestrator.store import Store
from orchestrator.work import Completion, Judge, Report, Work, WorkerSettings

if TYPE_CHECKING:
    from methods.tasks import TaskData

DENSE_SIZES = Sizes(parameters=1000, nonzeros=1000, stored_bytes=2000, macs=50_000)


def a_task(**changes: Any) -> TaskSpec:
    fields: dict[str, Any] = {"data": DataSpec(source="digits"), "network": NetworkSpec(name="small_cnn"), "epochs": 3}
    return TaskSpec(**(fields | changes))


def a_run(method: str = "magnitude", *, seed: int = 0, **config: Any) -> Run:
    return Run(task_name="digits", task=a_task(), data_fingerprint="f" * 64, method=method, config=config, seed=seed)


def a_result(run: Run, *, accuracy: float = 0.9, share: float = 0.1) -> RunResult:
    """A result as a worker would store it, with figures of the caller's choice."""
    sizes = {name: max(1, round(share * size)) for name, size in DENSE_SIZES.model_dump().items()}
    variant = GradedVariant(
        label="sparse",
        kind="whole",
        validation={"accuracy": accuracy},
        sizes=Sizes(**sizes),
        reference_sizes=DENSE_SIZES,
    )
    return RunResult(
        key=run.key,
        run=run,
        variants=(variant,),
        epochs=float(run.task.epochs),
        fit_seconds=0.0,
        grade_seconds=0.0,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


class ScriptedExecutor:
    """An executor that keeps work until the test says how it ended."""

    def __init__(self, slots: int = 2) -> None:
        self.slots = slots
        self.judge: Judge = let_all_go_on
        self.running: list[Work] = []
        self.submitted: list[Work] = []
        self._ended: deque[Completion] = deque()

    def submit(self, work: Work) -> None:
        assert len(self.running) < self.slots, "more work than slots"
        self.running.append(work)
        self.submitted.append(work)

    def wait(self, timeout_seconds: float) -> list[Completion]:
        del timeout_seconds
        ended = list(self._ended)
        self._ended.clear()
        return ended

    def close(self) -> None:
        self.running.clear()

    def finish(self, run: Run, store: Store, *, accuracy: float = 0.9) -> None:
        result = a_result(run, accuracy=accuracy)
        store.put_outcome(result)
        self._end(run, "finished", result=result)

    def fail(self, run: Run, kind: str = "raised", message: str = "ValueError: no") -> None:
        failure = Failure.model_validate({"kind": kind, "message": message, "at": "2026-01-01T00:00:00+00:00"})
        self._end(run, "failed", failure=failure)

    def stop(self, run: Run) -> None:
        report = Report(run.key, 0.5, 0.5, 0.5)
        self._end(run, "stopped_early", last_report=report)

    def _end(self, run: Run, status: Any, **fields: Any) -> None:
        work = next(work for work in self.running if work.run.key == run.key)
        self.running.remove(work)
        self._ended.append(Completion(work, status, 1.0, **fields))


def no_op(work: Work, data: TaskData, settings: WorkerSettings, judge: Judge) -> Completion:
    """A run that trains nothing: its figures follow from its configuration, its result is stored for real."""
    del data, judge
    rate = float(work.run.config.get("pruning_rate", 0.9))
    result = a_result(work.run, accuracy=1.0 - (rate - 0.5) ** 2, share=1.0 - rate)
    Store.open(settings.store_uri).put_outcome(result)
    return Completion(work, "finished", 0.0, result)


def killed(work: Work, data: TaskData, settings: WorkerSettings, judge: Judge) -> Completion:
    """A run whose process is killed from outside, as by the kernel when memory is short."""
    del work, data, settings, judge
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def killed_once(work: Work, data: TaskData, settings: WorkerSettings, judge: Judge) -> Completion:
    """Killed the first time, fine the second."""
    mark = Path(settings.store_uri) / f"killed-{work.run.key}"
    if mark.exists():
        return no_op(work, data, settings, judge)
    mark.touch()
    return killed(work, data, settings, judge)


def store_is_full(work: Work, data: TaskData, settings: WorkerSettings, judge: Judge) -> Completion:
    """A worker that cannot write to the store."""
    del work, data, settings, judge
    raise StoreFull("store/runs: No space left on device; free some space")


def reporting(work: Work, data: TaskData, settings: WorkerSettings, judge: Judge) -> Completion:
    """A run that reports twenty times a second until it is asked to stop, for ten seconds at most."""
    del data, settings
    report = Report(work.run.key, 0.0, 0.0, 1.0)
    for step in range(1, 201):
        report = Report(work.run.key, step / 200, step / 200, 0.5)
        if judge(report):
            return Completion(work, "stopped_early", step / 20, last_report=report)
        time.sleep(0.05)
    return Completion(work, "failed", 10.0, last_report=report)


def where_samples_lie(work: Work, data: TaskData, settings: WorkerSettings, judge: Judge) -> Completion:
    """Says whether the samples that training sees lie in memory shared between processes, and in which process."""
    del judge
    from methods.tasks import build_task

    task = build_task(work.run.task, data, name=work.run.task_name, seed=work.run.seed, device=settings.device)
    address = task.train.inputs.data_ptr()
    shared = float(any(_holds(line, address) and "/dev/shm" in line for line in _memory_map()))
    return Completion(work, "finished", 0.0, measured={"process": {"id": float(os.getpid()), "shared": shared}})


def spreading(work: Work, data: TaskData, settings: WorkerSettings, judge: Judge) -> Completion:
    """A run that spreads parts, twice, and says what came of each and which process did it."""
    del data, settings, judge
    spread(_squared_slowly, 0.0, range(3))
    found = spread(_squared_slowly, 10.0, range(7))
    measured = {
        "squares": {str(part): value for part, (value, _) in enumerate(found)},
        "processes": {str(part): float(process) for part, (_, process) in enumerate(found)},
    }
    return Completion(work, "finished", 0.0, measured=measured)


def spreading_over_the_dying(work: Work, data: TaskData, settings: WorkerSettings, judge: Judge) -> Completion:
    """A run whose helpers are killed by the parts they are given."""
    del data, settings, judge
    found = spread(_squared_or_killed, os.getpid(), range(4))
    return Completion(work, "finished", 0.0, measured={"squares": dict(zip("abcd", found, strict=True))})


def _squared_slowly(shared: float, part: int) -> tuple[float, int]:
    return shared + part**2, os.getpid()


def _squared_or_killed(worker: int, part: int) -> float:
    if os.getpid() != worker:
        os.kill(os.getpid(), signal.SIGKILL)
    return 10.0 + part**2


def _memory_map() -> list[str]:
    return Path("/proc/self/maps").read_text().splitlines()


def _holds(line: str, address: int) -> bool:
    start, end = (int(part, 16) for part in line.split()[0].split("-"))
    return start <= address < end
