"""The types of a study: cells, defaults, changes from the command line."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from orchestrator.spec import Study
from orchestrator.spec.study_file import parse_study

TWO_BY_TWO = """\
study: tiny
tasks:
  a: {data: digits, network: small_cnn, epochs: 3}
  b: {data: iris, network: mlp, epochs: 3}
methods:
  dense: {search: none}
  magnitude: {search: {pruning_rate: [0.8, 0.9]}}
"""


@pytest.fixture
def study() -> Study:
    return parse_study(TWO_BY_TWO, file="tiny.yaml")


def test_cells_are_every_task_under_every_method(study: Study) -> None:
    assert [cell.name for cell in study.cells] == ["a/dense", "a/magnitude", "b/dense", "b/magnitude"]


def test_a_cell_without_anything_to_search_has_one_trial(study: Study) -> None:
    assert [cell.num_trials for cell in study.cells] == [1, 8, 1, 8]


def test_threads_follow_the_cpus_of_a_run_unless_given() -> None:
    assert parse_study(TWO_BY_TWO + "resources: {cpus: 2}\n", file="x").resources.threads == 2
    assert parse_study(TWO_BY_TWO + "resources: {cpus: 2, threads: 1}\n", file="x").resources.threads == 1


def test_changes_are_checked_like_the_file(study: Study) -> None:
    changed = study.with_changes(executor="ray://head:10001", store="elsewhere")
    assert (changed.executor, changed.store, changed.tasks) == ("ray://head:10001", "elsewhere", study.tasks)
    assert study.executor == "auto"
    with pytest.raises(ValidationError, match="an executor is"):
        study.with_changes(executor="slurm")


def test_a_study_cannot_be_changed_by_accident(study: Study) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        study.store = "elsewhere"


def test_reading_a_study_loads_none_of_the_heavy_packages() -> None:
    code = (
        "import sys; from orchestrator.spec.study_file import parse_study; "
        f"parse_study({TWO_BY_TWO!r}, file='x'); "
        "print(sorted({'torch', 'ray', 'optuna', 'mlflow', 'pyarrow', 'sklearn', 'numpy'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
