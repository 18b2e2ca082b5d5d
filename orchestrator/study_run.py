"""From a study to its results: opens everything a study needs, drives the phases, closes everything again."""

from __future__ import annotations

import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from methods.task_spec import content_key
from orchestrator.coordinator import Coordinator
from orchestrator.environment import describe_environment
from orchestrator.errors import DataProblem, StudyInvalid
from orchestrator.executors.base import Executor
from orchestrator.executors.opening import open_executor
from orchestrator.ledger import Ledger
from orchestrator.locked_test import open_locked_test, runs_are_chosen
from orchestrator.machine import machine_faults
from orchestrator.progress import Observer, SilentProgress
from orchestrator.refusals import refusals
from orchestrator.restoring import lost_records, restore
from orchestrator.reuse.stored import is_wanting, write_reuse
from orchestrator.search import SearchStorage, open_storage
from orchestrator.spec import Study
from orchestrator.store import Store, StudyFolder, StudyLock
from orchestrator.study_data import load_tasks
from orchestrator.study_identity import keep_spec, refuse_changed_ground
from orchestrator.study_views import Views, add_phase_times, phase_times, write_results, write_views
from orchestrator.tracking import Tracker, open_tracker
from orchestrator.work import WorkerSettings

Status = Literal["finished", "interrupted", "budget_spent"]


@dataclass(frozen=True)
class StudySummary:
    """What `pare run` tells at the end. `failed` counts all runs of the study that have failed for good, the other
    counts are those of this call."""

    study: str
    status: Status
    store: str
    finished: int
    failed: int
    stopped_early: int
    cached: int
    seconds: float
    phase_seconds: Mapping[str, float] = field(default_factory=dict)
    report: str = ""
    """Path of the report; empty when there is nothing to report yet."""
    lines: tuple[str, ...] = ()
    """The comparison as a table for a terminal."""
    tracking_problem: str = ""
    """Why MLflow is behind; `pare sync` mends it. Empty: it is not."""

    @property
    def exit_code(self) -> int:
        if self.status == "interrupted":
            return 130
        return 1 if self.failed else 0


@dataclass
class _Execution:
    """What one call has done so far."""

    status: Status = "finished"
    counts: Counter[str] = field(default_factory=Counter)
    phase_seconds: dict[str, float] = field(default_factory=dict)


def run_study(study: Study, *, observer: Observer | None = None) -> StudySummary:
    """Run a study, or go on with it: what the store holds already is not done again.

    Blocks until the study is done, its budget is spent or it is interrupted (Ctrl-C, SIGTERM). Whatever happens,
    finished runs are in the store and the next call goes on from there. A study whose test split was opened is closed:
    only its views are made anew.

    Raises:
        StudyInvalid: It asks for what this machine does not have, or the store holds another study of its name, or
            what its earlier runs were made of has changed.
        DataProblem: A data set cannot be loaded.
        StoreProblem: The store cannot be read or written, or another coordinator works on this study.
        RunFailed: A run that the store has lost cannot be trained again.
        ServiceMissing: The executor cannot be started.
    """
    observer = observer or SilentProgress()
    faults = machine_faults(study)
    if faults:
        raise StudyInvalid(faults)
    started = time.monotonic()
    store = Store.open(_absolute(study.store))
    folder = store.study(study.name)
    with folder.lock(" ".join(["pare", *sys.argv[1:]])) as lock:
        keep_spec(study, folder)
        tracker = open_tracker(study.tracking, store_uri=store.uri)
        _restore(study, store, observer)
        if folder.read_test() is None:
            done = _execute_phases(study, store, lock, tracker, observer)
        else:
            observer.message("the test split was opened before, so this study is closed: only its views are made anew")
            _start_tracking(tracker, study, store, _worker_settings(study, store))
            done = _Execution()
        if done.status == "finished" and is_wanting(study, store):
            observer.phase("reuse")
            with _timed("reuse", done):
                _reuse(study, store, observer)
        add_phase_times(folder, done.phase_seconds)
        views = Views()
        with suppress(KeyboardInterrupt):  # a second Ctrl-C skips the views; `pare report` and `pare sync` make them
            views = write_views(study, store)
            tracker.finish(status=done.status)
        failed = sum(record.status == "failed" for record in folder.records())
    return StudySummary(
        study=study.name,
        status=done.status,
        store=study.store,
        finished=done.counts["finished"],
        failed=failed,
        stopped_early=done.counts["stopped_early"],
        cached=done.counts["cached"],
        seconds=time.monotonic() - started,
        phase_seconds=done.phase_seconds,
        report=views.report,
        lines=views.lines,
        tracking_problem=tracker.problem or "",
    )


def _restore(study: Study, store: Store, observer: Observer) -> None:
    """Make good what somebody deleted: every view is made of it, of a closed study too."""
    folder = store.study(study.name)
    lost = lost_records(folder, store)
    if not lost:
        return
    observer.message(f"{len(lost)} finished runs are not in the store any more, so they are trained again")
    tasks = load_tasks(study, observer.message)
    refuse_changed_ground(study, folder.records(), tasks)
    with (
        open_executor(study, _worker_settings(study, store), tasks, tell=observer.message) as executor,
        _sigterm_interrupts(),
    ):
        restore(lost, study, store, executor)


def _absolute(uri: str) -> str:
    """A local store by its absolute path, so that workers in other folders find it; others as they are."""
    return uri if "://" in uri else str(Path(uri).absolute())


def _execute_phases(study: Study, store: Store, lock: StudyLock, tracker: Tracker, observer: Observer) -> _Execution:
    """Search, confirm, extra seeds, test: all of it or what an earlier execution left."""
    folder = store.study(study.name)
    tasks = load_tasks(study, observer.message)
    refuse_changed_ground(study, folder.records(), tasks)
    for cell, reason in refusals(study, tasks).items():
        observer.message(f"{cell} will have no result: {reason}")
    settings = _worker_settings(study, store)
    done = _Execution()
    with open_executor(study, settings, tasks, tell=observer.message) as executor, _sigterm_interrupts():
        storage = _open_search(study, store, folder)
        if storage.note:
            observer.message(storage.note)
        coordinator = Coordinator(
            study,
            store=store,
            folder=folder,
            storage=storage,
            fingerprints={name: data.fingerprint for name, data in tasks.items()},
            executor=executor,
            tracker=tracker,
            observer=observer,
            still_ours=lock.touch,
            seconds_before=sum(phase_times(folder).values()),
        )
        _start_tracking(tracker, study, store, settings)
        phases: list[tuple[str, Callable[[], None]]] = [
            ("search", coordinator.search),
            ("confirm", coordinator.confirm),
            ("test", lambda: _test(study, folder, coordinator.ledger, executor, observer)),
        ]
        if runs_are_chosen(folder):
            # A trial more might change the front; confirming the same one again costs nothing where all is well.
            phases = phases[1:]
        elif study.further_seeds:
            phases.insert(2, ("extra seeds", coordinator.add_seeds))
        try:
            for name, phase in phases:
                observer.phase(name)
                with _timed(name, done):
                    phase()
        except KeyboardInterrupt:
            done.status = "interrupted"
            observer.message("interrupted; finished runs are kept, `pare resume` goes on from here")
        finally:
            coordinator.keep_rungs()
            folder.keep_journal()
            storage.close()
        if coordinator.budget_spent and done.status == "finished":
            done.status = "budget_spent"
        done.counts = coordinator.counts
    return done


def _open_search(study: Study, store: Store, folder: StudyFolder) -> SearchStorage:
    """The trials of this study in this store: in a file beside its records, or in a database that studies share."""
    if study.search.database is None:
        return open_storage(folder.journal_path())
    # Another store of the same study knows nothing of these trials' runs.
    return open_storage(study.search.database, prefix=f"{content_key(store.uri)}/{study.name}/")


def _worker_settings(study: Study, store: Store) -> WorkerSettings:
    device = "cuda" if study.resources.gpus else "cpu"
    return WorkerSettings(store_uri=store.uri, device=device, threads=study.resources.threads)


def _start_tracking(tracker: Tracker, study: Study, store: Store, settings: WorkerSettings) -> None:
    tracker.start(
        study.name,
        execution_id=uuid.uuid4().hex[:12],
        tags=describe_environment(device=settings.device, threads=settings.threads) | {"question": study.question},
        params={"seeds": str(list(study.seeds)), "trials": str(study.search.trials), "store": str(store)},
    )


def _test(study: Study, folder: StudyFolder, ledger: Ledger, executor: Executor, observer: Observer) -> None:
    confirmed = [record.run for record in ledger.records if record.phase == "confirm" and record.status == "finished"]
    if not confirmed:
        # Testing nothing would close the study for good, and its runs may fail for a reason that can be mended.
        observer.message("no run was confirmed, so the test split stays locked")
        return
    open_locked_test(folder, confirmed, executor, first_seed=study.seeds[0])


def _reuse(study: Study, store: Store, observer: Observer) -> None:
    write_results(study, store)
    try:
        write_reuse(study, store, load_tasks(study))
    except DataProblem as error:
        # A closed study is shown without its samples too; they are wanted for this alone.
        observer.message(f"reuse is not evaluated: {error}; `pare resume` tries again")


@contextmanager
def _timed(phase: str, done: _Execution) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        done.phase_seconds[phase] = time.monotonic() - began


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Inside, SIGTERM ends a study as Ctrl-C does. Ray sets a handler of its own, so this comes after it."""

    def interrupt(signum: int, frame: object) -> None:
        del signum, frame
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread, which alone may set handlers
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
