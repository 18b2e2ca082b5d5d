"""One night: the study trained anew in a store of its own, measured, judged against the nights before, kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.comparison import Comparison, Configuration, TaskComparison, compare
from orchestrator.deployment import deployed
from orchestrator.environment import describe_environment
from orchestrator.errors import PareError, StoreLocked
from orchestrator.nightly.history import History
from orchestrator.nightly.judging import MINIMUM_EFFECT, judge, overall
from orchestrator.nightly.model import ACCEPTED, Figure, Metric, Night
from orchestrator.progress import Observer
from orchestrator.spec import Study
from orchestrator.spec.nightly import NightlySettings
from orchestrator.store import Store
from orchestrator.study_run import run_study
from orchestrator.tracking_server import DATABASE

_SAME_MACHINE = ("cpu", "device", "torch")
"""Where these differ from the nights before, a reader must know: times, and last digits, are another machine's."""


def run_night(study: Study, *, date: str | None = None, observer: Observer | None = None) -> Night:
    """Run the nightly study, judge it, keep the night. A night that was interrupted goes on under its date.

    Args:
        study: Its store holds the history; what it trains goes into a store of the night within that.
        date: YYYY-MM-DD; None: today, UTC.
        observer: Hears of progress.

    Raises:
        StoreProblem: The history cannot be read or written, or another `pare nightly` works on this date.
        StudyInvalid: The study asks for what this machine does not have.
    """
    settings = study.nightly or NightlySettings()
    date = date or datetime.now(UTC).strftime("%Y-%m-%d")
    store = Store.open(study.store)
    history = History(store, study.name)
    before = history.accepted_before(date, most=settings.nights)
    place = history.store_of(date)
    started, began = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    problem = ""
    try:
        summary = run_study(study.with_changes(store=place, tracking=_tracking(study)), observer=observer)
        if summary.status == "interrupted":
            raise KeyboardInterrupt
        figures = tuple(_figures(study, Store.open(place)))
    except StoreLocked:
        raise
    except PareError as error:
        # Tonight's answer: whatever was measured before is broken.
        problem, figures = " ".join(str(error).split()), ()
    effects: dict[Metric, float] = {**MINIMUM_EFFECT, **(settings.minimum_effect)}
    judgements = tuple(judge(figures, before, minimum_effect=effects))
    verdict = "broken" if problem else overall(judgements)
    device = "cuda" if study.resources.gpus else "cpu"
    environment = describe_environment(device=device, threads=study.resources.threads)
    night = Night(
        study=study.name,
        date=date,
        started=started,
        seconds=round(time.monotonic() - began, 1),
        environment=environment,
        figures=figures,
        judgements=judgements,
        verdict=verdict,
        accepted=verdict in ACCEPTED,
        problem=problem,
        notes=tuple(_notes(environment, before, settings)),
    )
    history.put(night)
    return night


def _tracking(study: Study) -> str:
    """One database for all nights, not one in the store of each."""
    if study.tracking == "sqlite" and "://" not in study.store:
        return f"sqlite:///{Path(study.store).expanduser().absolute() / DATABASE}"
    return study.tracking


def _figures(study: Study, store: Store) -> Iterator[Figure]:
    comparison = compare(store, study.name)
    found = {task.task: task for task in comparison.tasks}
    for cell in study.cells:
        task = found.get(cell.task_name)
        one = _configuration(task, cell.entry.label, comparison) if task else None
        if one is None:
            yield from _missing(cell.task_name, cell.entry.label, task)
        else:
            yield from _measured(cell.task_name, one, comparison, store)


def _configuration(task: TaskComparison, label: str, comparison: Comparison) -> Configuration | None:
    if label in comparison.terms.dense_labels:
        own = [one for one in task.configurations if one.method == label]
        return max(own, key=lambda one: (one.validation.mean, -one.trial), default=None)
    chosen = {one.configuration.method: one.configuration for one in deployed(task, comparison.terms)}
    return chosen.get(label)


def _measured(task: str, one: Configuration, comparison: Comparison, store: Store) -> Iterator[Figure]:
    seeds = comparison.terms.seeds
    results = [store.finished_run(key) for key in one.run_keys[: len(seeds)]]

    def figure(metric: Metric, values: dict[int, float]) -> Figure:
        return Figure(task=task, method=one.method, metric=metric, values=values)

    yield figure("accuracy", dict(zip(seeds, one.validation.values, strict=False)))
    yield figure("size", dict(zip(seeds, one.ratios[comparison.terms.measure].values, strict=False)))
    yield figure("seconds", {seed: result.fit_seconds for seed, result in zip(seeds, results, strict=True)})
    if "1" in one.latency_ms:
        # Timed for the first seed alone: it hangs on the architecture and hardly on the weights.
        yield figure("latency", {seeds[0]: one.latency_ms["1"]})


def _missing(task: str, label: str, found: TaskComparison | None) -> Iterator[Figure]:
    summary = next((one for one in found.methods if one.method == label), None) if found else None
    incomplete = [line for line in (found.incomplete if found else ()) if line.startswith(f"{label} ")]
    reason = (summary.no_answer if summary else "") or "; ".join(incomplete) or "no confirmed run"
    yield Figure(task=task, method=label, metric="accuracy", values={}, reason=reason)


def _notes(environment: dict[str, str], before: list[Night], settings: NightlySettings) -> Iterator[str]:
    if not before:
        yield "the first night: nothing to compare with, and what later nights are compared with"
        return
    if len(before) < settings.nights:
        yield f"{len(before)} of {settings.nights} nights to compare with"
    last = before[-1].environment
    differing = [name for name in _SAME_MACHINE if last.get(name) != environment.get(name)]
    if differing:
        said = ", ".join(f"{name} {last.get(name)} -> {environment.get(name)}" for name in differing)
        yield f"another machine or version than on {before[-1].date} ({said}): times may differ for that alone"
