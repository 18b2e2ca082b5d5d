"""MLflow's real pages of a real study, as reviewers meet them; screenshots lie in pytest's folder of the test."""

from __future__ import annotations

import json
import re
import sqlite3
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from methods import artefact
from methods.measure import predict
from methods.measure.quality import classification_quality
from orchestrator.samples import task_of
from orchestrator.store import Store
from tests.orchestrator.browser.conftest import Reviewed

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.service

_TRAINING = "workflowType=machine_learning"


def _ids(reviewed: Reviewed, key: str, value: str) -> list[str]:
    """Runs with a tag, by name."""
    with sqlite3.connect(f"file:{reviewed.store / 'mlflow.db'}?mode=ro", uri=True) as database:
        rows = database.execute(
            "select r.run_uuid from runs r join tags t on t.run_uuid = r.run_uuid where t.key = ? and t.value = ? "
            "order by r.name",
            (key, value),
        )
        return [row[0] for row in rows]


def _open(page: Page, address: str, wanted: str) -> str:
    """The text of a page, once it shows what is wanted."""
    page.goto(address)
    page.get_by_text(re.compile(wanted)).first.wait_for(timeout=30_000)
    return page.inner_text("body")


def _seen(page: Page, path: Path) -> None:
    """A screenshot that shows something: a blank page compresses to next to nothing."""
    page.screenshot(path=str(path))
    assert path.stat().st_size > 20_000


def test_the_experiment_opens_with_its_question_and_a_single_parent(
    page: Page, reviewed: Reviewed, tmp_path: Path
) -> None:
    text = _open(page, reviewed.address, "small")
    assert "Does a small study run end to end?" in text, "the list of experiments shows the question"
    text = _open(page, reviewed.at(f"/experiments/1/runs?{_TRAINING}"), r"small, \d{4}-\d\d-\d\d")
    assert not re.search(r"#\d+ seed", text), "children are folded under their parent"
    page.locator("[role=gridcell][col-id*='Run Name'] button").first.click()
    page.get_by_text(re.compile(r"magnitude #\d+ seed \d")).first.wait_for(timeout=15_000)
    _seen(page, tmp_path / "experiment.png")


def test_the_parent_shows_picture_table_and_report(page: Page, reviewed: Reviewed, tmp_path: Path) -> None:
    (parent,) = _ids(reviewed, "kind", "execution")
    text = _open(page, reviewed.at(f"/experiments/1/runs/{parent}/artifacts"), "report.html")
    assert {"report.html", "pareto.png", "results.parquet"} <= set(text.split())
    page.get_by_text("pareto.png").first.click()
    page.locator("img[src^=blob], img[src*=pareto]").first.wait_for(timeout=15_000)
    _seen(page, tmp_path / "picture.png")
    page.get_by_text("report.html").first.click()
    frame = page.frame_locator("iframe").first
    frame.get_by_text("What it says").wait_for(timeout=15_000)
    _seen(page, tmp_path / "report.png")


def test_children_have_readable_names_and_tags_filter_them(page: Page, reviewed: Reviewed, tmp_path: Path) -> None:
    wanted = urllib.parse.quote("tags.method = 'hypersparse' and tags.phase = 'confirm'")
    text = _open(
        page,
        reviewed.at(f"/experiments/1/runs?{_TRAINING}&searchFilter={wanted}&orderByKey=metrics.`val_accuracy`"),
        r"hypersparse #\d+ seed \d",
    )
    assert len(re.findall(r"hypersparse #\d+ seed \d", text)) == len(
        set(_ids(reviewed, "method", "hypersparse")) & set(_ids(reviewed, "phase", "confirm"))
    )
    assert "magnitude #" not in text
    _seen(page, tmp_path / "filtered.png")


def test_the_prepared_view_draws_accuracy_against_size_of_several_methods(
    page: Page, reviewed: Reviewed, tmp_path: Path
) -> None:
    view = f"/experiments/1/runs?{_TRAINING}&viewStateShareKey=confirmed&compareRunsMode=CHART"
    text = _open(page, reviewed.at(view), "size_ratio vs. val_accuracy")
    # The first chart of the page is ours; below come those that MLflow draws of each metric.
    points = page.locator(".js-plotly-plot").first.locator(".scatterlayer .point")
    points.first.wait_for(state="attached", timeout=30_000)
    assert points.count() == len(_ids(reviewed, "phase", "confirm"))
    assert {"dense", "magnitude", "hypersparse"} <= set(re.findall(r"(\w+) #\d", text))
    _seen(page, tmp_path / "chart.png")


def test_runs_of_several_methods_can_be_laid_side_by_side(page: Page, reviewed: Reviewed, tmp_path: Path) -> None:
    chosen = _ids(reviewed, "phase", "confirm")
    runs, experiments = (urllib.parse.quote(json.dumps(given)) for given in (chosen, ["1"]))
    text = _open(page, reviewed.at(f"/compare-runs?runs={runs}&experiments={experiments}"), "Run details")
    names = re.findall(r"(\w+) #\d+ seed \d", text)
    assert len(names) == len(chosen)
    assert {"dense", "magnitude", "hypersparse"} == set(names)
    assert "accuracy_by_size" in text
    page.get_by_text("Scatter Plot").click()
    # This chart is drawn by the graphics card's rules, so that its points are no elements of the page.
    plot = page.locator(".js-plotly-plot:has(canvas)").first
    plot.wait_for(state="visible", timeout=30_000)
    assert "accuracy_by_size" in plot.inner_text()
    _seen(page, tmp_path / "compared.png")


def test_a_logged_variant_gives_its_recorded_accuracy(page: Page, reviewed: Reviewed, tmp_path: Path) -> None:
    text = _open(page, reviewed.at(f"/experiments/1/models?{_TRAINING}"), r"magnitude-\d+-seed-\d")
    _seen(page, tmp_path / "models.png")
    assert "hypersparse" in text
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    uri = f"sqlite:///{reviewed.store / 'mlflow.db'}"
    models = MlflowClient(uri).search_logged_models(experiment_ids=["1"])
    model = next(one for one in models if one.name.startswith("hypersparse"))
    folder = Path(download_artifacts(artifact_uri=model.artifact_location, dst_path=str(tmp_path / "model")))
    network = artefact.decode((folder / "artefact.safetensors.zst").read_bytes())
    task = task_of(Store.open(str(reviewed.store), read_only=True).finished_run(model.tags["run_key"]))
    scores = predict(network, task.validation, normalization=task.normalization, device="cpu")
    found = classification_quality(
        scores.argmax(dim=1), task.validation.targets, class_names=task.info.class_names
    ).values["accuracy"]
    recorded = {metric.key: metric.value for metric in model.metrics}["val_accuracy"]
    assert found == pytest.approx(recorded)
