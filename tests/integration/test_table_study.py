"""A study on a user's own CSV file, from the file to the report: gaps, categories, a rare class, an official split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from methods.data.encoding import ENCODING
from orchestrator import compare, run_study
from orchestrator.comparison import read_results
from orchestrator.errors import DataProblem, StudyInvalid
from orchestrator.rerun import rerun
from orchestrator.spec import Study
from orchestrator.spec.study_file import load_study
from orchestrator.store import Store
from tests.methods.data.table_sets import houses, passengers, write_table

TEXT = """\
study: own_tables
tasks:
  survival:
    data: {{source: table, path: {folder}/passengers.csv, target: survived, numeric: [age], drop: [ticket]}}
    network: {{name: mlp, widths: [16]}}
    epochs: 12
    class_weights: balanced
    validation_share: 0.2
  prices:
    data: {{source: table, path: {folder}/houses, target: price}}
    network: {{name: mlp, widths: [16]}}
    epochs: 40
methods:
  dense: {{search: none}}
  magnitude: {{search: none}}
seeds: [0, 1]
executor: inline
tracking: none
store: {folder}/store
"""


def write_study(folder: Path, **changes: list[Any]) -> Path:
    table = passengers(200) | {"ticket": [f"number {i}" for i in range(200)]}
    write_table(folder / "passengers.csv", table | changes)
    write_table(folder / "houses" / "train.csv", houses(160))
    write_table(folder / "houses" / "test.csv", houses(40, seed=1))
    path = folder / "own_tables.yaml"
    path.write_text(TEXT.format(folder=folder))
    return path


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = load_study(write_study(tmp_path_factory.mktemp("tables")))
    summary = run_study(study)
    assert (summary.status, summary.failed) == ("finished", 0)
    return study


def test_tables_are_learnt_from_and_tested_on(study: Study) -> None:
    rows = read_results(Store.open(study.store), study.name).to_pylist()
    confirmed = [row for row in rows if row["phase"] == "confirm"]
    assert {row["task"]: row["metric"] for row in confirmed} == {"survival": "accuracy", "prices": "r2"}
    dense = [row for row in confirmed if row["method"] == "dense"]
    assert all(row["test_accuracy"] > 0.7 for row in dense if row["task"] == "survival")
    assert all(row["test_r2"] > 0.8 for row in dense if row["task"] == "prices")
    found = compare(Store.open(study.store), study.name)
    assert [(task.task, task.split) for task in found.tasks] == [("survival", "test"), ("prices", "test")]


def test_how_columns_become_features_is_kept_with_the_result(study: Study) -> None:
    store = Store.open(study.store)
    record = next(r for r in store.study(study.name).records() if r.method == "dense" and r.task_name == "survival")
    result = store.read_outcome(record.run.key)
    assert result is not None
    assert result.preprocessing is not None
    encoding = ENCODING.validate_python(result.preprocessing["table"])
    assert len(encoding.feature_names) == len(result.preprocessing["normalization"]["mean"])


def test_a_run_on_a_table_can_be_run_again(study: Study, tmp_path: Path) -> None:
    store = Store.open(study.store)
    record = next(r for r in store.study(study.name).records() if r.method == "magnitude" and r.task_name == "survival")
    again = rerun(record.run.key, store=store, into=tmp_path)
    assert again.repeated.variants == again.recorded.variants


def test_a_wrong_value_stops_the_study_before_anything_trains(tmp_path: Path) -> None:
    ages: list[Any] = [*passengers(200)["age"][:-1], "unknown"]
    path = write_study(tmp_path, age=ages)
    with pytest.raises(DataProblem, match=r"task survival: .*passengers\.csv: column 'age': row 200 holds 'unknown'"):
        run_study(load_study(path))
    assert Store.open(f"{tmp_path}/store").finished_keys() == []


def test_a_wrong_column_is_a_fault_of_the_study_file(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    path.write_text(path.read_text().replace("target: survived", "target: survivd"))
    with pytest.raises(StudyInvalid, match=r"yaml:4: tasks\.survival\.data: .*Did you mean 'survived'\?"):
        load_study(path)
