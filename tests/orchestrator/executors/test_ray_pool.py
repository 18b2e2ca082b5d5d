"""The pool on a real local cluster: work comes back, reports travel, workers may die, samples are not copied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from methods.data.load import load_dataset
from methods.tasks import TaskData, prepare
from orchestrator.errors import ServiceMissing, StoreFull
from orchestrator.executors.ray_pool import RayPool
from orchestrator.store import Store
from orchestrator.work import Completion, Report, Work, WorkerSettings
from tests.fakes import (
    a_run,
    a_task,
    killed,
    killed_once,
    no_op,
    reporting,
    spreading,
    spreading_over_the_dying,
    store_is_full,
    where_samples_lie,
)

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def data() -> TaskData:
    task = a_task()
    return prepare(task, load_dataset(task.data, test_share=task.test_share))


@pytest.fixture(scope="module", autouse=True)
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cluster for all pools of this file: it belongs to the first, which closes last."""
    settings = WorkerSettings(store_uri=str(tmp_path_factory.mktemp("store")))
    owner = RayPool(settings, tasks={}, run_work=no_op, cpus=0.01, workers=1)
    yield
    owner.close()


def _pool(folder: Path, data: TaskData, run_work: Any, **options: Any) -> RayPool:
    settings = WorkerSettings(store_uri=str(folder))
    Store.open(str(folder))
    return RayPool(settings, tasks={"digits": data}, run_work=run_work, cpus=options.pop("cpus", 0.4), **options)


def _all(pool: RayPool, count: int) -> list[Completion]:
    ended: list[Completion] = []
    for _ in range(100):
        ended += pool.wait(1.0)
        if len(ended) == count:
            return ended
    raise AssertionError(f"only {len(ended)} of {count} pieces of work came back")


def test_work_comes_back_with_its_result(tmp_path: Path, data: TaskData) -> None:
    pool = _pool(tmp_path, data, no_op, workers=2)
    assert pool.slots == 2
    for seed in range(2):
        pool.submit(Work(a_run(seed=seed)))
    ended = _all(pool, 2)
    pool.close()
    assert {c.work.run.seed for c in ended} == {0, 1}
    assert all(c.status == "finished" and c.result is not None for c in ended)


def test_a_killed_worker_is_told_and_replaced(tmp_path: Path, data: TaskData) -> None:
    pool = _pool(tmp_path, data, killed_once, workers=1)
    pool.submit(Work(a_run()))
    [first] = _all(pool, 1)
    assert first.status == "failed"
    assert first.failure is not None
    assert first.failure.kind == "worker_died"
    pool.submit(Work(a_run()))
    [second] = _all(pool, 1)
    pool.close()
    assert second.status == "finished"


def test_a_worker_that_dies_every_time_is_told_every_time(tmp_path: Path, data: TaskData) -> None:
    pool = _pool(tmp_path, data, killed, workers=1)
    for _ in range(2):
        pool.submit(Work(a_run()))
        [completion] = _all(pool, 1)
        assert completion.failure is not None
        assert completion.failure.kind == "worker_died"
    pool.close()


def test_reports_reach_the_judge_and_its_verdict_reaches_the_run(tmp_path: Path, data: TaskData) -> None:
    heard: list[Report] = []

    def judge(report: Report) -> bool:
        heard.append(report)
        return report.progress > 0.02

    pool = _pool(tmp_path, data, reporting, workers=1)
    pool.judge = judge
    pool.submit(Work(a_run()))
    [completion] = _all(pool, 1)
    pool.close()
    assert completion.status == "stopped_early"
    assert heard
    assert completion.seconds < 5


def test_all_workers_of_a_node_see_one_copy_of_the_samples(tmp_path: Path, data: TaskData) -> None:
    pool = _pool(tmp_path, data, where_samples_lie, workers=2)
    for seed in range(2):
        pool.submit(Work(a_run(seed=seed)))
    processes = [dict(completion.measured["process"]) for completion in _all(pool, 2)]
    pool.close()
    assert len({process["id"] for process in processes}) == 2
    assert [process["shared"] for process in processes] == [1.0, 1.0]


def test_a_worker_that_fits_nowhere_is_refused_with_the_figures(tmp_path: Path, data: TaskData) -> None:
    with pytest.raises(ServiceMissing, match=r"needs 1000 CPUs and 0 GPUs, but the cluster has"):
        _pool(tmp_path, data, no_op, cpus=1000)


def test_trouble_with_the_store_is_told_in_the_workers_own_words(tmp_path: Path, data: TaskData) -> None:
    pool = _pool(tmp_path, data, store_is_full, workers=1)
    pool.submit(Work(a_run()))
    with pytest.raises(StoreFull) as caught:
        _all(pool, 1)
    pool.close()
    assert str(caught.value) == "store/runs: No space left on device; free some space"


def test_a_worker_hands_parts_of_its_run_to_helpers(tmp_path: Path, data: TaskData) -> None:
    pool = _pool(tmp_path, data, spreading, workers=1, cpus=0.2, helpers=2)
    pool.submit(Work(a_run()))
    [ended] = _all(pool, 1)
    pool.close()
    assert ended.failure is None
    squares = [ended.measured["squares"][str(part)] for part in range(7)]
    assert squares == [10.0 + part**2 for part in range(7)]
    assert len(set(ended.measured["processes"].values())) == 3


def test_parts_of_a_helper_that_died_are_done_by_the_worker(tmp_path: Path, data: TaskData) -> None:
    pool = _pool(tmp_path, data, spreading_over_the_dying, workers=1, cpus=0.2, helpers=2)
    pool.submit(Work(a_run()))
    [ended] = _all(pool, 1)
    pool.close()
    assert ended.failure is None
    assert list(ended.measured["squares"].values()) == [10.0 + part**2 for part in range(4)]


def test_helpers_that_do_not_fit_are_told(tmp_path: Path, data: TaskData) -> None:
    with pytest.raises(ServiceMissing, match="a worker with 9 helpers needs 10 CPUs"):
        _pool(tmp_path, data, no_op, cpus=1.0, helpers=9)
