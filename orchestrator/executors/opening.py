"""Opens the executor that a study asks for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

from methods.tasks import TaskData
from orchestrator.execution import execute
from orchestrator.executors.base import Executor, Tell, say_nothing
from orchestrator.executors.inline import InlineExecutor
from orchestrator.executors.ray_pool import RayPool
from orchestrator.spec import Study
from orchestrator.work import WorkerSettings


@contextmanager
def open_executor(
    study: Study, settings: WorkerSettings, tasks: Mapping[str, TaskData], *, tell: Tell = say_nothing
) -> Iterator[Executor]:
    """The executor that the study asks for; its workers end on leaving.

    `auto` takes Ray where it is installed; `ray` and `auto` join the cluster at the environment's RAY_ADDRESS, if there
    is one, and otherwise start a local one.

    Args:
        study: Says which, and what a worker holds.
        settings: What each worker is told.
        tasks: The samples of each task, by its name.
        tell: Hears why nothing runs.

    Raises:
        ServiceMissing: It cannot be started.
    """
    wanted = study.executor
    if wanted == "auto":
        wanted = "ray" if find_spec("ray") else "inline"
    executor: Executor
    if wanted == "inline":
        executor = InlineExecutor(settings, tasks=tasks, run_work=execute)
    else:
        executor = RayPool(
            settings,
            tasks=tasks,
            run_work=execute,
            cpus=study.resources.cpus,
            gpus=study.resources.gpus,
            workers=study.resources.workers,
            helpers=study.resources.helpers,
            address=wanted if wanted.startswith("ray://") else os.environ.get("RAY_ADDRESS"),
            tell=tell,
        )
    try:
        yield executor
    finally:
        executor.close()
