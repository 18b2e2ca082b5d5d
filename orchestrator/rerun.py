"""One stored run again, into a store of its own, beside what was recorded the first time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from methods.data.dataset import DataError
from methods.data.load import load_dataset
from methods.registry import UnknownMethod, method_version
from methods.tasks import prepare
from orchestrator.errors import DataProblem, RunFailed, StoreProblem
from orchestrator.execution import execute, prerequisite_runs
from orchestrator.runs import Run, RunResult
from orchestrator.store import Store
from orchestrator.work import Work, WorkerSettings


@dataclass(frozen=True)
class Rerun:
    """What was recorded and what came out now, for the same key."""

    recorded: RunResult
    repeated: RunResult
    store: str


def rerun(key: str, *, store: Store, into: Path, device: str | None = None, threads: int | None = None) -> Rerun:
    """Train a stored run again, prerequisites included. The first store is only read.

    Args:
        key: Of a finished run in `store`.
        into: Folder of the second store; runs that it holds already are not done again.
        device, threads: None: those it was recorded with, which equal weights need.

    Raises:
        UnknownRecord: `store` holds no such finished run.
        DataProblem: Its data set is missing or is not the one it was run on.
        RunFailed: It fails now, or its method has another version by now.
        StoreProblem: `into` is `store` itself, or cannot be written.
    """
    if "://" not in store.uri and Path(store.uri).expanduser().resolve() == into.resolve():
        raise StoreProblem(f"{into}: holds the recorded run itself; repeat it into another folder")
    recorded = store.finished_run(key)
    run = recorded.run
    _check_version(run)
    try:
        data = prepare(run.task, load_dataset(run.task.data, test_share=run.task.test_share))
    except DataError as error:
        raise DataProblem(f"run {key}: {error}") from error
    if data.fingerprint != run.data_fingerprint:
        raise DataProblem(
            f"run {key}: its data set was {run.data_fingerprint[:12]}, the one here is {data.fingerprint[:12]}; "
            "restore the samples it was run on"
        )
    second = Store.open(str(into.absolute()))
    made_in = recorded.environment
    settings = WorkerSettings(
        store_uri=second.uri,
        device=device or made_in.get("device", "cpu"),
        threads=threads or int(made_in.get("threads", "1")),
    )

    def repeat(wanted: Run) -> RunResult:
        for needed in prerequisite_runs(wanted).values():
            repeat(needed)
        completion = execute(Work(wanted), data, settings, lambda _: False)
        if completion.result is None:
            reason = completion.failure.message if completion.failure else completion.status
            raise RunFailed(f"run {wanted.key}: {reason}")
        return completion.result

    return Rerun(recorded, repeat(run), second.uri)


def _check_version(run: Run) -> None:
    try:
        version = method_version(run.method)
    except UnknownMethod as error:
        raise RunFailed(f"run {run.key}: {error} Install the package it came from.") from error
    if version != run.version:
        raise RunFailed(
            f"run {run.key}: made by version {run.version} of '{run.method}', here is version {version}, which gives "
            "other results; use the paredown of that time, named by its environment in outcome.json"
        )
