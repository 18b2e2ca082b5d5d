"""What a study says: per task the front of each method, accuracy at equal size, and which methods differ.

Two rules keep it honest. Whatever is chosen is chosen by validation means over all seeds, and the figures shown of it
are those of the test split, once that is open. And only configurations that were confirmed with every seed of the study
count. A `module` variant serves some classes only, so it takes no part.

`compare` reads the store; the rest works on rows of the results table and knows no store.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from orchestrator.errors import StoreProblem, UnknownRecord
from orchestrator.fronts import hypervolume, pareto_front
from orchestrator.results import SCHEMA, SIZE_MEASURES
from orchestrator.spec import StudySettings
from orchestrator.statistics import Estimate, estimate, holm, paired_p_value

if TYPE_CHECKING:
    from orchestrator.store import Store

MINIMUM_EFFECT = 0.005
"""Differences of score smaller than this count as none, however certain they are."""
SIGNIFICANCE = 0.05

VerdictWord = Literal["better", "worse", "not distinguishable"]
Split = Literal["test", "validation"]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Terms:
    """What a comparison depends on besides the results."""

    seeds: tuple[int, ...]
    measure: str
    """The size that counts, a field of `Sizes`."""
    tolerance: float
    """Score below dense that is accepted."""
    size_budgets: tuple[float, ...]
    """Shares of the dense network's size, ascending."""
    dense_labels: tuple[str, ...] = ("dense",)
    """Methods of the study that are the uncompressed network: the reference, no competitor."""


@dataclass(frozen=True)
class Configuration:
    """One network of one configuration, trained with every seed."""

    method: str
    trial: int
    variant: str
    config: Mapping[str, Any]
    """Fields that differ from the method's defaults."""
    settings: Mapping[str, Any]
    validation: Estimate
    test: Estimate | None
    """None until the test split is opened."""
    sizes: Mapping[str, float]
    """Measure -> mean over seeds."""
    ratios: Mapping[str, Estimate]
    """Measure -> share of the dense network's size."""
    latency_ms: Mapping[str, float]
    """Batch size ("1", "256") -> median milliseconds, mean over the seeds that were timed (the first may suffice)."""
    run_keys: tuple[str, ...]
    """In the order of the seeds."""
    on_front: bool = False
    """Whether no other configuration of its method beats its means on validation."""
    validation_mse: Estimate | None = None
    """Mean squared error in the square of the target's unit; None for classification."""
    test_mse: Estimate | None = None
    """Likewise; None also until the test split is opened."""

    def score(self, split: Split) -> Estimate:
        """Its score on one split; validation while there is none on test."""
        return self.test if split == "test" and self.test is not None else self.validation

    def mse(self, split: Split) -> Estimate | None:
        """Its squared error on the split that `score` speaks of; None for classification."""
        return self.test_mse if split == "test" and self.test is not None else self.validation_mse


@dataclass(frozen=True)
class Trial:
    """One network of one search run: a single seed, validation only."""

    method: str
    trial: int
    variant: str
    run_key: str
    score: float
    ratio: float


@dataclass(frozen=True)
class MethodSummary:
    """What one method reaches on one task."""

    method: str
    hypervolume: Estimate | None
    """Of its front's scores with each seed; None when no configuration was confirmed."""
    at_budget: Mapping[float, Configuration | None]
    """Size budget -> most accurate configuration that fits, None when none does."""
    within_tolerance: Configuration | None
    """Smallest configuration within tolerance of dense; None when there is none, or no dense result."""


@dataclass(frozen=True)
class Verdict:
    """Whether two methods differ in one respect; `first` comes before `second` in the alphabet."""

    respect: str
    """`hypervolume` or `score at <budget>`."""
    budget: float | None
    """The size budget; None for the hypervolume."""
    first: str
    second: str
    difference: Estimate
    """First minus second, paired by seed."""
    p_value: float | None
    """Corrected after Holm for all pairs of methods in this respect; None for a single seed."""
    word: VerdictWord
    """What the first is, compared with the second."""


@dataclass(frozen=True)
class TaskComparison:
    """Everything there is to say about one task."""

    task: str
    metric: str
    """`accuracy` or `r2`."""
    split: Split
    """Where all figures come from: `test` once every confirmed configuration has its test score, never a mixture."""
    dense: Configuration | None
    configurations: tuple[Configuration, ...]
    """All confirmed ones, dense included; by method, then smallest first."""
    trials: tuple[Trial, ...]
    """The networks of the search."""
    methods: tuple[MethodSummary, ...]
    """The competitors in alphabetical order."""
    verdicts: tuple[Verdict, ...]
    incomplete: tuple[str, ...]
    """Configurations that were to be confirmed but miss a seed, in words."""


@dataclass(frozen=True)
class Comparison:
    """The whole study."""

    study: str
    question: str
    terms: Terms
    tasks: tuple[TaskComparison, ...]


def compare(store: Store, study_name: str) -> Comparison:
    """Compare the methods of a study by its `results.parquet`.

    Raises:
        UnknownRecord: There is no such study, or it has no results yet.
        StoreProblem: The store cannot be read, or the study file in it cannot be understood.
    """
    folder = store.study(study_name)
    question, terms, tasks = _read_terms(folder.read_spec(), study_name)
    table = read_results(store, study_name)
    found = compare_tasks(table.to_pylist(), terms)
    in_order = sorted(found, key=lambda one: tasks.index(one.task) if one.task in tasks else len(tasks))
    return Comparison(study_name, question, terms, tuple(in_order))


def read_results(store: Store, study_name: str) -> pa.Table:
    """The study's results table.

    Raises:
        UnknownRecord: It has not been written yet.
        StoreProblem: It is there but cannot be read.
    """
    data = store.study(study_name).read_file("results.parquet")
    if data is None:
        raise UnknownRecord(f"{store}: study '{study_name}' has no results yet; run it with `pare run`.")
    try:
        return pq.read_table(io.BytesIO(data), schema=SCHEMA)
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreProblem(f"{store}: results.parquet of study '{study_name}' is not readable ({error})") from error


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
    methods = tuple(
        _summary(method, [one for one in configurations if one.method == method], dense, terms, split)
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
        verdicts=_verdicts(methods, terms, split),
        incomplete=_incomplete(rows, terms.seeds),
    )


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
    rows = [by_seed[seed] for seed in terms.seeds]
    tested = all(row["test_score"] is not None for row in rows)
    timed = {batch: [row[f"latency_ms_{batch}"] for row in rows] for batch in ("1", "256")}
    latency = {batch: [time for time in times if time is not None] for batch, times in timed.items()}
    return Configuration(
        method=rows[0]["method"],
        trial=min(row["trial"] for row in rows),
        variant=rows[0]["variant"],
        config=json.loads(rows[0]["config"]),
        settings=json.loads(rows[0]["settings"]),
        validation=estimate([row["val_score"] for row in rows], highest=1.0),
        test=estimate([row["test_score"] for row in rows], highest=1.0) if tested else None,
        sizes={measure: sum(row[measure] for row in rows) / len(rows) for measure in SIZE_MEASURES},
        ratios={measure: estimate([row[f"{measure}_ratio"] for row in rows]) for measure in SIZE_MEASURES},
        latency_ms={batch: sum(times) / len(times) for batch, times in latency.items() if times},
        run_keys=tuple(row["run_key"] for row in rows),
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

    within = None
    if dense is not None:
        floor = dense.validation.mean - terms.tolerance
        reached = [one for one in own if one.validation.mean >= floor]
        within = min(reached, key=lambda one: (size(one), -one.validation.mean), default=None)
    return MethodSummary(
        method=method,
        hypervolume=_hypervolume_by_seed([one for one in own if one.on_front], terms, split),
        at_budget={budget: best(one for one in own if size(one) <= budget) for budget in terms.size_budgets},
        within_tolerance=within,
    )


def _hypervolume_by_seed(front: Sequence[Configuration], terms: Terms, split: Split) -> Estimate | None:
    """The front is fixed by validation means; each seed then has the scores and sizes of its own networks."""
    if not front:
        return None
    return estimate(
        [
            hypervolume([(one.score(split).values[i], one.ratios[terms.measure].values[i]) for one in front])
            for i in range(len(terms.seeds))
        ]
    )


def _verdicts(methods: Sequence[MethodSummary], terms: Terms, split: Split) -> tuple[Verdict, ...]:
    verdicts: list[Verdict] = []
    for budget in (None, *terms.size_budgets):
        values = {one.method: _values(one, budget, split) for one in methods}
        verdicts += _judge(budget, {method: found for method, found in values.items() if found is not None})
    return tuple(verdicts)


def _values(summary: MethodSummary, budget: float | None, split: Split) -> tuple[float, ...] | None:
    """One value per seed in this respect; None where the method has nothing to show."""
    if budget is None:
        return summary.hypervolume.values if summary.hypervolume else None
    chosen = summary.at_budget[budget]
    return chosen.score(split).values if chosen else None


def _judge(budget: float | None, values: Mapping[str, tuple[float, ...]]) -> list[Verdict]:
    """Every pair of methods in one respect: one family of tests, corrected together."""
    pairs = list(combinations(sorted(values), 2))
    differences = [
        estimate([a - b for a, b in zip(values[first], values[second], strict=True)]) for first, second in pairs
    ]
    raw = [paired_p_value(difference) for difference in differences]
    known = [p for p in raw if p is not None]
    p_values: Sequence[float | None] = holm(known) if len(known) == len(raw) else raw
    respect = "hypervolume" if budget is None else f"score at {budget:g}"
    return [
        Verdict(respect, budget, first, second, difference, p_value, _word(difference, p_value))
        for (first, second), difference, p_value in zip(pairs, differences, p_values, strict=True)
    ]


def _word(difference: Estimate, p_value: float | None) -> VerdictWord:
    if p_value is None or p_value >= SIGNIFICANCE or abs(difference.mean) < MINIMUM_EFFECT:
        return "not distinguishable"
    return "better" if difference.mean > 0 else "worse"


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


def _read_terms(spec_text: str, study_name: str) -> tuple[str, Terms, list[str]]:
    """Question, terms and task names of a study file.

    The file is not checked whole: a report must open where the study's data and environment are absent.
    """
    try:
        document = yaml.safe_load(spec_text)
        wanted = ("study", "question", "seeds", "report")
        settings = StudySettings.model_validate({key: document[key] for key in wanted if key in document})
        methods = {str(label): entry or {} for label, entry in document["methods"].items()}
        tasks = [str(name) for name in document["tasks"]]
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreProblem(f"study '{study_name}': study.yaml in the store is not readable ({error})") from error
    terms = Terms(
        seeds=settings.seeds,
        measure=settings.report.measure,
        tolerance=settings.report.tolerance,
        size_budgets=settings.report.size_budgets,
        dense_labels=tuple(label for label, entry in methods.items() if entry.get("method", label) == "dense"),
    )
    return settings.question, terms, tasks
