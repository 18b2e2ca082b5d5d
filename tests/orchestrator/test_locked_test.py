"""The test split is opened once, for runs that were chosen before it was opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.errors import RunFailed, StoreProblem, WorkerDied
from orchestrator.executors.inline import InlineExecutor
from orchestrator.locked_test import open_locked_test, runs_are_chosen
from orchestrator.runs import Failure
from orchestrator.store import Store
from orchestrator.store.study_folder import StudyFolder
from orchestrator.work import Completion, Judge, Work, WorkerSettings
from tests.fakes import a_run

RUNS = [a_run(seed=seed) for seed in (0, 1, 2)]


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


class _Bench:
    """Measures what it is given, notes it, and can be told to go wrong."""

    def __init__(self, trouble: Callable[[Work, int], Completion | None] | None = None) -> None:
        self.worked: list[str] = []
        self._trouble = trouble

    def executor(self, *, slots: int = 1) -> InlineExecutor:
        settings = WorkerSettings(store_uri="unused")
        tasks = {"digits": cast(Any, None)}
        executor = InlineExecutor(settings, tasks=tasks, run_work=self._measure)
        executor.slots = slots
        return executor

    def _measure(self, work: Work, data: Any, settings: WorkerSettings, judge: Judge) -> Completion:
        del data, settings, judge
        self.worked.append(work.id)
        trouble = self._trouble(work, len(self.worked)) if self._trouble else None
        values = {"accuracy": 0.8} if work.kind == "test" else {"latency_ms_1": 0.5}
        return trouble or Completion(work, "finished", 0.0, measured={"sparse": values, "other": values})


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return Store.open(str(tmp_path)).study("small")


def _failed(work: Work, kind: str) -> Completion:
    failure = Failure.model_validate({"kind": kind, "message": "no luck", "at": "2026-01-01T00:00:00+00:00"})
    return Completion(work, "failed", 0.0, failure=failure)


def _open(folder: StudyFolder, bench: _Bench, runs: list[Any] = RUNS, *, slots: int = 1) -> dict[str, Any]:
    return open_locked_test(folder, runs, bench.executor(slots=slots), first_seed=0)


def test_every_variant_of_every_run_is_tested_and_those_of_the_first_seed_timed_afterwards(folder: StudyFolder) -> None:
    bench = _Bench()
    sheet = _open(folder, bench, slots=2)
    assert bench.worked == [*(f"test:{run.key}" for run in RUNS), f"latency:{RUNS[0].key}"]
    assert set(sheet["rows"]) == {f"{run.key}/{label}" for run in RUNS for label in ("sparse", "other")}
    assert sheet["rows"][f"{RUNS[0].key}/sparse"] == {"accuracy": 0.8, "latency_ms_1": 0.5}
    assert sheet["rows"][f"{RUNS[1].key}/sparse"] == {"accuracy": 0.8}
    assert folder.read_test() == sheet


def test_a_second_call_opens_nothing(folder: StudyFolder) -> None:
    sheet = _open(folder, _Bench())
    bench = _Bench()
    assert _open(folder, bench, [*RUNS, a_run(seed=9)]) == sheet
    assert bench.worked == []


def test_runs_that_several_labels_share_are_tested_once(folder: StudyFolder) -> None:
    bench = _Bench()
    _open(folder, bench, [a_run(), a_run()])
    assert bench.worked == [f"test:{a_run().key}", f"latency:{a_run().key}"]


@pytest.mark.parametrize("number", [1, 2, 4])
def test_an_interrupted_test_goes_on_with_the_runs_chosen_at_first(folder: StudyFolder, number: int) -> None:
    def dies(work: Work, so_many: int) -> None:
        del work
        if so_many == number:
            raise Killed

    assert not runs_are_chosen(folder)
    with pytest.raises(Killed):
        _open(folder, _Bench(dies))
    assert runs_are_chosen(folder)
    assert folder.read_test() is None
    sheet = _open(folder, _Bench(), [*RUNS, a_run(seed=9)])
    assert {row.partition("/")[0] for row in sheet["rows"]} == {run.key for run in RUNS}


def test_killed_before_the_sheet_is_written_it_is_written_by_the_next(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*given: Any) -> bool:
        del given
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(StudyFolder, "put_test", dies)
        with pytest.raises(Killed):
            _open(folder, _Bench())
    assert _open(folder, _Bench())["rows"]


def test_a_run_whose_worker_died_is_tested_again(folder: StudyFolder) -> None:
    bench = _Bench(lambda work, number: _failed(work, "worker_died") if number in (1, 2) else None)
    sheet = _open(folder, bench)
    assert len(sheet["rows"]) == 6
    assert bench.worked.count(f"test:{RUNS[0].key}") == 3


def test_workers_that_keep_dying_end_the_test_and_leave_it_open_for_the_next_call(folder: StudyFolder) -> None:
    bench = _Bench(lambda work, _: _failed(work, "worker_died") if work.run.seed == 1 else None)
    with pytest.raises(WorkerDied, match=rf"run {RUNS[1].key} .*no luck \(3 attempts\); `pare resume`"):
        _open(folder, bench)
    assert folder.read_test() is None
    assert len(_open(folder, _Bench())["rows"]) == 6


def test_what_would_go_wrong_again_is_told_at_once(folder: StudyFolder) -> None:
    bench = _Bench(lambda work, _: _failed(work, "raised"))
    with pytest.raises(RunFailed, match=rf"run {RUNS[0].key} of 'magnitude' cannot be tested: no luck; `pare resume`"):
        _open(folder, bench)
    assert len(bench.worked) == 1


def test_nothing_is_opened_when_the_choice_cannot_be_written(folder: StudyFolder, tmp_path: Path) -> None:
    (tmp_path / "studies").write_text("in the way")
    bench = _Bench()
    with pytest.raises(StoreProblem):
        _open(folder, bench)
    assert bench.worked == []
