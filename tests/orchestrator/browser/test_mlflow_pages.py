"""What a reviewer meets in MLflow's own pages: names, artifacts, children, charts, models."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pytest
import torch

from methods.data.normalise import normalise
from orchestrator.report.marks import INK, LIGHT
from orchestrator.study_data import load_tasks
from tests.orchestrator.browser.screens import shoot

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.orchestrator.browser.conftest import Tracked

pytestmark = [pytest.mark.service, pytest.mark.browser]

RUN_NAME = re.compile(r"(dense|magnitude|hypersparse) #\d+ seed [01]( search)?")
RUN_LINKS = ".ag-row a[href*='/runs/']"


def names(page: Page) -> list[str]:
    """Of the runs in the table."""
    return page.locator(RUN_LINKS).all_inner_texts()


def parent_of(tracked: Tracked, study: str) -> Any:
    (parent,) = tracked.runs(study, "tags.kind = 'execution'")
    return parent


def test_an_experiment_has_the_studys_name_and_question(tracked: Tracked, page: Page, tmp_path: Path) -> None:
    page.goto(f"{tracked.address}#/experiments?workflowType=machine_learning")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="small", exact=True))
    row.wait_for()
    assert "Does a small study" in row.inner_text()
    shoot(page, tmp_path / "experiments.png")


def test_children_lie_under_their_parent_with_readable_names(tracked: Tracked, page: Page, tmp_path: Path) -> None:
    page.goto(tracked.url("small", "runs"))
    page.locator(RUN_LINKS).first.wait_for()
    assert [re.sub(r", 20\d\d-.*", "", name) for name in names(page)] == ["small"]
    page.locator(".ag-row[row-index='0'] button").first.click()
    page.locator(RUN_LINKS).nth(1).wait_for()
    parent, *children = names(page)
    assert parent.startswith("small, 20")
    assert len(children) == len(tracked.runs("small", "tags.kind = 'run'"))
    assert [name for name in children if not RUN_NAME.fullmatch(name)] == []
    shoot(page, tmp_path / "runs.png")


def test_runs_are_found_by_their_tags(tracked: Tracked, page: Page, tmp_path: Path) -> None:
    page.goto(tracked.url("small", "runs"))
    page.locator(RUN_LINKS).first.wait_for()
    search = page.get_by_test_id("search-box")
    condition = "tags.method = 'magnitude' and tags.phase = 'confirm' and tags.seed = '1'"
    search.fill(condition)
    search.press("Enter")
    expected = tracked.runs("small", condition)
    # Sorted by time, as at first, they lie under their parent.
    page.get_by_text(f"{len(expected) + 1} matching runs").wait_for()
    page.locator(".ag-row[row-index='0'] button").first.click()
    page.locator(RUN_LINKS).nth(1).wait_for()
    assert sorted(names(page)[1:]) == sorted(run.info.run_name for run in expected)
    shoot(page, tmp_path / "filtered.png")


def test_the_parent_run_answers_the_question_first(tracked: Tracked, page: Page, tmp_path: Path) -> None:
    run_id = parent_of(tracked, "small").info.run_id
    page.goto(tracked.url("small", f"runs/{run_id}"))
    page.get_by_text("Show more").click()
    table = page.locator("table").filter(has=page.get_by_role("cell", name="hypersparse"))
    for name in ("dense", "magnitude", "hypersparse"):
        assert table.get_by_role("cell", name=name, exact=True).count() == 1
    assert table.get_by_role("columnheader").all_inner_texts()[:2] == ["method", "at 5 %"]
    picture = page.locator("img[src*='accuracy_by_size.png']")
    picture.scroll_into_view_if_needed()
    page.wait_for_function("image => image.naturalWidth > 400", arg=picture.element_handle())
    seen, whole = picture.evaluate("image => [image.closest('div').clientWidth, image.clientWidth]")
    assert whole <= seen  # none of it is cut off
    shoot(page, tmp_path / "parent.png")
    report = page.get_by_role("link", name="The report").get_attribute("href")
    assert report is not None
    assert report.endswith(f"/runs/{run_id}/artifacts/report.html")


def test_picture_table_and_report_are_shown_among_the_parents_artifacts(
    tracked: Tracked, page: Page, tmp_path: Path
) -> None:
    page.goto(tracked.url("small", f"runs/{parent_of(tracked, 'small').info.run_id}/artifacts"))
    page.get_by_text("pareto.png").click()
    picture = page.locator("img[src*='pareto.png'], img[src^='blob:']").first
    picture.wait_for()
    page.wait_for_function("image => image.naturalWidth > 400", arg=picture.element_handle())
    shoot(page, tmp_path / "picture.png")
    page.get_by_text("comparison.md").click()
    page.get_by_role("cell", name="hypersparse", exact=True).wait_for()
    shoot(page, tmp_path / "table.png")
    page.get_by_text("report.html").click()
    report = page.frame_locator("iframe")
    report.get_by_role("heading", name="What it says").wait_for()
    assert report.get_by_role("heading", level=1).inner_text() == "small"
    shoot(page, tmp_path / "report.png")


def drawn(page: Page) -> list[dict[str, Any]]:
    """The data of each chart that is seen, as it was given to the drawing library."""
    found: list[dict[str, Any]] = page.evaluate(
        """() => [...document.querySelectorAll('.js-plotly-plot')].map(chart => ({
            axis: chart.layout.xaxis.title.text,
            points: chart.querySelectorAll('.point').length,
            traces: chart.data.map(one => ({name: one.name, x: [...one.x], y: [...one.y], color: one.marker?.color})),
        }))"""
    )
    return found


def test_comparing_methods_draws_accuracy_against_size(tracked: Tracked, page: Page, tmp_path: Path) -> None:
    page.goto(tracked.url("small", "runs", viewStateShareKey="confirmed-digits", compareRunsMode="CHART"))
    page.wait_for_function("() => document.querySelectorAll('.js-plotly-plot .point').length > 0")
    page.wait_for_function("() => [...document.querySelectorAll('.js-plotly-plot')].some(c => c.data.length > 1)")
    shoot(page, tmp_path / "charts.png")
    confirmed = tracked.runs("small", "tags.phase = 'confirm'")
    assert {run.data.tags["method"] for run in confirmed} == {"dense", "magnitude", "hypersparse"}
    points, series = drawn(page)[:2]
    assert (points["axis"], points["points"]) == ("size_ratio", len(confirmed))
    expected = sorted((run.data.metrics["size_ratio"], run.data.metrics["val_accuracy"]) for run in confirmed)
    assert sorted(zip(points["traces"][0]["x"], points["traces"][0]["y"], strict=True)) == expected

    assert series["axis"] == "Step"
    of_runs = {trace["name"]: trace for trace in series["traces"] if trace["name"]}
    colours = {"dense": INK, "hypersparse": LIGHT[0], "magnitude": LIGHT[1]}
    for run in confirmed:
        history = tracked.client.get_metric_history(run.info.run_id, "accuracy_by_size")
        trace = of_runs[run.info.run_name]
        assert list(zip(trace["x"], trace["y"], strict=True)) == [(one.step, one.value) for one in history]
        assert trace["color"][:7] == colours[run.data.tags["method"]]  # and how opaque it is


def test_runs_of_several_methods_can_be_laid_side_by_side(tracked: Tracked, page: Page, tmp_path: Path) -> None:
    confirmed = [run.info.run_id for run in tracked.runs("small", "tags.phase = 'confirm'")]
    runs, experiments = (quote(json.dumps(given)) for given in (confirmed, [tracked.experiment_id("small")]))
    page.goto(f"{tracked.address}#/compare-runs?runs={runs}&experiments={experiments}")
    page.get_by_text("Run details").wait_for()
    text = page.locator("body").inner_text()
    assert len(re.findall(r"(\w+) #\d+ seed \d", text)) == len(confirmed)
    assert set(re.findall(r"(\w+) #\d+ seed \d", text)) == {"dense", "magnitude", "hypersparse"}
    page.get_by_text("Scatter Plot").click()
    # This chart is drawn on a canvas, so that its points are no elements of the page.
    plot = page.locator(".js-plotly-plot:has(canvas)").first
    plot.wait_for(state="visible")
    assert "accuracy_by_size" in plot.inner_text()
    shoot(page, tmp_path / "compared.png")


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred")  # of MLflow about itself, when it is imported
def test_a_logged_model_loaded_through_mlflow_has_its_recorded_accuracy(
    tracked: Tracked, page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.goto(tracked.url("small", "models"))
    (run, *_) = tracked.runs("small", "tags.phase = 'confirm' and tags.method = 'magnitude' and tags.seed = '0'")
    name = f"magnitude-{run.data.tags['trial']}-seed-0"
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_text("mlflow.pyfunc.load_model").wait_for()
    shoot(page, tmp_path / "model.png")
    (model_id,) = re.findall(r'load_model\("models:/(m-[0-9a-f]+)"\)', page.locator("body").inner_text())
    assert model_id == run.outputs.model_outputs[0].model_id

    import mlflow

    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    mlflow.set_tracking_uri(tracked.address)
    try:
        model = mlflow.pyfunc.load_model(f"models:/{model_id}")
    finally:
        mlflow.set_tracking_uri(None)
    data = load_tasks(tracked.small)["digits"]
    inputs = normalise(torch.from_numpy(np.array(data.validation_inputs)), data.normalization).numpy()
    outputs = model.predict(inputs)
    accuracy = float((outputs.argmax(axis=1) == data.validation_targets).mean())
    assert accuracy == pytest.approx(run.data.metrics["val_accuracy"], abs=1e-6)
    with pytest.raises(Exception, match="shape"):
        model.predict(inputs[:, :, :4])
