"""Comparing methods on a task, from rows of the results table: pure functions that know no store."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from orchestrator.comparison.effort import effort_of
from orchestrator.comparison.model import Configuration, MethodSummary, Row, Split, TaskComparison, Terms, Trial
from orchestrator.comparison.smallest import size_range
from orchestrator.comparison.verdicts import verdicts_of
from orchestrator.fronts import hypervolume, pareto_front
from orchestrator.results import SIZE_MEASURES
from orchestrator.statistics import Estimate, estimate
from orchestrator.tolerance import within


def compare_tasks(rows: Iterable[Row], terms: Terms) -> tuple[TaskComparison, ...]:
    """Compare the methods on each task, tasks in alphabetical order.

    Args:
        rows: Rows of the results table, in any order.
        terms: What to compare by.
    """
    by_task: dict[str, list[Row]] = {}
    for row in rows:
        by_task.setdefault(row["task"], []).append(row)
    return tuple(_compare_task(task, by_task[task], terms) for task in sorted(by_task))


def _compare_task(task: str, rows: Sequence[Row], terms: Terms) -> TaskComparison:
    delivered = [row for row in rows if row["variant"] is not None and row["kind"] != "module"]
    groups = _groups(delivered)
    confirmed = [_configuration(seeds, terms) for seeds in groups.values() if _is_confirmed(seeds, terms.seeds)]
    configurations = _mark_fronts(confirmed, terms.measure)
    split: Split = "test" if confirmed and all(one.test for one in confirmed) else "validation"
    dense = max(
        (one for one in configurations if one.method in terms.dense_labels),
        key=lambda one: (one.validation.mean, -one.trial),
        default=None,
    )
    competitors = sorted({row["method"] for row in rows} - set(terms.dense_labels))
    effort = effort_of(rows)
    methods = tuple(
        replace(
            _summary(method, [one for one in configurations if one.method == method], dense, terms, split),
            effort=effort.get(method),
            no_answer=_no_answer([row for row in rows if row["method"] == method]),
        )
        for method in competitors
    )
    return TaskComparison(
        task=task,
        metric=next((row["metric"] for row in delivered), "accuracy"),
        split=split,
        dense=dense,
        configurations=configurations,
        trials=_trials(delivered, terms.measure),
        methods=methods,
        verdicts=verdicts_of(methods, terms, split),
        incomplete=_incomplete(rows, terms.seeds),
        extra_runs=_extra_runs(rows, terms.seeds),
    )


def _extra_runs(rows: Iterable[Row], seeds: Collection[int]) -> dict[int, int]:
    runs = {
        (row["seed"], row["run_key"])
        for row in rows
        if row["phase"] == "confirm" and row["status"] == "finished" and row["seed"] not in seeds
    }
    spent = Counter(seed for seed, _ in runs)
    return dict(sorted(spent.items()))


def _groups(rows: Iterable[Row]) -> dict[tuple[str, str, str], dict[int, Row]]:
    """(Method, configuration, variant) -> seed -> its row; a search run counts like a confirming one."""
    groups: dict[tuple[str, str, str], dict[int, Row]] = {}
    for row in sorted(rows, key=lambda row: (row["phase"] == "search", row["trial"])):
        groups.setdefault((row["method"], row["config"], row["variant"]), {}).setdefault(row["seed"], row)
    return dict(sorted(groups.items()))


def _is_confirmed(by_seed: Mapping[int, Row], seeds: Collection[int]) -> bool:
    """Whether the study chose to confirm it and it finished with every seed."""
    return set(seeds) <= set(by_seed) and any(row["phase"] == "confirm" for row in by_seed.values())


def _configuration(by_seed: Mapping[int, Row], terms: Terms) -> Configuration:
    seeds = (*terms.seeds, *sorted(set(by_seed) - set(terms.seeds)))
    rows = [by_seed[seed] for seed in seeds]
    tested = all(row["test_score"] is not None for row in rows)
    timed = {batch: [row[f"latency_ms_{batch}"] for row in rows] for batch in ("1", "256")}
    lowest = 0.0 if rows[0]["metric"] == "accuracy" else -math.inf
    latency = {batch: [time for time in times if time is not None] for batch, times in timed.items()}
    return Configuration(
        method=rows[0]["method"],
        trial=min(row["trial"] for row in rows),
        variant=rows[0]["variant"],
        config=json.loads(rows[0]["config"]),
        settings=json.loads(rows[0]["settings"]),
        validation=estimate([row["val_score"] for row in rows], lowest=lowest, highest=1.0),
        test=estimate([row["test_score"] for row in rows], lowest=lowest, highest=1.0) if tested else None,
        sizes={measure: sum(row[measure] for row in rows) / len(rows) for measure in SIZE_MEASURES},
        ratios={measure: estimate([row[f"{measure}_ratio"] for row in rows]) for measure in SIZE_MEASURES},
        latency_ms={batch: sum(times) / len(times) for batch, times in latency.items() if times},
        run_keys=tuple(row["run_key"] for row in rows),
        seeds=seeds,
        validation_mse=_if_all_known([row["val_mse"] for row in rows]),
        test_mse=_if_all_known([row["test_mse"] for row in rows]),
    )


def _if_all_known(values: Sequence[float | None]) -> Estimate | None:
    known = [value for value in values if value is not None]
    return estimate(known) if len(known) == len(values) else None


def _mark_fronts(configurations: Sequence[Configuration], measure: str) -> tuple[Configuration, ...]:
    """All of them by method, smallest first, with the members of each method's front marked."""
    ordered = sorted(configurations, key=lambda one: (one.method, one.ratios[measure].mean, one.trial, one.variant))
    marked: list[Configuration] = []
    for method in sorted({one.method for one in ordered}):
        own = [one for one in ordered if one.method == method]
        front = set(pareto_front([(one.validation.mean, one.ratios[measure].mean) for one in own]))
        marked += [replace(one, on_front=i in front) for i, one in enumerate(own)]
    return tuple(marked)


def _summary(
    method: str, own: Sequence[Configuration], dense: Configuration | None, terms: Terms, split: Split
) -> MethodSummary:
    def size(one: Configuration) -> float:
        return one.ratios[terms.measure].mean

    def best(fitting: Iterable[Configuration]) -> Configuration | None:
        return max(fitting, key=lambda one: (one.validation.mean, -size(one)), default=None)

    smallest = None
    if dense is not None:
        reached = [one for one in own if within(one.validation.mean, dense.validation.mean, terms.tolerance)]
        smallest = min(reached, key=lambda one: (size(one), -one.validation.mean), default=None)
    return MethodSummary(
        method=method,
        hypervolume=_hypervolume_by_seed([one for one in own if one.on_front], terms, split),
        at_budget={budget: best(one for one in own if size(one) <= budget) for budget in terms.size_budgets},
        within_tolerance=smallest,
        smallest=size_range(own, dense, terms),
        gap=_gap(own, terms) if split == "test" else None,
    )


def _gap(own: Sequence[Configuration], terms: Terms) -> Estimate | None:
    """Validation minus test with each seed of the study, the mean over configurations."""
    n = len(terms.seeds)
    gaps = [
        [validation - test for validation, test in zip(one.validation.values[:n], one.test.values[:n], strict=True)]
        for one in own
        if one.test is not None
    ]
    return estimate([sum(seed) / len(gaps) for seed in zip(*gaps, strict=True)]) if gaps else None


def _hypervolume_by_seed(front: Sequence[Configuration], terms: Terms, split: Split) -> Estimate | None:
    """The front is fixed by validation means; each seed of the study then has scores and sizes of its own networks."""
    if not front:
        return None
    return estimate(
        [
            hypervolume([(one.score(split).values[i], one.ratios[terms.measure].values[i]) for one in front])
            for i in range(len(terms.seeds))
        ]
    )


def _no_answer(rows: Sequence[Row]) -> str:
    """Why a method without a finished run has none: the reason of the first that failed."""
    if any(row["status"] == "finished" for row in rows):
        return ""
    return next((row["reason"] for row in rows if row["status"] == "failed"), "every run was stopped early")


def _trials(rows: Iterable[Row], measure: str) -> tuple[Trial, ...]:
    return tuple(
        Trial(row["method"], row["trial"], row["variant"], row["run_key"], row["val_score"], row[f"{measure}_ratio"])
        for row in rows
        if row["phase"] == "search"
    )


def _incomplete(rows: Iterable[Row], seeds: Collection[int]) -> tuple[str, ...]:
    """Configurations with a confirming run but without a finished run for every seed."""
    asked: dict[tuple[str, str], int] = {}
    finished: dict[tuple[str, str], set[int]] = {}
    for row in rows:
        place = (row["method"], row["config"])
        if row["phase"] == "confirm":
            asked[place] = min(row["trial"], asked.get(place, row["trial"]))
        if row["status"] == "finished":
            finished.setdefault(place, set()).add(row["seed"])
    missing = {place: sorted(set(seeds) - finished.get(place, set())) for place in asked}
    return tuple(
        f"{place[0]} #{asked[place]}: no result for seed {', '.join(map(str, lacking))}"
        for place, lacking in sorted(missing.items())
        if lacking
    )
