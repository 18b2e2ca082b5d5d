"""A regression from end to end: R2 and the squared error reach every place where a classification shows accuracy."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from orchestrator import compare, run_study
from orchestrator.comparison import Comparison, read_results
from orchestrator.report import words
from orchestrator.spec import Study
from orchestrator.spec.study_file import parse_study
from orchestrator.store import Store
from orchestrator.study_run import StudySummary

pytestmark = pytest.mark.service

TEXT = """
study: progression
question: Which network predicts the disease's progression at a fraction of the size?
tasks:
  diabetes: {{data: diabetes, network: {{name: mlp, widths: [16, 16]}}, epochs: 30, validation_share: 0.2}}
methods:
  dense: {{search: none}}
  magnitude: {{search: {{pruning_rate: [0.8, 0.95]}}}}
seeds: [0, 1]
search: {{trials: 3, confirm: 2, early_stopping: none}}
report: {{size_budgets: [0.3, 0.6], tolerance: 0.05}}
executor: inline
tracking: sqlite
store: {store}
"""


@dataclass(frozen=True)
class Done:
    """A finished study and what it left behind."""

    study: Study
    summary: StudySummary
    store: Store
    comparison: Comparison
    rows: list[dict[str, Any]]
    page: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("store")
    study = parse_study(TEXT.format(store=folder), file="progression.yaml")
    summary = run_study(study)
    assert (summary.status, summary.failed) == ("finished", 0)
    store = Store.open(study.store)
    rows = read_results(store, study.name).to_pylist()
    return Done(study, summary, store, compare(store, study.name), rows, Path(summary.report).read_text())


def _plain(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_the_search_is_told_r2(done: Done) -> None:
    trials = done.comparison.tasks[0].trials
    r2 = {row["run_key"]: row["val_r2"] for row in done.rows}
    assert len(trials) == 4
    assert all(trial.score == r2[trial.run_key] for trial in trials)


def test_results_have_r2_and_mse_of_validation_and_test_in_raw_units(done: Done) -> None:
    confirmed = [row for row in done.rows if row["phase"] == "confirm"]
    assert {row["metric"] for row in done.rows} == {"r2"}
    assert all(row["val_accuracy"] is None and row["test_accuracy"] is None for row in done.rows)
    # Progression spreads by 77 around its mean: an error in standard units would lie below 2.
    for row in confirmed:
        assert 1_500 < row["val_mse"] < 12_000
        assert 1_500 < row["test_mse"] < 12_000
        assert row["test_score"] == row["test_r2"] < 1
    # One test split: its variance, which MSE = (1 - R2) * variance gives away, is the same for every network.
    variances = [row["test_mse"] / (1 - row["test_r2"]) for row in confirmed]
    assert variances == pytest.approx([variances[0]] * len(variances), rel=1e-6)


def test_the_comparison_estimates_mse_over_the_seeds(done: Done) -> None:
    [task] = done.comparison.tasks
    assert (task.metric, task.split) == ("r2", "test")
    for one in task.configurations:
        for found, column in ((one.validation_mse, "val_mse"), (one.test_mse, "test_mse")):
            assert found is not None
            by_seed = {row["run_key"]: row[column] for row in done.rows if row["phase"] == "confirm"}
            assert found.values == tuple(by_seed[key] for key in one.run_keys)
        assert one.mse("test") is one.test_mse


def test_the_page_shows_both_in_every_table(done: Done) -> None:
    text = _plain(done.page)
    listed = text.partition("Family: ")[2].partition("Time and cost")[0]
    [task] = done.comparison.tasks
    assert "test R²" in text
    assert "in the square of the target's unit" in text
    for one in task.configurations:
        for found in (one.validation_mse, one.test_mse):
            assert found is not None
            assert f"MSE {words.squared_error(found.mean)} ± {words.squared_error(found.std or 0)}" in listed
    [magnitude] = task.methods
    shown = [one for one in (*magnitude.at_budget.values(), magnitude.within_tolerance) if one is not None]
    assert shown
    equal_size = text.partition("At equal size")[2].partition("Family: ")[0]
    for one in shown:
        assert words.mse_and_spread(one.test_mse) in equal_size
    for row in done.rows:
        assert f"MSE {words.squared_error(row['val_mse'])}" in text.partition("one by one")[2]


def test_the_terminal_shows_both(done: Done) -> None:
    [task] = done.comparison.tasks
    text = "\n".join(done.summary.lines)
    assert "test R²" in text
    assert task.dense is not None
    assert words.mse_and_spread(task.dense.test_mse) in text
    for one in task.methods[0].at_budget.values():
        if one is not None:
            assert words.mse_and_spread(one.test_mse) in text


def test_mlflow_has_both_for_runs_and_models(done: Done) -> None:
    client = MlflowClient(f"sqlite:///{done.study.store}/mlflow.db")
    experiment = client.get_experiment_by_name(done.study.name)
    by_key = {row["run_key"]: row for row in done.rows if row["phase"] == "confirm"}
    runs = client.search_runs([experiment.experiment_id], "tags.phase = 'confirm'")
    assert len(runs) == len(by_key)
    for run in runs:
        row = by_key[run.data.tags["run_key"]]
        for name in ("val_r2", "val_mse", "test_r2", "test_mse"):
            assert run.data.metrics[name] == pytest.approx(row[name]), name
        assert "val_accuracy" not in run.data.metrics
    models = client.search_logged_models([experiment.experiment_id])
    assert len(models) == len(runs)
    assert all({"val_r2", "val_mse", "test_r2", "test_mse"} <= {m.key for m in model.metrics} for model in models)
    [view] = [value for name, value in experiment.tags.items() if "sharedViewState" in name]
    assert "metrics.`test_mse`" in view
