"""Two calls of MLflow's client in the form that is needed everywhere here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.tracking.tracked_run import Point

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def log_points(
    client: MlflowClient, run_id: str, points: Sequence[Point], params: Mapping[str, str] | None = None
) -> None:
    """Add metrics and parameters to a run in one go."""
    from mlflow.entities import Metric, Param

    metrics = [Metric(point.key, point.value, point.at_ms, point.step) for point in points]
    client.log_batch(run_id, metrics, [Param(key, value) for key, value in (params or {}).items()])


def search_runs(client: MlflowClient, experiment_id: str, condition: str) -> Iterator[Run]:
    """Runs of an experiment, newest first."""
    token = None
    while True:
        page = client.search_runs([experiment_id], condition, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
