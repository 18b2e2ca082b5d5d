"""What a study will do and cost, told before anything trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from methods.registry import config_class
from orchestrator.errors import StudyInvalid
from orchestrator.execution import prerequisite_runs
from orchestrator.machine import machine_faults, num_cpus
from orchestrator.refusals import refusals
from orchestrator.runs import Run
from orchestrator.search.space import first_values
from orchestrator.spec import Cell, Study
from orchestrator.store import Store
from orchestrator.study_data import load_tasks

if TYPE_CHECKING:
    from methods.tasks import TaskData

_GRADE_SECONDS = 0.3
"""What a run costs beside its epochs: export, grading, writing."""
_FASTEST, _SLOWEST = 0.7, 1.8
"""A run's time against the probe: smaller networks and caches below it, penalties and busy neighbours above."""


@dataclass(frozen=True)
class PlannedCell:
    """What one task under one method will take."""

    task: str
    method: str
    trials: int
    runs: int
    """Trials plus confirmations on the other seeds, extra ones included, at most."""
    cached: int
    """Of these, known to be in the store already."""
    refused: str = ""
    """Why the method cannot work on the task; empty: it can, with its first configuration at least."""


@dataclass(frozen=True)
class PlannedPrerequisite:
    """A run that others need first."""

    method: str
    task: str
    seed: int
    cached: bool


@dataclass(frozen=True)
class Plan:
    """Runs, prerequisites, cache hits and an interval for the wall time of a study."""

    study: str
    cells: tuple[PlannedCell, ...]
    prerequisites: tuple[PlannedPrerequisite, ...]
    search_runs: int
    confirm_runs: int
    """At most; a front may have fewer members."""
    cache_hits: int
    workers: int
    seconds_low: float
    seconds_high: float
    closed: bool = False
    """The test split was opened: nothing is trained any more, only the views are made anew."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def make_plan(study: Study) -> Plan:
    """Foresee a study. Loads its data and trains a few batches per task to learn how fast this machine is.

    Cache hits are counted for what is certain: runs that the study's ledger holds, and of a fresh study the first
    trial of each cell, which is the same each time. What the sampler proposes later may hit the cache as well.

    Raises:
        StudyInvalid: It asks for what this machine does not have.
        DataProblem: A data set cannot be loaded.
        StoreProblem: The store cannot be read.
    """
    faults = machine_faults(study)
    if faults:
        raise StudyInvalid(faults)
    tasks = load_tasks(study)
    store = Store.look(study.store)
    ledger = store.study(study.name).records()
    refused = refusals(study, tasks)
    cells = []
    prerequisites: dict[str, PlannedPrerequisite] = {}
    first_runs = {
        cell.name: _first_run(cell, study.seeds[0], tasks[cell.task_name].fingerprint) for cell in study.cells
    }
    own = {run.key for cell in study.cells for run in _certain_runs(cell, first_runs[cell.name], study.seeds)}
    for cell in study.cells:
        recorded = [r for r in ledger if r.task_name == cell.task_name and r.method == cell.entry.label]
        first = first_runs[cell.name]
        # The dense network is the reference and gets no extra seeds.
        further = () if cell.entry.method == "dense" else study.further_seeds
        confirmations = study.search.most_confirmed(cell.num_trials) * (len(study.seeds) - 1 + len(further))
        cached = sum(r.status == "finished" for r in recorded if r.phase == "search" or r.seed != study.seeds[0])
        if not recorded:
            cached = int(store.read_outcome(first.key) is not None)
        cells.append(
            PlannedCell(
                cell.task_name,
                cell.entry.label,
                cell.num_trials,
                cell.num_trials + confirmations,
                cached,
                refused.get(cell.name, ""),
            )
        )
        for seed in (*study.seeds, *further):
            for needed in _all_prerequisites(first.replaced(seed=seed)):
                if needed.key not in own:
                    known = store.read_outcome(needed.key) is not None
                    prerequisites[needed.key] = PlannedPrerequisite(needed.method, cell.task_name, seed, known)
    workers = _num_workers(study)
    run_seconds = _run_seconds(study, tasks)
    seconds = sum((c.runs - c.cached) * run_seconds[c.task] for c in cells if not c.refused)
    seconds += sum(run_seconds[p.task] for p in prerequisites.values() if not p.cached)
    search_runs = sum(cell.trials for cell in cells)
    return Plan(
        study=study.name,
        cells=tuple(cells),
        prerequisites=tuple(prerequisites.values()),
        search_runs=search_runs,
        confirm_runs=sum(cell.runs for cell in cells) - search_runs,
        cache_hits=sum(cell.cached for cell in cells) + sum(p.cached for p in prerequisites.values()),
        workers=workers,
        seconds_low=_FASTEST * seconds / workers,
        seconds_high=_SLOWEST * seconds / workers,
        closed=store.study(study.name).read_test() is not None,
    )


def _first_run(cell: Cell, seed: int, fingerprint: str) -> Run:
    """What the search tries first: the paper's setting, within what the study fixes and searches."""
    kind = config_class(cell.entry.method)
    return Run(
        task_name=cell.task_name,
        task=cell.task,
        data_fingerprint=fingerprint,
        method=cell.entry.method,
        config=kind(**{**cell.entry.fixed, **first_values(cell.entry.space, kind)}).changed(),
        seed=seed,
    )


def _certain_runs(cell: Cell, first: Run, seeds: Sequence[int]) -> list[Run]:
    """Runs that the cell does whatever the search finds: its first trial, on every seed when it has no other."""
    return [first.replaced(seed=seed) for seed in (seeds if cell.num_trials == 1 else seeds[:1])]


def _all_prerequisites(run: Run) -> Iterator[Run]:
    for needed in prerequisite_runs(run).values():
        yield needed
        yield from _all_prerequisites(needed)


def _num_workers(study: Study) -> int:
    """Runs at a time. Of a cluster nothing is known before joining it, so this machine stands for it."""
    if study.executor == "inline":
        return 1
    fit = max(1, num_cpus() // study.resources.cpus_in_all)
    return min(fit, study.resources.workers or fit)


def _run_seconds(study: Study, tasks: Mapping[str, TaskData]) -> dict[str, float]:
    import torch

    from methods.tasks import build_task
    from methods.training.probe import seconds_per_epoch

    device = "cuda" if study.resources.gpus and torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(study.resources.threads)
    try:
        return {
            name: _GRADE_SECONDS
            + spec.epochs * seconds_per_epoch(build_task(spec, tasks[name], name=name, seed=0, device=device))
            for name, spec in study.tasks.items()
        }
    finally:
        torch.set_num_threads(threads)
