"""Which runs' figures the page shows, where, and that they are folded away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from methods.figures import Heatmap, Line, LineChart
from orchestrator.comparison import TaskComparison, Terms, compare
from orchestrator.errors import StoreProblem
from orchestrator.report import write_report
from orchestrator.report.inside import shown_runs
from orchestrator.store import Store
from tests.orchestrator.constructed_study import ConstructedStudy
from tests.orchestrator.report.test_page import HOSTILE, Reader

CHART = LineChart(
    name="pull",
    title=HOSTILE,
    x_label="epoch",
    y_label=HOSTILE,
    lines=(Line(label=HOSTILE, x=(1.0, 2.0), y=(1.0, 2.0)), Line(label="other", x=(1.0,), y=(1.0,))),
)
MAP = Heatmap(name="m", title="Map", x_label="x", y_label="y", rows=(HOSTILE,), columns=("c",), values=((0.5,),))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.open(str(tmp_path))
    ConstructedStudy(store, seeds=(5, 1)).build({"digits": 0.981})
    return store


def _task(store: Store) -> tuple[TaskComparison, Terms]:
    comparison = compare(store, "made_up")
    return comparison.tasks[0], comparison.terms


def test_of_each_method_the_run_that_one_would_deploy_is_shown(store: Store) -> None:
    task, terms = _task(store)
    shown = {one.configuration.method: one for one in shown_runs(task, terms)}
    assert list(shown) == ["dense", "hypersparse", "magnitude", "scratch"]
    assert shown["dense"].configuration == task.dense
    for summary in task.methods:
        one = shown[summary.method]
        own = [found for found in task.configurations if found.method == summary.method]
        if summary.within_tolerance is not None:
            assert one.configuration == summary.within_tolerance
            assert "smallest within 0.01" in one.why
        else:
            assert one.configuration.validation.mean == max(found.validation.mean for found in own)
            assert "most accurate" in one.why
        assert (one.seed, one.run_key) == (5, one.configuration.run_keys[0])
        assert store.read_outcome(one.run_key).run.seed == 5  # type: ignore[union-attr]
    assert {bool(summary.within_tolerance) for summary in task.methods} == {True, False}, "both ways are tried"


def test_a_method_that_was_only_searched_has_no_run_to_show(store: Store) -> None:
    task, terms = _task(store)
    searched = replace(task, configurations=(), methods=tuple(replace(m, within_tolerance=None) for m in task.methods))
    assert [one.configuration.method for one in shown_runs(searched, terms)] == ["dense"]


def test_figures_are_on_the_page_folded_and_with_a_link_to_their_configuration(store: Store) -> None:
    task, terms = _task(store)
    before = Reader(write_report(store, "made_up").read_text())
    assert "Inside the methods" not in before.text
    one = shown_runs(task, terms)[1]
    store.put_figures(one.run_key, (CHART, MAP))
    html = write_report(store, "made_up").read_text()
    page = Reader(html)
    assert page.text.count("Inside the methods") == 1
    assert "2 figures" in page.text
    assert f"{one.why}, with seed 5." in page.text
    assert page.tags["figure"] == before.tags["figure"] + 2
    assert page.tags["details"] == before.tags["details"] + 1
    assert "<details open" not in html
    row = f"row-digits-hypersparse-{one.configuration.trial}-final"
    assert page.links.count(f"#{row}") == before.links.count(f"#{row}") + 1
    assert set(page.links) <= {f"#{place}" for place in page.ids}
    assert page.tags["script"] == page.tags["b"] == 0


def test_figures_of_other_runs_stay_out_of_the_page(store: Store) -> None:
    task, terms = _task(store)
    shown = {one.run_key for one in shown_runs(task, terms)}
    other = next(key for one in task.configurations for key in one.run_keys if key not in shown)
    store.put_figures(other, (CHART,))
    assert "Inside the methods" not in write_report(store, "made_up").read_text()


def test_figures_that_cannot_be_read_are_named_with_their_mend(store: Store, tmp_path: Path) -> None:
    one = shown_runs(*_task(store))[0]
    (tmp_path / "runs" / one.run_key / "figures.json").write_text("[{")
    with pytest.raises(StoreProblem, match=f"{one.run_key}/figures.json.*delete it"):
        write_report(store, "made_up")
