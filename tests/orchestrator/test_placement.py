"""Each run is done once, prerequisites first, lost workers are replaced, and whoever waits is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from methods import registry
from methods.contract import Prerequisite
from methods.dense import Dense
from orchestrator.placement import Ending, Job, Placement
from orchestrator.runs import Run
from orchestrator.spec import Cell, MethodEntry
from orchestrator.store import Store
from tests.fakes import ScriptedExecutor, a_result, a_run, a_task

CELL = Cell("digits", a_task(), MethodEntry(label="magnitude", method="magnitude"), 4)


class _Desk:
    """A placement with everything around it, and the endings it tells."""

    def __init__(self, folder: Path, *, max_retries: int = 1, slots: int = 2) -> None:
        self.store = Store.open(str(folder))
        self.executor = ScriptedExecutor(slots)
        self.endings: list[tuple[int, Ending]] = []
        self.placement = Placement(
            self.store,
            self.executor,
            max_retries=max_retries,
            on_end=lambda job, ending: self.endings.append((job.trial, ending)),
        )

    def start(self, trial: int, run: Run) -> None:
        self.placement.start(Job(CELL, trial, run.seed, "search", run))


@pytest.fixture
def desk(tmp_path: Path) -> _Desk:
    return _Desk(tmp_path)


def test_a_stored_result_ends_the_job_at_once_and_costs_nothing(desk: _Desk) -> None:
    desk.store.put_outcome(a_result(a_run()))
    desk.start(7, a_run())
    assert desk.executor.submitted == []
    [(trial, ending)] = desk.endings
    assert (trial, ending.status, ending.cached, ending.device_seconds) == (7, "finished", True, 0.0)


def test_two_jobs_that_want_one_run_share_it_and_the_first_pays(desk: _Desk) -> None:
    desk.start(0, a_run())
    desk.start(1, a_run())
    assert len(desk.executor.submitted) == 1
    desk.executor.finish(a_run(), desk.store)
    desk.placement.wait(0)
    assert [(trial, e.cached, e.device_seconds) for trial, e in desk.endings] == [(0, False, 1.0), (1, True, 0.0)]
    assert desk.placement.is_idle


def test_a_prerequisite_is_trained_once_before_all_that_need_it(desk: _Desk) -> None:
    first, second = a_run(start="dense"), a_run(start="dense", pruning_rate=0.8)
    desk.start(0, first)
    desk.start(1, second)
    dense = first.of("dense", {})
    assert [work.run.key for work in desk.executor.submitted] == [dense.key]
    desk.executor.finish(dense, desk.store)
    desk.placement.wait(0)
    assert {work.run.key for work in desk.executor.running} == {first.key, second.key}
    assert desk.placement.prerequisite_seconds == 1.0


def test_a_prerequisite_in_the_store_is_not_trained_again(desk: _Desk) -> None:
    run = a_run(start="dense")
    desk.store.put_outcome(a_result(run.of("dense", {})))
    desk.start(0, run)
    assert [work.run.key for work in desk.executor.submitted] == [run.key]


def test_a_failed_prerequisite_fails_its_dependants_with_the_reason(desk: _Desk) -> None:
    run = a_run(start="dense")
    desk.start(0, run)
    desk.executor.fail(run.of("dense", {}), message="ValueError: too few samples")
    desk.placement.wait(0)
    [(_, ending)] = desk.endings
    assert ending.status == "failed"
    assert "prerequisite 'dense'" in ending.reason
    assert "too few samples" in ending.reason
    assert desk.placement.is_idle


def test_a_run_whose_worker_died_is_tried_again_within_the_limit(desk: _Desk) -> None:
    desk.start(0, a_run())
    desk.executor.fail(a_run(), "worker_died", "killed")
    desk.placement.wait(0)
    assert desk.endings == []
    desk.executor.fail(a_run(), "worker_died", "killed")
    desk.placement.wait(0)
    [(_, ending)] = desk.endings
    assert (ending.status, ending.device_seconds) == ("failed", 2.0)
    assert "2 attempts" in ending.reason
    assert [failure.kind for failure in desk.store.failures(a_run().key)] == ["worker_died", "worker_died"]


def test_a_run_that_raised_is_recorded_and_not_repeated(desk: _Desk) -> None:
    desk.start(0, a_run())
    desk.executor.fail(a_run(), "raised", "ValueError: no")
    desk.placement.wait(0)
    assert len(desk.executor.submitted) == 1
    assert desk.endings[0][1].reason == "ValueError: no"
    assert [failure.message for failure in desk.store.failures(a_run().key)] == ["ValueError: no"]


def test_never_more_work_than_slots(desk: _Desk) -> None:
    for seed in range(5):
        desk.start(seed, a_run(seed=seed))
    assert len(desk.executor.submitted) == 2
    assert not desk.placement.has_room
    desk.executor.finish(a_run(seed=0), desk.store)
    desk.placement.wait(0)
    assert len(desk.executor.submitted) == 3


def test_a_run_stopped_early_for_one_job_is_done_in_full_for_those_that_came_later(desk: _Desk) -> None:
    desk.start(0, a_run())
    assert desk.placement.sole_job(a_run().key) is not None
    desk.start(1, a_run())
    assert desk.placement.sole_job(a_run().key) is None
    desk.executor.stop(a_run())
    desk.placement.wait(0)
    assert desk.endings == []
    desk.executor.finish(a_run(), desk.store)
    desk.placement.wait(0)
    assert [(trial, ending.status) for trial, ending in desk.endings] == [(0, "finished"), (1, "finished")]


def test_a_run_that_others_need_first_is_not_stopped_early_for_its_own_job(desk: _Desk) -> None:
    dense = a_run("dense")
    desk.start(0, dense)
    desk.start(1, a_run(start="dense"))
    assert desk.placement.sole_job(dense.key) is None
    desk.executor.stop(dense)
    desk.placement.wait(0)
    desk.executor.finish(dense, desk.store)
    desk.placement.wait(0)
    assert [(trial, ending.status) for trial, ending in desk.endings] == [(0, "finished")]
    assert [work.run.key for work in desk.executor.running] == [a_run(start="dense").key]


def test_a_run_that_stops_itself_is_not_begun_for_ever(desk: _Desk) -> None:
    desk.start(0, a_run())
    desk.start(1, a_run())
    for _ in range(2):
        desk.executor.stop(a_run())
        desk.placement.wait(0)
    assert [ending.status for _, ending in desk.endings] == ["stopped_early", "stopped_early"]


def test_the_search_is_not_asked_for_more_than_can_wait_for_a_prerequisite(tmp_path: Path) -> None:
    desk = _Desk(tmp_path, slots=3)
    asked = 0
    while desk.placement.has_room:
        desk.start(asked, a_run(start="dense", pruning_rate=0.8 + asked / 100))
        asked += 1
    assert asked == 3
    assert [work.run.method for work in desk.executor.running] == ["dense"]
    assert desk.placement.has_idle_worker


def test_a_failure_reaches_a_run_that_needs_it_by_two_ways_once(desk: _Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(Dense):
        name = "late"

        def prerequisites(self) -> tuple[Prerequisite, ...]:
            return Prerequisite("magnitude", {"start": "dense"}), Prerequisite("dense")

    monkeypatch.setitem(registry._registered, "late", Late)
    desk.start(0, a_run(start="dense"))
    desk.start(1, a_run("late"))
    desk.executor.fail(a_run("dense"), message="ValueError: too few samples")
    desk.placement.wait(0)
    assert [(trial, ending.status) for trial, ending in desk.endings] == [(0, "failed"), (1, "failed")]
    assert desk.placement.is_idle
