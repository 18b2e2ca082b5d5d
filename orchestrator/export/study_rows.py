"""What the studies of a store say of one run: which of its networks is the headline, how it did on test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.comparison import read_results
from orchestrator.errors import ExportRefused, StoreProblem, UnknownRecord
from orchestrator.results import headline
from orchestrator.runs import GradedVariant, RunResult
from orchestrator.spec import ReportSettings
from orchestrator.store import Store

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Name of a study -> the run's rows in its results table."""


@dataclass(frozen=True)
class Choice:
    """A network of a run, and by what it was chosen."""

    variant: GradedVariant
    reason: str


def rows_of_run(store: Store, key: str) -> Rows:
    """The run's rows in the results tables of all studies that have any."""
    found = {}
    for name in store.study_names():
        try:
            table = read_results(store, name)
        except StoreProblem:
            continue  # a table that is not there yet, or damaged: a view that the next `pare resume` makes anew
        rows = [row for row in table.to_pylist() if row["run_key"] == key and row["variant"] is not None]
        if rows:
            found[name] = rows
    return found


def choose_variant(result: RunResult, rows: Rows, wanted: str | None) -> Choice:
    """The network with the label `wanted`; without one, the run's headline.

    Raises:
        UnknownRecord: The run has no network of that label.
        ExportRefused: Two studies have different headlines.
    """
    by_label = {variant.label: variant for variant in result.variants}
    if wanted is not None:
        if wanted not in by_label:
            raise UnknownRecord(f"run {result.key} has no variant '{wanted}'; it has: {', '.join(by_label)}")
        return Choice(by_label[wanted], "as asked")
    if len(by_label) == 1:
        return Choice(result.variants[0], "the run's only one")
    headlines = {study: row["variant"] for study, those in rows.items() for row in those if row["headline"]}
    if len(set(headlines.values())) > 1:
        named = ", ".join(f"'{label}' in study '{study}'" for study, label in headlines.items())
        raise ExportRefused(f"run {result.key} has several headlines: {named}; choose one with --variant")
    if headlines:
        studies = ", ".join(f"'{study}'" for study in headlines)
        return Choice(by_label[next(iter(headlines.values()))], f"the run's headline in study {studies}")
    settings = ReportSettings()
    best = max(variant.score for variant in result.variants)
    chosen = headline(result.variants, dense_score=best, tolerance=settings.tolerance, measure=settings.measure)
    return Choice(
        chosen,
        f"the smallest by {settings.measure} within {settings.tolerance} of the run's best; no results table of this "
        "store shows the run",
    )


def figures_on_test(rows: Rows, label: str) -> dict[str, float] | None:
    """What the locked test split said of one network: metric -> value; None where it was not opened for it."""
    for row in (row for those in rows.values() for row in those if row["variant"] == label):
        if row["test_score"] is not None:
            named = {"accuracy": "test_accuracy", "macro_f1": "test_macro_f1", "r2": "test_r2", "mse": "test_mse"}
            return {metric: row[column] for metric, column in named.items() if row[column] is not None}
    return None
