"""What the page says besides the comparison: every run however it ended, time, cost, and where results were made."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from methods.figures import Figure
from orchestrator.errors import StoreProblem
from orchestrator.runs import Failure, RunResult

if TYPE_CHECKING:
    from orchestrator.store import Store
    from orchestrator.store.study_folder import StudyFolder

Row = Mapping[str, Any]


@dataclass(frozen=True)
class RunLine:
    """One line of the ledger, with the figures of its headline network if it delivered one."""

    phase: str
    task: str
    method: str
    trial: int
    seed: int
    status: str
    reason: str
    run_key: str
    config: Mapping[str, Any]
    cached: bool
    device_seconds: float
    score: float | None
    """On validation."""
    mse: float | None
    """Likewise, of a regression."""
    ratio: float | None
    """Of the size that the study compares by."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SharedRun:
    """A run that others started from, trained once for all of them."""

    task: str
    method: str
    seed: int
    uses: int
    """Runs that started from it."""
    fit_seconds: float


@dataclass(frozen=True)
class Facts:
    """All of it."""

    store: str
    """As a user would give it to `--store`."""
    spec_text: str
    runs: tuple[RunLine, ...]
    stage_seconds: Mapping[str, float]
    """Stage -> seconds."""
    wall_clock: bool
    """Whether these passed on the clock; otherwise they are device time, summed over the runs of each phase."""
    environment: Mapping[str, tuple[str, ...]]
    """`git`, `torch`, `cpu`, ... -> its distinct values over all runs."""
    fingerprints: Mapping[str, tuple[str, ...]]
    """Task -> fingerprints of its data."""
    opened_at: str | None
    """When the test split was opened; None: it is locked."""
    failures: Mapping[str, tuple[Failure, ...]]
    """Run key -> all its failed attempts, for runs that failed for good."""
    figures: Mapping[str, tuple[Figure, ...]]
    """Run key -> what it recorded, for the runs that were asked for."""
    shared: tuple[SharedRun, ...] = ()
    """By task, method and seed."""
    methods: Mapping[str, str] = field(default_factory=dict)
    """Label in the study -> name of the method in the registry, of methods with a finished run."""


def gather_facts(
    store: Store, study_name: str, rows: Sequence[Row], *, measure: str, figures_of: Iterable[str] = ()
) -> Facts:
    """Read them from the store.

    Args:
        store: Where the study lies.
        study_name: Name of the study.
        rows: Of its results table.
        measure: The size that the study compares by.
        figures_of: Keys of the runs whose figures are wanted.

    Raises:
        StoreProblem: The store cannot be read.
    """
    folder = store.study(study_name)
    outcomes = _outcomes(store, {row["run_key"] for row in rows if row["status"] == "finished"})
    runs = _run_lines(rows, outcomes, measure)
    timings = _timings(folder)
    test = folder.read_test()
    return Facts(
        store=str(store),
        spec_text=folder.read_spec(),
        runs=runs,
        stage_seconds=timings if timings is not None else _device_seconds(runs),
        wall_clock=timings is not None,
        environment=_distinct(result.environment.items() for result in outcomes.values()),
        fingerprints=_distinct([(result.run.task_name, result.run.data_fingerprint)] for result in outcomes.values()),
        opened_at=test.get("opened_at") if test is not None else None,
        failures={line.run_key: tuple(store.failures(line.run_key)) for line in runs if line.status == "failed"},
        figures={key: store.read_figures(key) for key in figures_of},
        shared=_shared(store, outcomes),
        methods={row["method"]: outcomes[row["run_key"]].run.method for row in rows if row["run_key"] in outcomes},
    )


def _shared(store: Store, outcomes: Mapping[str, RunResult]) -> tuple[SharedRun, ...]:
    """The runs that the study's results started from; the study itself need not have asked for them."""
    uses = Counter(key for result in outcomes.values() for key in set(result.prerequisites.values()))
    found = {key: outcomes.get(key) or store.read_outcome(key) for key in sorted(uses)}
    runs = [
        SharedRun(
            result.run.task_name, result.run.method, result.run.seed, uses=uses[key], fit_seconds=result.fit_seconds
        )
        for key, result in found.items()
        if result is not None
    ]
    return tuple(sorted(runs, key=lambda one: (one.task, one.method, one.seed, one.uses)))


def _outcomes(store: Store, keys: Iterable[str]) -> dict[str, RunResult]:
    found = {key: store.read_outcome(key) for key in sorted(keys)}
    return {key: result for key, result in found.items() if result is not None}


def _run_lines(rows: Iterable[Row], outcomes: Mapping[str, RunResult], measure: str) -> tuple[RunLine, ...]:
    """One line per ledger record: its headline row, or its only row when it delivered nothing."""
    return tuple(
        RunLine(
            phase=row["phase"],
            task=row["task"],
            method=row["method"],
            trial=row["trial"],
            seed=row["seed"],
            status=row["status"],
            reason=row["reason"],
            run_key=row["run_key"],
            config=json.loads(row["config"]),
            cached=row["cached"],
            device_seconds=row["device_seconds"],
            score=row["val_score"],
            mse=row["val_mse"],
            ratio=row[f"{measure}_ratio"],
            notes=outcomes[row["run_key"]].notes if row["run_key"] in outcomes else (),
        )
        for row in rows
        if row["headline"] or row["variant"] is None
    )


def _timings(folder: StudyFolder) -> dict[str, float] | None:
    """Seconds on the clock by stage, if the coordinator has written them down."""
    data = folder.read_file("timings.json")
    if data is None:
        return None
    try:
        return {str(stage): float(seconds) for stage, seconds in json.loads(data).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreProblem(f"study '{folder.name}': timings.json is not readable ({error}); delete it") from error


def _device_seconds(runs: Iterable[RunLine]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for line in runs:
        seconds[line.phase] = seconds.get(line.phase, 0.0) + line.device_seconds
    return seconds


def _distinct(pairs: Iterable[Iterable[tuple[str, str]]]) -> dict[str, tuple[str, ...]]:
    """Name -> its distinct values, sorted; empty values left out."""
    found: dict[str, set[str]] = {}
    for one in pairs:
        for name, value in one:
            if value:
                found.setdefault(name, set()).add(value)
    return {name: tuple(sorted(values)) for name, values in found.items()}
