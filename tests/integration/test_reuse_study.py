"""A study that mends a weak network and makes a task of class modules, from YAML to report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestrator import run_study, study_run
from orchestrator.class_modules.patching import export_patched
from orchestrator.class_modules.weak import StrongModule
from orchestrator.errors import DataProblem, ExportRefused, StudyInvalid
from orchestrator.reuse.stored import read_reuse
from orchestrator.spec import Study
from orchestrator.spec.study_file import parse_study
from orchestrator.store import Store
from orchestrator.study_run import StudySummary
from tests.orchestrator.decomposed import known

TEXT = """
study: reuse
tasks:
  digits: {{data: digits, network: small_cnn, epochs: 4, fraction: 0.3, validation_share: 0.2}}
  poor: {{data: digits, network: {{name: mlp, widths: [6]}}, epochs: 1, fraction: 0.2, validation_share: 0.2}}
  other: {{data: {{source: digits, image_shape: [1, 12, 12]}}, network: small_cnn, epochs: 1, fraction: 0.2}}
methods:
  dense: {{search: none}}
  dense_short: {{method: dense, tasks: [digits], search: none, set: {{learning_rate: 0.001}}}}
  decomposed: {{tasks: [digits], search: none}}
seeds: [0, 1]
search: {{trials: 1, early_stopping: none}}
executor: inline
tracking: none
store: {store}
reuse:
  patch: {{weak: [poor/dense, other/dense, digits/dense_short], strong: [digits/decomposed]}}
  new_tasks: [{{task: digits, from: [digits/decomposed]}}, {{task: other, from: [digits/decomposed]}}]
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Study, StudySummary]]:
    with known():
        study = parse_study(TEXT.format(store=tmp_path_factory.mktemp("store")), file="reuse.yaml")
        yield study, run_study(study)


def _table(study: Study) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = pq.read_table(Path(study.store) / "studies/reuse/reuse.parquet").to_pylist()
    return rows


def test_every_class_is_patched_in_every_way_with_every_seed_on_both_splits(done: tuple[Study, StudySummary]) -> None:
    study, summary = done
    assert summary.status == "finished"
    patches = [row for row in _table(study) if row["kind"] == "patch" and row["reason"] is None]
    assert {row["weak"] for row in patches} == {"poor/dense", "digits/dense_short"}
    places = {(row["weak"], row["class_name"], row["way"], row["seed"], row["split"]) for row in patches}
    assert len(patches) == len(places) == 2 * 10 * 3 * 2 * 2
    assert all((row["control_f1"] is None) == (row["way"] != "trained_head") for row in patches)
    tasks = [row for row in _table(study) if row["kind"] == "new_task" and row["reason"] is None]
    assert {(row["seed"], row["split"]) for row in tasks} == {(s, p) for s in (0, 1) for p in ("validation", "test")}


def test_what_cannot_be_done_is_in_the_table_and_on_the_page_with_its_reason(done: tuple[Study, StudySummary]) -> None:
    study, summary = done
    left_out = [row for row in _table(study) if row["reason"] is not None]
    assert {(row["kind"], row["weak"], row["seed"]) for row in left_out} == {
        (kind, "other/dense", seed) for kind in ("patch", "new_task") for seed in (0, 1)
    }
    assert all("reads inputs of shape" in str(row["reason"]) for row in left_out)
    assert any(line.strip().startswith("Left out: patching other/dense") for line in summary.lines)
    assert "Left out: the new task against other/dense" in Path(summary.report).read_text()


def test_figures_on_validation_are_those_of_the_command(done: tuple[Study, StudySummary], tmp_path: Path) -> None:
    study, _ = done
    row = next(row for row in _table(study) if row["way"] == "score" and row["split"] == "validation")
    with known():
        made = export_patched(
            str(row["weak_run"]),
            str(row["strong_run"]),
            str(row["class_name"]),
            store=Store.open(study.store),
            way="score",
            output=tmp_path / "p.safetensors",
        )
    assert made.effect.before.f1 == row["before_f1"]
    assert made.effect.after.f1 == row["after_f1"]


def test_methods_run_on_their_tasks_alone(done: tuple[Study, StudySummary]) -> None:
    study, _ = done
    assert [cell.name for cell in study.cells] == [
        "digits/dense",
        "digits/dense_short",
        "digits/decomposed",
        "poor/dense",
        "other/dense",
    ]


def test_report_and_terminal_show_what_reuse_gained(done: tuple[Study, StudySummary]) -> None:
    _, summary = done
    page = Path(summary.report).read_text()
    assert '<section id="reuse">' in page
    assert "Weak networks with one class at a time mended by a module" in page
    assert any("Patches with modules of digits/decomposed (score)" in line for line in summary.lines)
    assert any("New task digits of modules of digits/decomposed" in line for line in summary.lines)


def test_a_closed_study_evaluates_its_scenarios_once_and_again_when_they_are_gone(
    done: tuple[Study, StudySummary],
) -> None:
    study, _ = done
    file = Path(study.store) / "studies/reuse/reuse.parquet"
    before, written = file.read_bytes(), file.stat().st_mtime_ns
    with known():
        run_study(study)
        assert file.stat().st_mtime_ns == written
        file.unlink()
        run_study(study)
    assert pq.read_table(file).equals(pq.read_table(_copy(before, file.with_name("old.parquet"))))
    assert read_reuse(Store.open(study.store), "reuse") is not None


def test_samples_that_are_gone_leave_a_closed_study_its_views(
    done: tuple[Study, StudySummary], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _ = done
    (Path(study.store) / "studies/reuse/reuse.parquet").unlink(missing_ok=True)

    def gone(*_: object) -> None:
        raise DataProblem("task digits: /data: no such folder")

    with known(), monkeypatch.context() as patch:
        patch.setattr(study_run, "load_tasks", gone)
        assert Path(run_study(study).report).exists()
    assert read_reuse(Store.open(study.store), "reuse") is None
    with known():
        run_study(study)
    assert read_reuse(Store.open(study.store), "reuse") is not None


def test_a_way_that_cannot_patch_every_class_with_a_seed_leaves_its_reason_alone(
    done: tuple[Study, StudySummary], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _ = done
    file = Path(study.store) / "studies/reuse/reuse.parquet"
    calibration = StrongModule.calibration

    def of_most(module: StrongModule) -> tuple[float, float]:
        if (module.class_name, module.result.run.seed) == ("5", 1):
            raise ExportRefused("the module of '5' cannot be calibrated")
        return calibration(module)

    file.unlink()
    with known(), monkeypatch.context() as patch:
        patch.setattr(StrongModule, "calibration", of_most)
        run_study(study)
    own = [row for row in _table(study) if row["kind"] == "patch" and row["weak"] == "poor/dense"]
    assert {(row["way"], row["seed"]) for row in own if row["reason"] is None} == {
        ("calibrated", 0),
        *((way, seed) for way in ("score", "trained_head") for seed in (0, 1)),
    }
    assert [(row["way"], row["seed"], row["reason"]) for row in own if row["reason"]] == [
        ("calibrated", 1, "the module of '5' cannot be calibrated")
    ]
    file.unlink()
    with known():
        run_study(study)
    assert not any(row["way"] for row in _table(study) if row["reason"])


def _copy(data: bytes, place: Path) -> Path:
    place.write_bytes(data)
    return place


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("weak: [poor/dense,", "weak: [poor/densely,", "no cell 'poor/densely' (task/method) in this study"),
        ("tasks: [digits]", "tasks: [digit]", "no task 'digit'; known: digits, poor, other. Did you mean 'digits'?"),
        ("from: [digits/decomposed]", "from: []", "reuse.new_tasks"),
        ("strong: [digits/decomposed]", "strong: [digits/decomposed], ways: [glue]", "must be one of calibrated"),
        ("tasks: [digits]", "tasks: []", "must list the tasks it runs on"),
        ("patch: {{weak: [poor/dense", "patch: {{weak: [poor", "reuse.patch.weak"),
    ],
)
def test_names_that_the_study_has_not_are_faults_with_their_lines(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    assert old in TEXT
    with known(), pytest.raises(StudyInvalid) as caught:
        parse_study(TEXT.replace(old, new).format(store=tmp_path), file="reuse.yaml")
    assert any(said in str(fault) for fault in caught.value.faults), [str(fault) for fault in caught.value.faults]
    assert all(fault.line > 1 for fault in caught.value.faults)
