"""Trials per second of the whole orchestration, with runs that train nothing: ask, place, store, record, tell.

    python -m tests.benchmarks.orchestration [--trials 2000] [--workers 2] [--sampler random] [--tracking none]

Search state (journal) and results (store) are durable, as in a real study. The second figure, time per trial in the
last tenth against the second (in the first, workers still start), shows whether a study slows down; the sampler's own
share is measured beside it. The last line is the memory of the local cluster without work, shared pages counted once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from methods.data.load import load_dataset
from methods.registry import config_class
from methods.tasks import prepare
from orchestrator.coordinator import Coordinator
from orchestrator.executors.ray_pool import RayPool
from orchestrator.progress import SilentProgress
from orchestrator.search import CellSearch, open_storage
from orchestrator.spec.study_file import parse_study
from orchestrator.store import Store
from orchestrator.tracking import open_tracker
from orchestrator.work import Work, WorkerSettings
from tests.fakes import a_run, no_op

STUDY = """
study: throughput
tasks:
  digits: {{data: digits, network: small_cnn, epochs: 1}}
methods:
  magnitude: {{search: {{pruning_rate: [0.8, 0.99], learning_rate: [0.01, 0.9]}}}}
seeds: [0]
search: {{trials: {trials}, sampler: {sampler}, early_stopping: none, confirm: 1}}
executor: ray
"""


class _Clock:
    """Notes when trials end, through the tracker's place in the loop."""

    def __init__(self, tracker: object) -> None:
        self.ends: list[float] = []
        self._tracker = tracker

    def __getattr__(self, name: str) -> object:
        return getattr(self._tracker, name)

    def record(self, *args: object, **fields: object) -> None:
        self._tracker.record(*args, **fields)  # type: ignore[attr-defined]
        self.ends.append(time.perf_counter())


def measure(*, trials: int, workers: int, sampler: str, tracking: str) -> None:
    study = parse_study(STUDY.format(trials=trials, sampler=sampler), file="throughput.yaml")
    with tempfile.TemporaryDirectory() as place:
        store = Store.open(place)
        folder = store.study(study.name)
        task = study.tasks["digits"]
        data = prepare(task, load_dataset(task.data, test_share=task.test_share))
        pool = RayPool(
            WorkerSettings(store_uri=store.uri),
            tasks={"digits": data},
            cpus=1,
            workers=workers,
            run_work=no_op,
        )
        pool.submit(Work(a_run()))
        pool.wait(60)
        megabytes = _memory_megabytes()
        clock = _Clock(open_tracker(tracking, store_uri=store.uri))
        clock.start(study.name, execution_id="benchmark", tags={}, params={})
        coordinator = Coordinator(
            study,
            store=store,
            folder=folder,
            storage=open_storage(folder.journal_path()),
            fingerprints={"digits": data.fingerprint},
            executor=pool,
            tracker=clock,  # type: ignore[arg-type]
            observer=SilentProgress(),
        )
        started = time.perf_counter()
        coordinator.search()
        clock.finish(status="finished")
        seconds = time.perf_counter() - started
        pool.close()
    assert len(clock.ends) == trials, f"{len(clock.ends)} trials ended"
    print(f"{trials} trials, {workers} workers, sampler {sampler}, tracking {tracking}:")
    print(f"  {trials / seconds:.0f} trials/s; last tenth against second: {_slowing(clock.ends):.2f}x")
    print(f"  local cluster without dashboard, {workers} idle workers: {megabytes:.0f} MB beside this process")


def sampler_cost(*, trials: int, sampler: str) -> None:
    """Ask and tell alone, in the same journal format."""
    study = parse_study(STUDY.format(trials=trials, sampler=sampler), file="throughput.yaml")
    [cell] = study.cells
    with tempfile.TemporaryDirectory() as place:
        search = CellSearch.open(
            storage=open_storage(Path(place) / "search.journal"),
            name="cell",
            space=cell.entry.space,
            config_class=config_class("magnitude"),
            fixed={},
            num_trials=trials,
            seed=0,
            sampler=sampler,
        )
        ends = [time.perf_counter()]
        while (proposal := search.ask()) is not None:
            search.tell(proposal.trial, score=0.5 + proposal.trial % 7 / 20, size=0.1 + proposal.trial % 5 / 10)
            ends.append(time.perf_counter())
    milliseconds = 1000 * (ends[-1] - ends[0]) / trials
    print(f"  sampler alone: {milliseconds:.2f} ms a trial; last tenth against second: {_slowing(ends):.2f}x")


def _slowing(ends: Sequence[float]) -> float:
    """Time that the last tenth of the trials took, against the second tenth."""
    tenth = len(ends) // 10
    return (ends[-1] - ends[-1 - tenth]) / (ends[2 * tenth] - ends[tenth])


def _memory_megabytes() -> float:
    """Proportional memory of all processes that this one has started."""
    children = psutil.Process().children(recursive=True)
    return sum(child.memory_full_info().pss for child in children) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sampler", choices=["random", "tpe"], default="random")
    parser.add_argument("--tracking", choices=["none", "sqlite"], default="none")
    options = parser.parse_args()
    measure(**vars(options))
    sampler_cost(trials=options.trials, sampler=options.sampler)


if __name__ == "__main__":
    main()
