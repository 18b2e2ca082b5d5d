"""MLflow shows what the store holds: once, completely, and whatever happens to MLflow meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from PIL import Image

from methods.artefact import decode, encode
from methods.figures import FIGURES, Line, LineChart
from methods.networks.build import build_network
from methods.surgery import deploy
from methods.task_spec import DataSpec, NetworkSpec, TaskSpec
from orchestrator.errors import ServiceMissing, StoreLocked, UnknownRecord
from orchestrator.module_results import COMPOSED_ROW
from orchestrator.report.chart_png import chart_png
from orchestrator.report.marks import INK, LIGHT
from orchestrator.runs import Failure, GradedVariant, Record, Run, RunResult
from orchestrator.sizes import Sizes
from orchestrator.store import Store
from orchestrator.tracking import MlflowTracker, NullTracker, open_tracker, sync
from orchestrator.tracking.stored_runs import StoredRuns
from orchestrator.tracking.tracked_run import MAX_METRICS, TrackedRun
from tests.orchestrator.constructed_study import ConstructedStudy, make_modules, make_result

STUDY = "pruning_digits"
YAML = f"""
study: {STUDY}
tasks:
  digits: {{data: {{source: digits}}, network: small_cnn, epochs: 2}}
methods:
  dense: {{search: none}}
  magnitude: {{search: {{pruning_rate: [0.8, 0.98]}}}}
report: {{tolerance: 0.02, measure: stored_bytes}}
"""
TASK = TaskSpec(data=DataSpec(source="digits"), network=NetworkSpec(name="small_cnn"), epochs=2)
DENSE_SIZES = Sizes(parameters=1000, nonzeros=1000, stored_bytes=2000, macs=5000)


def sizes(share: float) -> Sizes:
    return Sizes(parameters=1000, nonzeros=round(1000 * share), stored_bytes=round(2000 * share), macs=5000)


def a_variant(label: str, accuracy: float, share: float, **changes: Any) -> GradedVariant:
    fields: dict[str, Any] = {
        "label": label,
        "kind": "whole",
        "validation": {"accuracy": accuracy, "macro_precision": 0.5, "macro_recall": 0.5, "macro_f1": accuracy - 0.01},
        "sizes": sizes(share),
        "reference_sizes": DENSE_SIZES,
        "latency_ms": {"1": 0.5, "256": 8.0},
    }
    return GradedVariant.model_validate(fields | changes)


@cache
def an_artefact() -> bytes:
    network = build_network("small_cnn", input_shape=(1, 8, 8), num_outputs=10, width=0.25, seed=0)
    return encode(deploy(network))


class FilledStore:
    """A store with one study, filled as a coordinator and its workers fill it."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(str(folder))
        self.folder = self.store.study(STUDY)
        self.folder.put_spec(YAML)

    def add(
        self,
        method: str,
        trial: int,
        *variants: GradedVariant,
        seed: int = 0,
        status: str = "finished",
        networks: bool = True,
        **changes: Any,
    ) -> tuple[Record, RunResult | None]:
        config = {} if method == "dense" else {"pruning_rate": 0.8 + trial / 1000}
        run = Run(task_name="digits", task=TASK, data_fingerprint="f" * 64, method=method, config=config, seed=seed)
        result = None
        if variants:
            result = RunResult(
                key=run.key,
                run=run,
                variants=variants,
                epochs=2,
                fit_seconds=1.5,
                grade_seconds=0.5,
                finished_at="2026-01-01T00:00:10Z",
                environment={"git": "abc123"},
            )
            losses: list[float | None] = [0.5, None, 0.25]
            self.store.put_curves(run.key, pa.table({"epoch": [0, 1, 2], "train_loss": losses}))
            for variant in variants if networks else ():
                self.store.put_variant(run.key, variant.label, artefact=an_artefact(), weights=b"")
            self.store.put_outcome(result)
        fields = {"study": STUDY, "task_name": "digits", "method": method, "trial": trial, "seed": seed}
        record = Record.model_validate(fields | {"phase": "search", "run": run, "status": status} | changes)
        self.folder.put_record(record)
        return record, result


@pytest.fixture
def filled(tmp_path: Path) -> FilledStore:
    return FilledStore(tmp_path / "results")


def add_typical_records(filled: FilledStore) -> list[tuple[Record, RunResult | None]]:
    rows = [
        filled.add("dense", 0, a_variant("dense", 0.97, 1.0)),
        filled.add("magnitude", 0, a_variant("90", 0.96, 0.2), a_variant("99", 0.91, 0.035)),
        filled.add("magnitude", 1, status="stopped_early", reason="dominated at a quarter", progress=0.25),
        filled.add("magnitude", 2, status="failed", reason="loss is not finite", device_seconds=3.0),
    ]
    failed = rows[3][0].run.key
    filled.store.add_failure(failed, Failure(kind="diverged", message="nan", at="2026-01-01T00:00:20Z"))
    return rows


def track(
    filled: FilledStore, rows: list[tuple[Record, RunResult | None]], uri: str = "sqlite", *, execution: str = "first"
) -> str | None:
    tracker = open_tracker(uri, store_uri=filled.store.uri)
    tracker.start(STUDY, execution_id=execution, tags={"host": "here"}, params={"seeds": "[0, 1]"})
    for record, result in rows:
        tracker.record(record, result)
    tracker.finish(status="finished")
    return tracker.problem


def client_of(database: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{database}", registry_uri=f"sqlite:///{database}")


def runs_of(database: Path, kind: str = "run") -> list[Any]:
    client = client_of(database)
    experiment = client.get_experiment_by_name(STUDY)
    return list(client.search_runs([experiment.experiment_id], f"tags.kind = '{kind}'", max_results=1000))


def content(database: Path) -> list[Any]:
    """All that a reader sees of the child runs, but ids, the parent, and times that the store does not know."""
    client = client_of(database)
    found = []
    for run in runs_of(database):
        histories = {key: _history(client, run, key) for key in sorted(run.data.metrics)}
        tags = {key: value for key, value in run.data.tags.items() if key != "mlflow.parentRunId"}
        timed = tags["status"] != "stopped_early"
        times = (run.info.start_time, run.info.end_time) if timed else None
        found.append((run.info.run_name, run.info.status, times, tags, run.data.params, histories))
    return sorted(found, key=lambda item: item[3]["record"])


def _history(client: Any, run: Any, key: str) -> list[tuple[int, float]]:
    return sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, key))


def models_of(database: Path) -> list[Any]:
    return list(client_of(database).search_logged_models(["1"]))


def by_record(database: Path) -> dict[str, Any]:
    return {run.data.tags["record"]: run for run in runs_of(database)}


@pytest.mark.service
def test_a_study_is_one_experiment_with_a_parent_and_a_child_per_record(
    filled: FilledStore, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Left by some other tool; a client that heeds it writes everything into that one run.
    monkeypatch.setenv("MLFLOW_RUN_ID", "0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    rows = add_typical_records(filled)
    filled.folder.write_file("report.html", b"<html></html>")
    assert track(filled, rows) is None
    assert capfd.readouterr() == ("", "")

    database = Path(filled.store.uri) / "mlflow.db"
    (parent,) = runs_of(database, "execution")
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["execution"] == "first"
    assert parent.data.tags["host"] == "here"
    assert parent.data.params == {"seeds": "[0, 1]"}
    assert parent.data.metrics == {
        "runs_finished": 2,
        "runs_stopped_early": 1,
        "runs_failed": 1,
        "device_seconds": 3.0,
    }
    (dataset,) = parent.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("digits", "f" * 36)
    artifacts = client_of(database).list_artifacts(parent.info.run_id)
    assert [artifact.path for artifact in artifacts] == ["report.html"]
    assert (Path(filled.store.uri) / "mlflow-artifacts" / STUDY / parent.info.run_id).is_dir()

    children = by_record(database)
    assert len(children) == 4
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    pruned = children["search-digits-magnitude-00000-0"]
    assert pruned.info.run_name == "magnitude #0 seed 0 search"
    assert pruned.info.status == "FINISHED"
    assert pruned.info.end_time - pruned.info.start_time == 1500
    expected_tags = {
        "study": STUDY,
        "method": "magnitude",
        "task": "digits",
        "trial": "0",
        "seed": "0",
        "phase": "search",
        "run_key": rows[1][0].run.key,
        "git": "abc123",
        "status": "finished",
        # Within 0.02 of the dense 0.97, so the smaller one is too inaccurate to be the headline.
        "variant": "90",
    }
    assert expected_tags.items() <= pruned.data.tags.items()
    assert pruned.data.params["pruning_rate"] == "0.8"
    assert pruned.data.params["momentum"] == "0.9"
    expected_metrics = {
        "val_accuracy": 0.96,
        "macro_f1": 0.95,
        "size_ratio": 0.2,
        "parameters": 1000,
        "nonzeros": 200,
        "stored_bytes": 400,
        "macs": 5000,
        "latency_ms_1": 0.5,
        "latency_ms_256": 8.0,
        "fit_seconds": 1.5,
        "epochs": 2,
    }
    assert expected_metrics.items() <= pruned.data.metrics.items()
    assert len(pruned.data.metrics) <= MAX_METRICS
    client = client_of(database)
    assert _history(client, pruned, "accuracy_by_size") == [(35, 0.91), (200, 0.96)]
    assert _history(client, pruned, "epoch/train_loss") == [(0, 0.5), (2, 0.25)]
    assert children["search-digits-magnitude-00001-0"].info.status == "FINISHED"
    assert children["search-digits-magnitude-00001-0"].data.tags["status"] == "stopped_early"
    failed = children["search-digits-magnitude-00002-0"]
    assert failed.info.status == "FAILED"
    assert failed.data.tags["reason"] == "loss is not finite"
    assert failed.info.end_time - failed.info.start_time == 3000


@pytest.mark.service
def test_rebuild_from_the_store_gives_the_same_runs_and_repeating_it_changes_nothing(filled: FilledStore) -> None:
    rows = add_typical_records(filled)
    rows.append(filled.add("magnitude", 0, a_variant("90", 0.955, 0.2), seed=1, phase="confirm"))
    confirmed = rows[-1][0].run.key
    tracker = open_tracker("sqlite", store_uri=filled.store.uri)
    tracker.start(STUDY, execution_id="first", tags={}, params={})
    for record, result in rows:
        tracker.record(record, result)
    # The test comes last in a study, when its runs are in MLflow already; latency is timed again there.
    test = {"opened_at": "2026", "opened_by": "me"}
    test_row = {"accuracy": 0.94, "macro_f1": 0.93, "latency_ms_1": 0.4}
    filled.folder.put_test(test | {"rows": {f"{confirmed}/90": test_row}})
    tracker.finish(status="finished")
    assert tracker.problem is None
    database = Path(filled.store.uri) / "mlflow.db"
    live = content(database)
    assert len(live) == 5
    confirm = by_record(database)["confirm-digits-magnitude-00000-1"]
    assert confirm.data.metrics["test_accuracy"] == 0.94
    assert confirm.data.metrics["val_accuracy"] == 0.955
    assert confirm.data.metrics["latency_ms_1"] == 0.4
    ids = {run.info.run_id for run in runs_of(database)}

    sync(filled.store, STUDY, "sqlite")
    assert track(filled, rows, execution="second") is None
    assert {run.info.run_id for run in runs_of(database)} == ids
    assert content(database) == live
    assert len(runs_of(database, "execution")) == 2

    other = database.parent / "elsewhere" / "other.db"
    sync(filled.store, STUDY, f"sqlite:///{other}")
    assert content(other) == live
    (parent,) = runs_of(other, "execution")
    assert parent.info.status == "FINISHED"
    sync(filled.store, STUDY, f"sqlite:///{other}")
    assert content(other) == live
    assert len(runs_of(other, "execution")) == 1


@pytest.mark.service
def test_confirmed_network_is_a_logged_model_that_can_be_downloaded_and_run(
    filled: FilledStore, tmp_path: Path
) -> None:
    rows = add_typical_records(filled)
    again, result = filled.add("magnitude", 0, a_variant("90", 0.955, 0.2), seed=1, phase="confirm")
    rows.append((again, result))
    key = again.run.key
    # An interrupted execution: the test has not been opened.
    assert track(filled, rows) is None
    database = Path(filled.store.uri) / "mlflow.db"
    (model,) = models_of(database)
    assert (model.name, str(model.status)) == ("magnitude-0-seed-1", "READY")
    child = by_record(database)[again.id]
    assert model.source_run_id == child.info.run_id
    assert [output.model_id for output in child.outputs.model_outputs] == [model.model_id]
    assert {"run_key": key, "variant": "90", "task": "digits"}.items() <= model.tags.items()
    figures = {"val_accuracy": 0.955, "size_ratio": 0.2, "stored_bytes": 400, "nonzeros": 200, "macs": 5000}
    assert {metric.key: metric.value for metric in model.metrics} == figures

    from mlflow.artifacts import download_artifacts

    folder = Path(download_artifacts(artifact_uri=model.artifact_location, dst_path=str(tmp_path)))
    assert sorted(path.name for path in folder.iterdir()) == ["MLmodel", "README.md", "artefact.safetensors.zst"]
    artefact = (folder / "artefact.safetensors.zst").read_bytes()
    assert artefact == filled.store.read_variant(key, "90").artefact
    assert decode(artefact)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert "methods.artefact import decode" in (folder / "README.md").read_text()

    live = content(database)
    filled.folder.put_test({"opened_at": "2026", "opened_by": "me", "rows": {f"{key}/90": {"accuracy": 0.94}}})
    sync(filled.store, STUDY, "sqlite")
    (tested,) = models_of(database)
    assert tested.model_id == model.model_id
    assert {metric.key: metric.value for metric in tested.metrics} == figures | {"test_accuracy": 0.94}
    # A model's figures are its run's: no chart gets a point twice.
    (before,) = [item for item in live if item[3]["record"] == again.id]
    (after,) = [item for item in content(database) if item[3]["record"] == again.id]
    assert after[5] == before[5] | {"test_accuracy": [(0, 0.94)]}
    sync(filled.store, STUDY, "sqlite")
    assert models_of(database)[0].to_dictionary() == tested.to_dictionary()
    assert len(models_of(database)) == 1


@pytest.mark.service
def test_models_that_are_incomplete_or_of_a_replaced_run_are_put_right(filled: FilledStore) -> None:
    confirmed, _ = filled.add("magnitude", 0, a_variant("90", 0.955, 0.2), phase="confirm")
    lost, _ = filled.add("magnitude", 1, a_variant("95", 0.95, 0.1), phase="confirm", networks=False)
    database = Path(filled.store.uri) / "mlflow.db"
    with pytest.raises(ServiceMissing, match=f"model of {lost.id}.*no variant '95'"):
        sync(filled.store, STUDY, "sqlite")
    client = client_of(database)
    (first,) = models_of(database)
    # A crash between creating and finishing one, and a run that is replaced.
    half = client.create_logged_model("1", name="half", source_run_id=first.source_run_id, model_type="paredown")
    client.delete_run(first.source_run_id)
    with pytest.raises(ServiceMissing, match="no variant '95'"):
        sync(filled.store, STUDY, "sqlite")
    (second,) = models_of(database)
    assert second.model_id not in (first.model_id, half.model_id)
    assert second.source_run_id == by_record(database)[confirmed.id].info.run_id


def figures_of(database: Path, record: Record) -> dict[str, Path]:
    """Name of an artifact under `figures/` -> its file."""
    uri = by_record(database)[record.id].info.artifact_uri.removeprefix("file://")
    return {path.name: path for path in Path(uri, "figures").glob("*")}


@pytest.mark.service
def test_figures_of_the_first_seed_of_a_confirmed_run_are_pictures_and_data(filled: FilledStore) -> None:
    line = Line(label="c", x=(1.0, 2.0), y=(0.5, None))
    charts = [LineChart(name=f"pull_{i}", title="$c$", x_label="", y_label="", lines=(line,)) for i in range(14)]
    searched, result = filled.add("magnitude", 0, a_variant("90", 0.955, 0.2))
    rows = [(searched, result)] + [
        filled.add("magnitude", trial, a_variant("90", 0.955, 0.2), seed=seed, phase="confirm")
        for trial, seed in ((0, 0), (0, 1), (1, 0), (2, 0))
    ]
    first, second, without, damaged = [record for record, _ in rows[1:]]
    for record in (first, second, damaged):
        filled.store.put_figures(record.run.key, tuple(charts))
    broken = Path(filled.store.uri) / "runs" / damaged.run.key / "figures.json"
    broken.write_text(broken.read_text()[:50])
    problem = track(filled, rows)
    assert problem is not None
    assert f"figures of {damaged.id}: {broken}: not readable as figures" in problem

    database = Path(filled.store.uri) / "mlflow.db"
    found = figures_of(database, first)
    assert sorted(found) == ["figures.json", *sorted(f"pull_{i}.png" for i in range(12))]
    assert found["pull_0.png"].read_bytes().startswith(b"\x89PNG")
    assert FIGURES.validate_json(found["figures.json"].read_bytes()) == tuple(charts)
    for record in (searched, second, without, damaged):
        assert figures_of(database, record) == {}

    broken.unlink()
    written = {name: path.stat().st_mtime_ns for name, path in found.items()}
    sync(filled.store, STUDY, "sqlite")
    assert {name: path.stat().st_mtime_ns for name, path in figures_of(database, first).items()} == written
    # A crash between the pictures and the data.
    found["figures.json"].unlink()
    found["pull_3.png"].unlink()
    sync(filled.store, STUDY, "sqlite")
    assert sorted(figures_of(database, first)) == sorted(found)


@pytest.mark.service
def test_notes_and_a_prepared_view_lead_a_reader_and_peoples_own_note_stays(filled: FilledStore) -> None:
    filled.folder.put_spec(YAML.replace("tasks:", "question: Does it prune?\ntasks:"))
    rows = add_typical_records(filled)
    line = Line(label="c", x=(1.0, 2.0), y=(0.5, None))
    chart = LineChart(name="pareto", title="", x_label="", y_label="", lines=(line,))
    filled.folder.write_file("pareto.png", chart_png(chart))
    assert track(filled, rows) is None
    database = Path(filled.store.uri) / "mlflow.db"
    experiment = client_of(database).get_experiment_by_name(STUDY)
    note = experiment.tags["mlflow.note.content"]
    assert note.startswith("Does it prune?\n")
    assert f"#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey=" in note
    view = json.loads(experiment.tags["mlflow.sharedViewState.confirmed-digits"])
    assert view["searchFilter"] == "tags.phase = 'confirm' and tags.task = 'digits'"
    points, series = view["compareRunCharts"]
    assert points["yaxis"] == {"key": "val_accuracy", "type": "METRIC"}
    assert (series["metricKey"], series["xAxisKey"]) == ("accuracy_by_size", "step")
    (parent,) = runs_of(database, "execution")
    picture = f"get-artifact?path=note/accuracy_by_size.png&run_uuid={parent.info.run_id}"
    assert picture in parent.data.tags["mlflow.note.content"]
    artifacts = Path(parent.info.artifact_uri.removeprefix("file://"))
    with (
        Image.open(artifacts / "pareto.png") as whole,
        Image.open(artifacts / "note" / "accuracy_by_size.png") as shown,
    ):
        assert (whole.width, shown.width) == (960, 720)
    children = {name: run.data.tags for name, run in by_record(database).items()}
    pruned = children["search-digits-magnitude-00000-0"]
    assert "Validation accuracy 0.960 at 20.0 % of the dense network's stored bytes." in pruned["mlflow.note.content"]
    assert f"`pare rerun {pruned['run_key']} --store {filled.store.uri}`" in pruned["mlflow.note.content"]
    assert "failed: loss is not finite" in children["search-digits-magnitude-00002-0"]["mlflow.note.content"]
    colours = {(tags["method"], tags["mlflow.runColor"]) for tags in children.values()}
    assert colours == {("dense", INK), ("magnitude", LIGHT[0])}

    client_of(database).set_experiment_tag(experiment.experiment_id, "mlflow.note.content", "mine")
    sync(filled.store, STUDY, "sqlite")
    assert client_of(database).get_experiment_by_name(STUDY).tags["mlflow.note.content"] == "mine"


@pytest.mark.service
def test_the_parents_note_has_the_comparison_and_follows_it_until_somebody_edits_it(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    study = ConstructedStudy(store)
    study.artefact = an_artefact()
    study.build({"digits": 0.981}, methods=("dense", "magnitude"))
    test_sheet = tmp_path / "studies" / "made_up" / "test.json"
    opened = test_sheet.read_bytes()
    test_sheet.unlink()  # interrupted before the test
    study.write_results()
    sync(store, "made_up", "sqlite")

    def parent() -> Any:
        client = client_of(tmp_path / "mlflow.db")
        experiment = client.get_experiment_by_name("made_up")
        (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'execution'")
        return run

    def note() -> str:
        return str(parent().data.tags["mlflow.note.content"])

    assert "digits: validation accuracy, mean" in note()
    assert "\n| method | at 5 % | at 10 % | at 25 % |" in note()
    assert f"/runs/{parent().info.run_id}/artifacts/report.html)" in note()
    test_sheet.write_bytes(opened)
    study.write_results()
    sync(store, "made_up", "sqlite")
    assert "digits: test accuracy, mean" in note()
    table = Path(parent().info.artifact_uri.removeprefix("file://"), "comparison.md").read_text()
    assert table.strip() in note()

    client_of(tmp_path / "mlflow.db").set_tag(parent().info.run_id, "mlflow.note.content", "mine")
    sync(store, "made_up", "sqlite")
    assert note() == "mine"


@pytest.mark.service
def test_parent_run_is_rebuilt_with_times_environment_and_files(filled: FilledStore) -> None:
    add_typical_records(filled)
    filled.folder.write_file("report.html", b"<html></html>")
    sync(filled.store, STUDY, "sqlite")
    database = Path(filled.store.uri) / "mlflow.db"
    (parent,) = runs_of(database, "execution")
    assert parent.info.end_time - parent.info.start_time == 1500
    assert parent.data.tags["git"] == "abc123"
    assert parent.data.metrics["runs_finished"] == 2
    assert [artifact.path for artifact in client_of(database).list_artifacts(parent.info.run_id)] == ["report.html"]


@pytest.mark.service
def test_study_goes_on_while_mlflow_is_away_and_catches_up(filled: FilledStore, tmp_path: Path) -> None:
    rows = add_typical_records(filled)
    # A file where the database's folder should be: nothing can be opened there.
    blocked = tmp_path / "server"
    blocked.write_text("")
    uri = f"sqlite:///{blocked}/mlflow.db"
    tracker = MlflowTracker(uri, store=filled.store, retry_seconds=0.1)
    begun = time.monotonic()
    tracker.start(STUDY, execution_id="first", tags={}, params={})
    for record, result in rows[:2]:
        tracker.record(record, result)
    assert time.monotonic() - begun < 0.5
    assert _eventually(lambda: tracker.problem is not None)
    assert tracker.problem is not None
    assert uri in tracker.problem
    assert "entries that wait: 3" in tracker.problem

    blocked.unlink()
    for record, result in rows[2:]:
        tracker.record(record, result)
    tracker.finish(status="finished")
    assert tracker.problem is None
    assert len(runs_of(blocked / "mlflow.db")) == 4


@pytest.mark.service
def test_mlflow_that_stays_away_is_reported_at_the_end_and_filled_by_sync(filled: FilledStore, tmp_path: Path) -> None:
    rows = add_typical_records(filled)
    blocked = tmp_path / "server"
    blocked.write_text("")
    uri = f"sqlite:///{blocked}/mlflow.db"
    begun = time.monotonic()
    problem = track(filled, rows, uri)
    assert time.monotonic() - begun < 30
    assert problem is not None
    assert "entries that wait" in problem
    with pytest.raises(ServiceMissing, match="entries that wait"):
        sync(filled.store, STUDY, uri)
    blocked.unlink()
    sync(filled.store, STUDY, uri)
    assert len(runs_of(blocked / "mlflow.db")) == 4


@pytest.mark.service
def test_traces_of_a_killed_execution_are_put_right(filled: FilledStore) -> None:
    rows = add_typical_records(filled)
    tracker = MlflowTracker(f"sqlite:///{filled.store.uri}/mlflow.db", store=filled.store)
    tracker.start(STUDY, execution_id="killed", tags={}, params={})
    for record, result in rows:
        tracker.record(record, result)
    assert tracker._backlog.drain()
    tracker._backlog.close()
    database = Path(filled.store.uri) / "mlflow.db"
    client = client_of(database)
    children = by_record(database)
    half_written = children["search-digits-magnitude-00000-0"].info.run_id
    client.update_run(half_written, status="RUNNING")
    # The failed trial is tried again and succeeds.
    again, result = filled.add("magnitude", 2, a_variant("98", 0.93, 0.1))
    filled.folder.put_record(again, replace=True)

    assert track(filled, [(again, result)], execution="next") is None
    statuses = {run.data.tags["execution"]: run.info.status for run in runs_of(database, "execution")}
    assert statuses == {"killed": "KILLED", "next": "FINISHED"}
    now = by_record(database)
    assert len(runs_of(database)) == len(now) == 4
    assert now["search-digits-magnitude-00000-0"].info.run_id != half_written
    assert now["search-digits-magnitude-00002-0"].data.metrics["val_accuracy"] == 0.93
    dense = "search-digits-dense-00000-0"
    assert now[dense].info.run_id == children[dense].info.run_id


@pytest.mark.service
def test_interrupted_execution_is_shown_as_killed(filled: FilledStore) -> None:
    add_typical_records(filled)
    tracker = open_tracker("sqlite", store_uri=filled.store.uri)
    tracker.start(STUDY, execution_id="first", tags={}, params={})
    tracker.finish(status="interrupted")
    (parent,) = runs_of(Path(filled.store.uri) / "mlflow.db", "execution")
    assert (parent.info.status, parent.data.tags["status"]) == ("KILLED", "interrupted")


def test_importing_and_opening_load_no_mlflow(tmp_path: Path) -> None:
    code = (
        "import sys; from orchestrator.tracking import open_tracker; "
        f"open_tracker('sqlite', store_uri={str(tmp_path)!r}); print('mlflow' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_tracking_none_does_nothing(filled: FilledStore) -> None:
    tracker = open_tracker("none", store_uri=filled.store.uri)
    assert isinstance(tracker, NullTracker)
    assert isinstance(open_tracker(None, store_uri=filled.store.uri), NullTracker)
    assert track(filled, add_typical_records(filled), "none") is None
    assert not (Path(filled.store.uri) / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("uri", "store_uri", "message"),
    [("sqlite", "s3://bucket/results", "needs a store in a local folder"), ("./mlruns", ".", "it is sqlite, none")],
)
def test_impossible_tracking_is_refused_at_once(uri: str, store_uri: str, message: str) -> None:
    with pytest.raises(ServiceMissing, match=message):
        open_tracker(uri, store_uri=store_uri)


def test_sync_names_what_is_wrong_before_it_reaches_for_mlflow(filled: FilledStore) -> None:
    with pytest.raises(ServiceMissing, match="tracking: none"):
        sync(filled.store, STUDY, "none")
    with pytest.raises(UnknownRecord, match="no study 'other'"):
        sync(filled.store, "other", "sqlite")
    with filled.folder.lock("a coordinator"), pytest.raises(StoreLocked):
        sync(filled.store, STUDY, "sqlite")


def test_regression_run_has_regression_metrics_and_never_too_many_charts() -> None:
    filled_variant = a_variant("dense", 0.0, 1.0, validation={"r2": 0.8, "mse": 2.5})
    columns = {"epoch": [0], **{f"value_{number}": [1.0] for number in range(40)}}
    run = Run(task_name="t", task=TASK, data_fingerprint="f", method="dense", seed=0)
    result = RunResult(
        key=run.key,
        run=run,
        variants=(filled_variant,),
        epochs=1,
        fit_seconds=1,
        grade_seconds=1,
        finished_at="2026-01-01T00:00:00Z",
    )
    fields = {"study": STUDY, "task_name": "t", "method": "dense", "trial": 0, "seed": 0, "phase": "search"}
    tracked = TrackedRun(
        record=Record.model_validate(fields | {"run": run, "status": "finished"}),
        result=result,
        headline=filled_variant,
        measure="stored_bytes",
        test={
            **{"r2": 0.7, "mse": 3.0, "latency_ms_1": float("nan")},
            **{"latency_sparse_ms_1": 0.2, "latency_sparse_ms_256": 4.0},
        },
        curves=lambda: pa.table(columns),
    )
    points = {point.key: point.value for point in [*tracked.points(now_ms=0), *tracked.test_points(now_ms=0)]}
    assert {"val_r2": 0.8, "val_mse": 2.5, "test_r2": 0.7, "test_mse": 3.0, "size_ratio": 1.0}.items() <= points.items()
    assert (points["latency_ms_1"], points["latency_sparse_ms_1"]) == (0.5, 0.2)
    assert "val_accuracy" not in points
    assert len(points) == MAX_METRICS


def test_modular_run_has_its_modules_and_never_too_many_charts(tmp_path: Path) -> None:
    filled = FilledStore(tmp_path)
    whole = a_variant("whole", 0.9, 1.0)
    run = Run(task_name="digits", task=TASK, data_fingerprint="f", method="activation_driven", seed=0)
    modules = make_modules(size=0.08, overlap=0.05, accuracy={2: 0.98, 3: 0.96, 10: 0.88}, settings={"threshold": 0.9})
    filled.store.put_curves(run.key, pa.table({"epoch": [0], **{f"value_{number}": [1.0] for number in range(40)}}))
    filled.store.put_outcome(make_result(run, [whole], modules=modules))
    fields = {"study": STUDY, "task_name": "digits", "method": "moda", "trial": 0, "seed": 0, "phase": "confirm"}
    record = Record.model_validate(fields | {"run": run, "status": "finished"})
    stored = StoredRuns(filled.store, STUDY)
    before = stored.shape(record, None)
    assert before.test_points(now_ms=0) == []
    rows = {f"{run.key}/whole": {"accuracy": 0.87, "macro_f1": 0.86, "subtask_accuracy_2": 0.99}}
    rows[f"{run.key}/{COMPOSED_ROW}"] = {"subtask_accuracy_2": 0.97, "subtask_accuracy_3": 0.93}
    filled.folder.put_test({"opened_at": "", "opened_by": "", "rows": rows})
    stored.refresh()
    tracked = stored.shape(record, None)
    points = tracked.points(now_ms=0)
    values = {point.key: point.value for point in [*points, *tracked.test_points(now_ms=0)]}
    expected = {"module_size": 0.08, "module_overlap": 0.05, "kernel_retention": 0.3, "reuse_accuracy": 0.94}
    expected |= {"test_reuse_accuracy": 0.95}
    assert {name: values[name] for name in expected} == pytest.approx(expected)
    assert values["test_accuracy"] == 0.87
    series = [(point.step, point.value) for point in points if point.key == "subtask_accuracy"]
    assert series == [(2, 0.98), (3, 0.96), (10, 0.88)]
    still_to_come = {"latency_sparse_ms_1", "latency_sparse_ms_256"} - set(values)
    assert len(values) + len(still_to_come) == MAX_METRICS


@pytest.mark.service
@pytest.mark.parametrize("kind", ["whole", "composed"])
def test_a_model_of_modules_says_how_to_get_the_plain_network(tmp_path: Path, kind: str) -> None:
    from mlflow.artifacts import download_artifacts

    filled = FilledStore(tmp_path)
    rows = [filled.add("magnitude", 0, a_variant("90", 0.955, 0.2, kind=kind), seed=1, phase="confirm")]
    assert track(filled, rows) is None
    (model,) = models_of(Path(filled.store.uri) / "mlflow.db")
    folder = Path(download_artifacts(artifact_uri=model.artifact_location, dst_path=str(tmp_path)))
    assert ("side_by_side.as_network" in (folder / "README.md").read_text()) == (kind == "composed")


def _eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()
