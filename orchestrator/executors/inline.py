"""Runs work in this process, one piece at a time: for debugging, tests and machines without Ray."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.executors.base import let_all_go_on
from orchestrator.work import Completion, Execute, Judge, Work, WorkerSettings

if TYPE_CHECKING:
    from methods.tasks import TaskData


class InlineExecutor:
    """An `Executor` whose `wait` does the work itself, however long that takes.

    Args:
        settings: What the work is told.
        tasks: The samples of each task, by its name.
        run_work: Does it; `orchestrator.execution.execute` in a real study.
    """

    slots = 1

    def __init__(self, settings: WorkerSettings, *, tasks: Mapping[str, TaskData], run_work: Execute) -> None:
        self.judge: Judge = let_all_go_on
        self._settings = settings
        self._tasks = tasks
        self._run_work = run_work
        self._queue: deque[Work] = deque()

    def submit(self, work: Work) -> None:
        self._queue.append(work)

    def wait(self, timeout_seconds: float) -> list[Completion]:
        del timeout_seconds
        if not self._queue:
            return []
        work = self._queue.popleft()
        return [self._run_work(work, self._tasks[work.run.task_name], self._settings, self.judge)]

    def close(self) -> None:
        self._queue.clear()
