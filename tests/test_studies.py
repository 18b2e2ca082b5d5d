"""The studies that come with the project, and the reference of their keys."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from methods.data.catalog import source_names
from methods.networks.catalog import network_names
from methods.task_spec import DataSpec, SkewSpec, TaskSpec
from orchestrator.spec import Budget, EarlyStopping, ReportSettings, Resources, SearchSettings, StudySettings
from orchestrator.spec.nightly import NightlySettings
from orchestrator.spec.study_file import load_study, parse_study

FOLDER = Path(__file__).parent.parent / "studies"
STUDIES = sorted(FOLDER.glob("*.yaml"))
README = (FOLDER / "README.md").read_text()


@pytest.fixture(autouse=True)
def data_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAREDOWN_CIFAR10", "PAREDOWN_CIFAR100"):
        monkeypatch.setenv(name, str(tmp_path))


@pytest.mark.parametrize("path", STUDIES, ids=[path.stem for path in STUDIES])
def test_a_study_is_valid_and_named_like_its_file(path: Path) -> None:
    study = load_study(path)
    assert study.name == path.stem
    assert len(study.seeds) >= 3, "tables give a spread over seeds"
    assert "dense" in {entry.method for entry in study.methods}, "sizes and accuracies need their reference"


@pytest.mark.parametrize("path", STUDIES, ids=[path.stem for path in STUDIES])
def test_the_readme_has_a_row_with_the_question_of_a_study(path: Path) -> None:
    assert f"| `{path.name}` | {load_study(path).question} |" in README


@pytest.mark.parametrize(
    "model",
    [
        StudySettings,
        TaskSpec,
        DataSpec,
        SkewSpec,
        SearchSettings,
        EarlyStopping,
        Budget,
        Resources,
        ReportSettings,
        NightlySettings,
    ],
)
def test_the_readme_explains_every_key(model: type[BaseModel]) -> None:
    keys = [str(field.validation_alias or name) for name, field in model.model_fields.items()]
    assert [key for key in keys if f"`{key}`" not in README] == []


def test_the_readme_names_every_source_and_network() -> None:
    assert [name for name in source_names() + network_names() if name not in README] == []


def test_the_example_of_the_readme_is_a_valid_study() -> None:
    text = README.split("```yaml\n")[1].split("```")[0]
    assert parse_study(text, file="README.md").name == yaml.safe_load(text)["study"]


def test_the_small_cifar_study_fits_its_promise_of_half_an_hour() -> None:
    study = load_study(FOLDER / "cifar10_small.yaml")
    more_seeds = len(study.seeds) - 1
    runs = sum(cell.num_trials + study.search.most_confirmed(cell.num_trials) * more_seeds for cell in study.cells)
    task = study.tasks["cifar10"]
    images = runs * task.epochs * 50_000 * task.fraction * (1 - task.validation_share)
    assert images <= 1_188_000  # 900 images/s on two cores
