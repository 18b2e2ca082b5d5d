"""What a run recorded of itself, as artifacts of its MLflow run: a PNG per figure, and all of them as data."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from methods.figures import FIGURES
from orchestrator.report.chart_png import chart_png
from orchestrator.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDER = "figures"
MOST_PICTURES = 12
"""Of one run, about a tenth of a second each; what is beyond is in the data alone."""
_DATA = f"{FOLDER}/figures.json"


def put_figures(client: MlflowClient, store: Store, key: str, run_id: str) -> None:
    """Give a run its figures unless it has them; a run that recorded none gets nothing.

    Args:
        client: Answers.
        store: Holds the figures.
        key: Of the run in the store.
        run_id: Of the run in MLflow.

    Raises:
        StoreProblem: The store's figures cannot be read.
    """
    figures = store.read_figures(key)
    if not figures or any(item.path == _DATA for item in client.list_artifacts(run_id, FOLDER)):
        return
    with tempfile.TemporaryDirectory() as folder:
        for figure in figures[:MOST_PICTURES]:
            Path(folder, f"{figure.name}.png").write_bytes(chart_png(figure))
        client.log_artifacts(run_id, folder, FOLDER)
    # Last, as it says that the pictures are there; after a crash before this line they are drawn anew.
    client.log_text(run_id, FIGURES.dump_json(figures, indent=1).decode(), _DATA)
