"""What leads a reader through MLflow's pages: notes on experiment and parent run, and a prepared view. Pure."""

from __future__ import annotations

import json
from urllib.parse import quote

NOTE_TAG = "mlflow.note.content"
"""Markdown that MLflow shows on the page of an experiment or a run; people may write their own there."""
_VIEW = "confirmed"
VIEW_TAG = f"mlflow.sharedViewState.{_VIEW}"
"""Where MLflow's own button "Share view" keeps a view (3.17). A version that cannot read it shows its default view."""
_TRAINING = "workflowType=machine_learning"
"""MLflow's pages open for language-model traces otherwise."""


def experiment_note(experiment_id: str, question: str) -> str:
    """The question and where to look. It opens with plain text, which is all that the list of experiments shows."""
    place = f"#/experiments/{experiment_id}"
    view = f"{place}/runs?{_TRAINING}&viewStateShareKey={_VIEW}"
    return f"""{question or "A comparison of methods that make networks smaller."}

- [Accuracy against size]({view}&compareRunsMode=CHART): a point for each confirmed run
- [Confirmed runs]({view}), the most accurate first: the best configurations, trained once per seed
- Figures that a method recorded while it trained: artifacts `figures/` of its confirmed runs with the first seed
- [Runs of the search]({_runs(place, "phase", "search")}), the smallest first; `#3` is a trial, a configuration
- [Models]({place}/models?{_TRAINING}): the networks of the confirmed runs, to download
- [Executions]({_runs(place, "kind", "execution")}): each with report, picture and table among its artifacts

`size_ratio` is the size as a share of the dense network's. `accuracy_by_size` has the size in thousandths as its step;
of a regression it is R2, and `..._mse` is the mean squared error in the square of the target's unit. Of runs with class
modules, `reuse_accuracy` is that of their compositions, and `subtask_accuracy` has the number of classes as its step.
`test_...` was measured once, at the end; choices were made by `val_...`. Seeds differ: read single runs with care, the
report gives means and intervals.
"""


def parent_note(run_id: str, question: str, *, picture: str) -> str:
    """The question, which may be empty, the artifact `picture`, and what else the parent run carries."""
    return f"""{question}

Under Artifacts: `report.html`, the comparison in full; `results.parquet`, a row for each network and seed;
`subtasks.parquet`, a row for each number of classes; `reuse.parquet`, where class modules were tried in other networks;
of studies with class modules `modules.png`, their accuracy against their size. The child runs are the trainings; the
note of the experiment leads to them.

![accuracy against size](get-artifact?path={quote(picture)}&run_uuid={run_id})
"""


def confirmed_view(score: str) -> str:
    """Confirmed runs as a table and as a chart of `score` (a metric's name) against size, in MLflow's JSON."""
    section = {"uuid": "front", "name": "Accuracy against size", "display": True, "columns": 1, "cardHeight": 480}
    chart = {
        "type": "SCATTER",
        "uuid": "front",
        "metricSectionId": "front",
        "runsCountToCompare": 100,
        "xaxis": {"key": "size_ratio", "type": "METRIC"},
        "yaxis": {"key": score, "type": "METRIC"},
    }
    off = {"isReordered": False, "isGenerated": False, "deleted": False}
    test = score.replace("val_", "test_")
    errors = ("val_mse", "test_mse") if score == "val_r2" else ()
    columns = [f"metrics.`{name}`" for name in (score, test, *errors, "size_ratio", "stored_bytes")]
    return json.dumps(
        {
            "searchFilter": "tags.phase = 'confirm'",
            "orderByKey": f"metrics.`{score}`",
            "orderByAsc": False,
            "selectedColumns": [*columns, *(f"tags.`{name}`" for name in ("task", "method"))],
            "runsHiddenMode": "SHOW_ALL",
            "compareRunSections": [section | off],
            "compareRunCharts": [chart | off],
        }
    )


def _runs(place: str, tag: str, value: str) -> str:
    # Sorted by anything but the time, runs come as a flat list and not folded under their parent.
    found = quote(f"tags.{tag} = '{value}'", safe=""), quote("metrics.`size_ratio`", safe="")
    return f"{place}/runs?{_TRAINING}&searchFilter={found[0]}&orderByKey={found[1]}&orderByAsc=true"
