"""What leads a reader through MLflow's pages: notes on experiment and runs, and prepared views. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Mapping
from urllib.parse import quote

from orchestrator.report.words import percent, score
from orchestrator.tracking.tracked_run import TrackedRun

NOTE_TAG = "mlflow.note.content"
"""Markdown that MLflow shows on the page of an experiment or a run; people may write their own there."""
MOST_CHARACTERS = 8000
"""Of a run's tag; what MLflow (3.17) is given beyond that it cuts off and says nothing."""
_VIEW_TAG = "mlflow.sharedViewState."
"""Where MLflow's own button "Share view" keeps a view (3.17). A version that cannot read it shows its default view."""
_TRAINING = "workflowType=machine_learning"
"""MLflow's pages open for language-model traces otherwise."""


def experiment_note(experiment_id: str, question: str, *, tasks: Collection[str]) -> str:
    """The question and where to look. It opens with plain text, which is all that the list of experiments shows."""
    place = f"#/experiments/{experiment_id}"
    views = "\n".join(_leads_to_confirmed(place, task, alone=len(tasks) == 1) for task in tasks)
    return f"""{question or "A comparison of methods that make networks smaller."}

{views}
- Figures that a method recorded while it trained: artifacts `figures/` of its confirmed runs with the first seed
- [Runs of the search]({_runs(place, "phase", "search")}), the smallest first; `#3` is a trial, a configuration
- [Models]({place}/models?{_TRAINING}): the networks of the confirmed runs, to load or to download
- [Executions]({_runs(place, "kind", "execution")}): each with report, picture and table among its artifacts

{_EXPLAINED}
"""


_EXPLAINED = (
    "`size_ratio` is the size as a share of the dense network's. `accuracy_by_size` has the size in thousandths as "
    "its step; of a regression it is R2, and `..._mse` is the mean squared error in the square of the target's unit. "
    "Of runs with class modules, `reuse_accuracy` is that of their compositions, and `subtask_accuracy` has the "
    "number of classes as its step. `test_...` was measured once, at the end; choices were made by `val_...`. A "
    "method has the colour of the report. Seeds differ: read single runs with care, the report gives means and "
    "intervals."
)
"""In one line, as MLflow breaks lines where the source does."""


def parent_note(experiment_id: str, run_id: str, question: str, *, table: str, picture: str | None) -> str:
    """What a reader of the parent run wants first: the question, the answer, where the rest is.

    Args:
        experiment_id: Of the run.
        run_id: Of the run.
        question: May be empty.
        table: The comparison in Markdown; empty while nothing can be compared.
        picture: Name of the artifact that shows accuracy against size.
    """
    artifacts = f"#/experiments/{experiment_id}/runs/{run_id}/artifacts"
    tables = "`comparison.md` is the comparison as a table; " if table else ""
    leads = (
        f"**[The report]({artifacts}/report.html)** is the artifact `report.html`: intervals, who differs from whom, "
        f"every configuration, all runs. {tables}`results.parquet` has a row for each network and seed, "
        "`subtasks.parquet` a row for each number of classes, `reuse.parquet` one for each class module tried in "
        "another network; of studies with class modules `modules.png` is their accuracy against their size. The child "
        "runs are the trainings; the note of the experiment leads to them."
    )
    shown = f"![accuracy against size](get-artifact?path={quote(picture)}&run_uuid={run_id})" if picture else ""
    note = "\n\n".join(part for part in (question, table.strip(), leads, shown) if part) + "\n"
    if len(note) <= MOST_CHARACTERS:
        return note
    elsewhere = f"The comparison is too long for a note: [comparison.md]({artifacts}/comparison.md)."
    return "\n\n".join(part for part in (question, elsewhere, leads, shown) if part)[:MOST_CHARACTERS]


def run_note(run: TrackedRun, *, store: str) -> str:
    """One child run in words, and how to train it again."""
    record = run.record
    stage = "confirmed: its configuration was chosen by the search" if record.phase == "confirm" else "of the search"
    lines = [f"{record.method}, trial {record.trial} on task {record.task_name}, seed {record.seed}; {stage}."]
    if run.headline is not None:
        metric = "accuracy" if "accuracy" in run.headline.validation else "R2"
        size = percent(run.headline.ratio(run.measure))
        lines.append(
            f"Validation {metric} {score(run.headline.score)} at {size} of the dense network's "
            f"{run.measure.replace('_', ' ')}."
        )
    else:
        lines.append(f"It {record.status.replace('_', ' ')}: {record.reason or 'no reason was recorded'}.")
    if record.status == "finished":
        lines.append(f"\nAgain: `pare rerun {record.run.key} --store {shlex.quote(store)}`")
    return "\n".join(lines) + "\n"


def confirmed_views(scores: Mapping[str, str]) -> dict[str, str]:
    """A view of the confirmed runs of each task: as a table and as charts of accuracy against size.

    Args:
        scores: Task -> the metric that says how good a network is there.

    Returns:
        Tag -> view in MLflow's JSON.
    """
    return {f"{_VIEW_TAG}{_view(task)}": json.dumps(_confirmed(task, metric)) for task, metric in scores.items()}


def _confirmed(task: str, metric: str) -> dict[str, object]:
    off = {"isReordered": False, "isGenerated": False, "deleted": False}
    section = {"uuid": "front", "name": "Accuracy against size", "display": True, "columns": 1, "cardHeight": 480}
    place = {"metricSectionId": "front", "runsCountToCompare": 100, **off}
    points = {
        "type": "SCATTER",
        "uuid": "points",
        "xaxis": {"key": "size_ratio", "type": "METRIC"},
        "yaxis": {"key": metric, "type": "METRIC"},
    }
    series = {
        "type": "LINE",
        "uuid": "series",
        "metricKey": "accuracy_by_size",
        "selectedMetricKeys": ["accuracy_by_size"],
        "xAxisKey": "step",
        "useGlobalXaxisKey": False,
        "scaleType": "linear",
        "displayPoints": True,
        "lineSmoothness": 0,
        "useGlobalLineSmoothing": False,
    }
    test = metric.replace("val_", "test_")
    errors = ("val_mse", "test_mse") if metric == "val_r2" else ()
    columns = [f"metrics.`{name}`" for name in (metric, test, *errors, "size_ratio", "stored_bytes")]
    return {
        "searchFilter": f"tags.phase = 'confirm' and tags.task = '{task}'",
        "orderByKey": f"metrics.`{metric}`",
        "orderByAsc": False,
        "selectedColumns": [*columns, "tags.`method`"],
        "runsHiddenMode": "SHOW_ALL",
        "compareRunSections": [section | off],
        "compareRunCharts": [points | place, series | place],
    }


def _leads_to_confirmed(place: str, task: str, *, alone: bool) -> str:
    view = f"{place}/runs?{_TRAINING}&viewStateShareKey={_view(task)}"
    of_task = "" if alone else f"{task}: "
    return (
        f"- {of_task}[Accuracy against size]({view}&compareRunsMode=CHART), a point for each confirmed run; "
        f"[the runs]({view}), the most accurate first: the best configurations, trained once per seed"
    )


def _view(task: str) -> str:
    return f"confirmed-{task}"


def _runs(place: str, tag: str, value: str) -> str:
    # Sorted by anything but the time, runs come as a flat list and not folded under their parent.
    found = quote(f"tags.{tag} = '{value}'", safe=""), quote("metrics.`size_ratio`", safe="")
    return f"{place}/runs?{_TRAINING}&searchFilter={found[0]}&orderByKey={found[1]}&orderByAsc=true"
