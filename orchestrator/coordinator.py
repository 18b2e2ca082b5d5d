"""The loop of a study: search -> confirm on every seed, some on more -> test once. Work is done elsewhere."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from methods.registry import config_class
from orchestrator.close_calls import close_calls
from orchestrator.executors.base import Executor
from orchestrator.ledger import Ledger
from orchestrator.placement import Ending, Job, Placement
from orchestrator.progress import CellProgress, Observer
from orchestrator.results import headline, search_point
from orchestrator.runs import GradedVariant, Phase, Record, Run, RunResult
from orchestrator.search import CellSearch, SearchStorage
from orchestrator.search.rungs import ParetoRungs
from orchestrator.spec import Cell, Study
from orchestrator.store import Store
from orchestrator.store.study_folder import StudyFolder
from orchestrator.tracking import Tracker
from orchestrator.work import Report

_WAIT_SECONDS = 0.5
_SHOW_SECONDS = 0.2
_OURS_SECONDS = 10.0
_RUNGS_SECONDS = 5.0
_RUNGS_FILE = "rungs.json"


class Coordinator:
    """Drives one study. Everything it decides from is in the store or the search's journal, so it can be replaced.

    Order of writing, which resuming relies on: the worker stores the result; we write the record, then tell the
    search. A trial that the search holds open is placed again on resuming and ends at once when its result is there.
    """

    def __init__(
        self,
        study: Study,
        *,
        store: Store,
        folder: StudyFolder,
        storage: SearchStorage,
        fingerprints: Mapping[str, str],
        executor: Executor,
        tracker: Tracker,
        observer: Observer,
        still_ours: Callable[[], None] = lambda: None,
        seconds_before: float = 0.0,
    ) -> None:
        """Open the searches of all cells, as an earlier execution left them.

        Args:
            study: Checked.
            store: Where workers put results.
            folder: The study in that store; the caller holds its lock.
            storage: Where the searches are kept.
            fingerprints: Task name -> fingerprint of its data.
            executor: Gets `self.judge` as its judge.
            tracker: Hears of every record.
            observer: Hears of progress.
            still_ours: Called now and then; raises StoreLocked when another coordinator has taken the study over.
            seconds_before: Wall time that earlier executions of the study took.
        """
        self.counts: Counter[str] = Counter()
        """Endings of this execution by status, and `cached` among them."""
        self.budget_spent = False
        self._study = study
        self._store = store
        self.ledger = Ledger(folder)
        self._folder = folder
        self._fingerprints = fingerprints
        self._tracker = tracker
        self._observer = observer
        self._still_ours = still_ours
        self._placement = Placement(
            store, executor, max_retries=study.resources.max_retries, on_end=self._record_and_tell
        )
        self._last_shown = 0.0
        self._last_ours = time.monotonic()
        self._last_rungs = time.monotonic()
        self._started = time.monotonic() - seconds_before
        self._best: dict[str, dict[float, float | None]] = {
            cell.name: dict.fromkeys(study.report.size_budgets) for cell in study.cells
        }
        self._executor = executor
        executor.judge = self.judge
        self._phase: Phase = "search"
        self._num_further: Counter[str] = Counter()
        """Cell -> runs with extra seeds."""
        self._searches = {cell.name: self._open_search(cell, storage) for cell in study.cells}
        self._rungs = self._reopen_rungs()
        self._dense_scores: dict[tuple[str, int], float] = {}
        for record in self.ledger.records:
            if record.run.method == "dense" and record.status == "finished":
                self._note_dense(record.task_name, store.read_outcome(record.run.key))

    def search(self) -> None:
        """Ask, run, tell, until every cell has had its trials or the budget is spent."""
        self._phase = "search"
        for cell in self._study.cells:
            for left in self._searches[cell.name].pending():
                self._take_up(cell, left.trial, left.config)
        open_cells = _dense_first(self._study.cells)
        while True:
            while open_cells and self._placement.has_room:
                # The cell with the fewest trials goes next, so all cells get their budget at the same pace.
                cell = min(open_cells, key=lambda c: self._searches[c.name].num_asked)
                search = self._searches[cell.name]
                if search.num_asked < cell.num_trials and not self._search_may_go_on():
                    break
                proposal = search.ask()
                if proposal is None:
                    open_cells.remove(cell)
                    continue
                self._place(cell, proposal.trial, self._study.seeds[0], "search", proposal.config)
            if self._placement.is_idle:
                break
            self._placement.wait(_WAIT_SECONDS)
            self._show_progress()
        self._show_progress(at_once=True)

    def confirm(self) -> None:
        """Run the front of every cell on every seed."""
        self._phase = "confirm"
        wanted = [
            (cell, trial, seed)
            for cell in self._study.cells
            for trial in self._to_confirm(cell)
            for seed in self._study.seeds
        ]
        configs = {
            cell.name: {t.trial: t.config for t in self._searches[cell.name].trials()} for cell in self._study.cells
        }
        # Seeds outermost, so that early results cover all cells.
        for cell, trial, seed in sorted(wanted, key=lambda item: self._study.seeds.index(item[2])):
            while not self._placement.has_idle_worker:
                self._placement.wait(_WAIT_SECONDS)
                self._show_progress()
            self._place(cell, trial, seed, "confirm", configs[cell.name][trial])
        self._finish_all()

    def add_seeds(self) -> None:
        """Run what validation cannot tell apart on further seeds, for as long as the budget's time lasts.

        Each further seed is run for all of them before the next one, so that a budget that ends leaves pairs.
        """
        self._phase = "confirm"
        close = close_calls(self._study, self.ledger.records, self._store)
        wanted = [(cell, trial, seed) for seed in self._study.further_seeds for cell, trial in close]
        self._num_further = Counter(cell.name for cell, _, _ in wanted)
        for number, (cell, trial, seed) in enumerate(wanted):
            while not self._placement.has_idle_worker:
                self._placement.wait(_WAIT_SECONDS)
                self._show_progress()
            record_id = Record.make_id("confirm", cell.task_name, cell.entry.label, trial, seed)
            if self.ledger.get(record_id) is None and not self._time_is_left(runs_after=0):
                self._observer.message(f"the budget lasted for {number} of {len(wanted)} runs with extra seeds")
                break
            config = self._searches[cell.name].trials()[trial].config
            self._place(cell, trial, seed, "confirm", config)
        self._finish_all()

    def judge(self, report: Report) -> bool:
        """Whether a running search trial should be stopped; called by the executor for every report."""
        job = self._placement.sole_job(report.key)
        if job is None or job.phase != "search" or job.cell.name not in self._rungs:
            return False
        rungs = self._rungs[job.cell.name]
        return rungs.observe(job.trial, report.progress, report.accuracy, report.size).stop

    def _finish_all(self) -> None:
        while not self._placement.is_idle:
            self._placement.wait(_WAIT_SECONDS)
            self._show_progress()
        self._show_progress(at_once=True)

    @property
    def prerequisite_seconds(self) -> float:
        """Device time spent on runs that no cell asked for but as prerequisites."""
        return self._placement.prerequisite_seconds

    def _open_search(self, cell: Cell, storage: SearchStorage) -> CellSearch:
        settings = self._study.search
        return CellSearch.open(
            storage=storage,
            name=cell.name,
            space=cell.entry.space,
            config_class=config_class(cell.entry.method),
            fixed=cell.entry.fixed,
            num_trials=cell.num_trials,
            seed=settings.seed,
            sampler=settings.sampler,
        )

    def _reopen_rungs(self) -> dict[str, ParetoRungs]:
        """Early stopping of every cell, as an earlier execution left it. Cells with one trial have none."""
        settings = self._study.search.early_stopping
        if settings is None:
            return {}
        stored = self._folder.read_file(_RUNGS_FILE)
        states: dict[str, Any] = json.loads(stored) if stored else {}
        return {
            cell.name: ParetoRungs(
                settings.rungs,
                margin=settings.margin,
                warmup_trials=settings.warmup_trials,
                state=states.get(cell.name),
            )
            for cell in self._study.cells
            if cell.num_trials > 1
        }

    def keep_rungs(self) -> None:
        """Write down what early stopping has seen, for a later execution."""
        self._last_rungs = time.monotonic()
        if self._rungs:
            states = {name: rungs.state() for name, rungs in self._rungs.items()}
            self._folder.write_file(_RUNGS_FILE, json.dumps(states).encode())

    def _place(self, cell: Cell, trial: int, seed: int, phase: Phase, config: Mapping[str, Any]) -> None:
        run = Run(
            task_name=cell.task_name,
            task=cell.task,
            data_fingerprint=self._fingerprints[cell.task_name],
            method=cell.entry.method,
            config=config_class(cell.entry.method)(**config).changed(),
            seed=seed,
        )
        self._placement.start(Job(cell, trial, seed, phase, run))

    def _take_up(self, cell: Cell, trial: int, config: Mapping[str, Any]) -> None:
        """Go on with a trial that an earlier execution asked for and never told; what it recorded stands."""
        record_id = Record.make_id("search", cell.task_name, cell.entry.label, trial, self._study.seeds[0])
        known = self.ledger.get(record_id)
        if known is not None and known.status != "finished":
            self._searches[cell.name].tell_failed(trial, known.reason)
            return
        self._place(cell, trial, self._study.seeds[0], "search", config)

    def _record_and_tell(self, job: Job, ending: Ending) -> None:
        record = Record(
            study=self._study.name,
            task_name=job.cell.task_name,
            method=job.cell.entry.label,
            trial=job.trial,
            seed=job.seed,
            phase=job.phase,
            run=job.run,
            status=ending.status,
            cached=ending.cached,
            reason=ending.reason,
            progress=ending.progress,
            device_seconds=ending.device_seconds,
        )
        record = self.ledger.add(record)
        self.counts[ending.status] += 1
        self.counts["cached"] += ending.cached
        if ending.result is not None:
            self._note_best(job, ending.result)
        if job.phase == "search":
            self._tell(job, ending)
        self._tracker.record(record, ending.result)

    def _tell(self, job: Job, ending: Ending) -> None:
        search = self._searches[job.cell.name]
        if ending.result is not None:
            best = self._headline(job, ending.result)
            score, size = search_point(ending.result, best, self._study.search.objective)
            search.tell(job.trial, score=score, size=size)
        elif ending.status == "stopped_early" and ending.accuracy is not None and ending.size is not None:
            search.tell_stopped(job.trial, score=ending.accuracy, size=ending.size, progress=ending.progress)
            # Not each time: what is written grows with the study. A kill in between costs comparisons, no result.
            if time.monotonic() - self._last_rungs >= _RUNGS_SECONDS:
                self.keep_rungs()
        else:
            search.tell_failed(job.trial, ending.reason)

    def _headline(self, job: Job, result: RunResult) -> GradedVariant:
        if job.run.method == "dense":
            self._note_dense(job.cell.task_name, result)
        own_best = max(variant.score for variant in result.variants)
        return headline(
            result.variants,
            dense_score=self._dense_scores.get((job.cell.task_name, job.seed), own_best),
            tolerance=self._study.report.tolerance,
            measure=self._study.search.objective,
        )

    def _note_dense(self, task_name: str, result: RunResult | None) -> None:
        if result is not None:
            place = (task_name, result.run.seed)
            found = [variant.score for variant in result.variants]
            self._dense_scores[place] = max([*found, self._dense_scores.get(place, float("-inf"))])

    def _note_best(self, job: Job, result: RunResult) -> None:
        best = self._best[job.cell.name]
        for variant in result.variants:
            if variant.kind == "module":
                continue
            size = variant.ratio(self._study.report.measure)
            for budget, score in best.items():
                if size <= budget and (score is None or variant.score > score):
                    best[budget] = variant.score

    def _to_confirm(self, cell: Cell) -> list[int]:
        """Trials of the cell's front, spread over sizes when there are more than `confirm`; or all that finished."""
        count = self._study.search.confirm
        if count == "all":
            return [one.trial for one in self._searches[cell.name].trials() if one.status == "finished"]
        front = self._searches[cell.name].front()
        if len(front) <= count:
            return front
        if count == 1:
            return front[-1:]
        return [front[round(i * (len(front) - 1) / (count - 1))] for i in range(count)]

    def _search_may_go_on(self) -> bool:
        """False while the rest of a budget seems needed for confirmation, or once its trials are used up."""
        budget = self._study.budget
        spent = budget.trials is not None and sum(s.num_asked for s in self._searches.values()) >= budget.trials
        to_confirm = sum(
            self._study.search.most_confirmed(cell.num_trials) * (len(self._study.seeds) - 1)
            for cell in self._study.cells
        )
        # Judged anew each time: the first run of a worker is slow, and its time must not end a search for good.
        self.budget_spent = spent or not self._time_is_left(runs_after=to_confirm)
        return not self.budget_spent

    def _time_is_left(self, *, runs_after: int) -> bool:
        """Whether the budget's time is enough for a further run and so many after it, as long as runs were so far."""
        budget = self._study.budget
        seconds = self.ledger.mean_run_seconds
        spent = False
        if budget.wall_minutes is not None:
            elapsed = time.monotonic() - self._started
            spent |= elapsed + seconds + seconds * runs_after / self._executor.slots >= budget.wall_minutes * 60
        if budget.device_hours is not None:
            paid = self.ledger.device_seconds + self.prerequisite_seconds
            under_way = seconds * len(self._placement.jobs())
            spent |= paid + under_way + seconds + seconds * runs_after >= budget.device_hours * 3600
        return not spent

    def _show_progress(self, *, at_once: bool = False) -> None:
        if not at_once and time.monotonic() - self._last_shown < _SHOW_SECONDS:
            return
        self._last_shown = time.monotonic()
        if self._last_shown - self._last_ours >= _OURS_SECONDS:
            self._last_ours = self._last_shown
            self._still_ours()
        running = Counter(job.cell.name for job in self._placement.jobs())
        remaining = 0
        for cell in self._study.cells:
            counts = self.ledger.counts(self._phase, cell.name)
            to_confirm = len(self._to_confirm(cell)) * len(self._study.seeds) + self._num_further[cell.name]
            total = cell.num_trials if self._phase == "search" else to_confirm
            remaining += max(0, total - counts.total())
            self._observer.cell_progress(
                CellProgress(
                    task=cell.task_name,
                    method=cell.entry.label,
                    done=counts.total(),
                    total=total,
                    stopped_early=counts["stopped_early"],
                    failed=counts["failed"],
                    running=running[cell.name],
                    best=dict(self._best[cell.name]),
                )
            )
        seconds = self.ledger.mean_run_seconds
        self._observer.seconds_left(remaining * seconds / self._executor.slots if seconds else None)


def _dense_first(cells: Sequence[Cell]) -> list[Cell]:
    """The dense network is what headlines are measured against, so it goes before the others."""
    return sorted(cells, key=lambda cell: cell.entry.method != "dense")
