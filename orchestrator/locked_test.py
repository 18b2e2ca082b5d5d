"""The last phase of a study: the locked test split is opened once, for the confirmed runs alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from orchestrator.errors import RunFailed, WorkerDied
from orchestrator.executors.base import Executor
from orchestrator.runs import Run
from orchestrator.store.study_folder import StudyFolder
from orchestrator.work import Completion, Work

_WAIT_SECONDS = 0.5
_MOST_ATTEMPTS = 3
_CHOICE_FILE = "test_choice.json"


def runs_are_chosen(folder: StudyFolder) -> bool:
    """Whether the runs to test are fixed, so that nothing new may be searched any more."""
    return folder.read_file(_CHOICE_FILE) is not None


def open_locked_test(
    folder: StudyFolder, runs: Iterable[Run], executor: Executor, *, first_seed: int
) -> dict[str, Any]:
    """Grade every variant of `runs` on the test split and keep the sheet in the store.

    A study whose sheet exists is not tested again: the sheet is returned as it is. Runs that several labels share are
    tested once. Latency is measured afterwards, one run at a time and for the first seed only, so that no other
    work disturbs the clock.

    Returns:
        `opened_at` (UTC), `opened_by` and `rows`: `<run key>/<variant>` -> quality values, `latency_ms_<batch>` and
        `latency_sparse_ms_<batch>`.

    Raises:
        StoreProblem: A run is not in the store or cannot be read there, or the sheet cannot be written.
        RunFailed: A run cannot be tested; the next call tries again.
    """
    sheet = folder.read_test()
    if sheet is not None:
        return sheet
    distinct = _chosen_once(folder, {run.key: run for run in runs})
    opened_at = datetime.now(UTC).isoformat(timespec="seconds")
    rows: dict[str, dict[str, float]] = {}
    _gather(rows, executor, [Work(run, "test") for run in distinct.values()])
    timed = [Work(run, "latency") for run in distinct.values() if run.seed == first_seed]
    _gather(rows, executor, timed, at_a_time=1)
    sheet = {"opened_at": opened_at, "opened_by": f"study {folder.name}", "rows": rows}
    folder.put_test(sheet)
    return sheet


def _chosen_once(folder: StudyFolder, runs: dict[str, Run]) -> dict[str, Run]:
    """The runs to test, fixed before the split is first opened: an interrupted test cannot change its mind."""
    stored = folder.read_file(_CHOICE_FILE)
    if stored is None:
        folder.write_file(_CHOICE_FILE, json.dumps(sorted(runs)).encode())
        return runs
    chosen = set(json.loads(stored))
    return {key: run for key, run in runs.items() if key in chosen}


def _gather(
    rows: dict[str, dict[str, float]], executor: Executor, work: list[Work], *, at_a_time: int | None = None
) -> None:
    """Let workers do all of `work`, all of them unless `at_a_time` says; a piece whose worker died is done again."""
    waiting = list(reversed(work))
    running = 0
    attempts: dict[str, int] = {}
    while waiting or running:
        while waiting and running < (at_a_time or executor.slots):
            piece = waiting.pop()
            attempts[piece.id] = attempts.get(piece.id, 0) + 1
            executor.submit(piece)
            running += 1
        for completion in executor.wait(_WAIT_SECONDS):
            running -= 1
            if completion.status == "finished":
                for variant, values in completion.measured.items():
                    rows.setdefault(f"{completion.work.run.key}/{variant}", {}).update(values)
            elif not _died(completion):
                raise RunFailed(_why(completion, attempts=1))
            elif attempts[completion.work.id] < _MOST_ATTEMPTS:
                waiting.append(completion.work)
            else:
                raise WorkerDied(_why(completion, attempts=_MOST_ATTEMPTS))


def _died(completion: Completion) -> bool:
    return completion.failure is None or completion.failure.kind == "worker_died"


def _why(completion: Completion, *, attempts: int) -> str:
    work = completion.work
    what = {"test": "tested", "latency": "timed"}.get(work.kind, work.kind)
    reason = completion.failure.message if completion.failure else "no reason given"
    often = f" ({attempts} attempts)" if attempts > 1 else ""
    return f"run {work.run.key} of '{work.run.method}' cannot be {what}: {reason}{often}; `pare resume` tries again"
