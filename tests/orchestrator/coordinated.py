"""A coordinator with real parts all around it, whose runs train nothing; to be thrown away and built again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from methods.json_value import Json
from orchestrator.coordinator import Coordinator
from orchestrator.executors.base import Executor
from orchestrator.executors.inline import InlineExecutor
from orchestrator.progress import SilentProgress
from orchestrator.runs import Phase, Record
from orchestrator.search import open_storage
from orchestrator.spec import Study
from orchestrator.spec.study_file import parse_study
from orchestrator.store import Store
from orchestrator.tracking import NullTracker
from orchestrator.work import Completion, Execute, Judge, Work, WorkerSettings
from tests.fakes import ScriptedExecutor, no_op

MAGNITUDE = "magnitude: {search: {pruning_rate: [0.8, 0.99]}}"
DENSE = "dense: {search: none}"
FINGERPRINT = "f" * 64


def a_study(*methods: str, seeds: str = "[0, 1]", search: str = "", budget: str = "{}", trials: int = 4) -> Study:
    """A study of one task; `methods` are entries of its file."""
    lines = [
        "study: steered",
        "tasks: {digits: {data: digits, network: small_cnn, epochs: 3}}",
        "methods:",
        *(f"  {method}" for method in methods or (MAGNITUDE,)),
        f"seeds: {seeds}",
        f"search: {{trials: {trials}, sampler: random, {search or 'early_stopping: none'}}}",
        f"budget: {budget}",
    ]
    return parse_study("\n".join(lines), file="steered.yaml")


class Scripted(ScriptedExecutor):
    """Lets a test act whenever the coordinator waits; without an act of its own it finishes the oldest work."""

    def __init__(self, store: Store, *, slots: int = 2, act: Callable[[Scripted], None] | None = None) -> None:
        super().__init__(slots)
        self.store = store
        self._act = act or Scripted.finish_oldest

    def wait(self, timeout_seconds: float) -> list[Completion]:
        if self.running:
            self._act(self)
        return super().wait(timeout_seconds)

    def end(self, completion: Completion) -> None:
        """For an ending that `finish` and `fail` do not give."""
        self.running.remove(completion.work)
        self._ended.append(completion)

    def finish_oldest(self) -> None:
        self.finish(self.running[0].run, self.store)


class Desk:
    """A store, and the coordinators that work on one study in it, one after the other."""

    def __init__(self, place: Path, study: Study) -> None:
        self.study = study
        self.store = Store.open(str(place))
        self.folder = self.store.study(study.name)
        self.worked: list[Work] = []
        """What workers were given, over all executions."""

    def inline(self, run_work: Execute = no_op) -> InlineExecutor:
        """A worker in this process that trains nothing."""

        def noted(work: Work, data: Any, settings: WorkerSettings, judge: Judge) -> Completion:
            self.worked.append(work)
            return run_work(work, data, settings, judge)

        tasks = dict.fromkeys(self.study.tasks, cast(Any, None))
        return InlineExecutor(WorkerSettings(store_uri=self.store.uri), tasks=tasks, run_work=noted)

    def coordinator(self, executor: Executor | None = None, **options: Any) -> Coordinator:
        """Opened anew from what is stored."""
        return Coordinator(
            self.study,
            store=self.store,
            folder=self.folder,
            storage=open_storage(self.folder.journal_path()),
            fingerprints=dict.fromkeys(self.study.tasks, FINGERPRINT),
            executor=executor or self.inline(),
            tracker=NullTracker(),
            observer=SilentProgress(),
            **options,
        )

    def go(self, executor: Executor | None = None, **options: Any) -> Coordinator:
        """Search and confirm, as `run_study` does."""
        coordinator = self.coordinator(executor, **options)
        coordinator.search()
        coordinator.confirm()
        coordinator.keep_rungs()
        return coordinator

    def records(self, phase: Phase | None = None) -> list[Record]:
        return [record for record in self.folder.records() if phase in (None, record.phase)]

    def configs(self) -> list[dict[str, Json]]:
        """Of the searched trials, in order."""
        return [record.run.config for record in self.records("search")]
