"""What MLflow is told of one record: name, tags, parameters, metrics. A pure projection of what the store holds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from methods.registry import UnknownMethod, config_class
from orchestrator.runs import GradedVariant, Record, RunResult

if TYPE_CHECKING:
    import pyarrow as pa

MAX_METRICS = 25
"""Of one run, each a chart: the pages of MLflow get slow with more."""


class Point(NamedTuple):
    """One value of a metric."""

    key: str
    value: float
    at_ms: int
    step: int = 0


@dataclass(frozen=True)
class TrackedRun:
    """One MLflow run in the making. Equal records, results and curves give equal runs, whenever they are made."""

    record: Record
    result: RunResult | None
    headline: GradedVariant | None
    """The variant whose figures are the run's metrics."""
    measure: str
    """The size that charts are drawn against; a field of `Sizes`."""
    test: Mapping[str, float]
    """What the test split said of the headline, of class modules also `reuse_accuracy`; empty before it is opened."""
    curves: Callable[[], pa.Table | None]
    """Reads the values per epoch; only called when the run is really written."""
    failed_at: str | None = None
    """UTC, ISO 8601, of the last failed attempt."""
    colour: str | None = None
    """`#rrggbb` of its method; None where that is not known."""

    @property
    def name(self) -> str:
        named = f"{self.record.method} #{self.record.trial} seed {self.record.seed}"
        # A confirmed trial has a run of the same seed.
        return f"{named} search" if self.record.phase == "search" else named

    @property
    def model_name(self) -> str:
        return f"{self.record.method}-{self.record.trial}-seed-{self.record.seed}"

    @property
    def identity(self) -> tuple[str, str]:
        """Two runs of one experiment that agree in this are the same run."""
        return self.record.id, self.record.run.key

    @property
    def mlflow_status(self) -> str:
        """A run stopped early did what the search asked of it: FINISHED, with the tag `status` to tell it apart.

        KILLED is for what was ended from outside.
        """
        return "FAILED" if self.record.status == "failed" else "FINISHED"

    @property
    def end_ms(self) -> int | None:
        """When the run ended, in milliseconds since 1970; None when the store does not say."""
        at = self.result.finished_at if self.result else self.failed_at
        return round(datetime.fromisoformat(at).timestamp() * 1000) if at else None

    @property
    def start_ms(self) -> int | None:
        seconds = self.result.fit_seconds if self.result else self.record.device_seconds
        return None if self.end_ms is None else self.end_ms - round(seconds * 1000)

    def tags(self) -> dict[str, str]:
        record = self.record
        tags = {
            "kind": "run",
            "study": record.study,
            "method": record.method,
            "task": record.task_name,
            "trial": str(record.trial),
            "seed": str(record.seed),
            "phase": record.phase,
            "run_key": record.run.key,
            "record": record.id,
            "status": record.status,
            "cached": str(record.cached).lower(),
            "variant": self.headline.label if self.headline else "",
            "git": self.result.environment.get("git", "") if self.result else "",
        }
        return tags | ({"reason": record.reason[:5000]} if record.reason else {})

    def parameters(self) -> dict[str, str]:
        """The whole configuration, defaults included, and what sets the headline apart within the run."""
        run = self.record.run
        config: Mapping[str, Any] = run.config
        # A stored run of a method that is no longer installed, or has other fields now, is still shown.
        with suppress(UnknownMethod, ImportError, ValueError):
            config = config_class(run.method)(**run.config).model_dump(mode="json")
        settings = self.headline.settings if self.headline else {}
        named = {**config, **{f"variant.{name}": value for name, value in settings.items()}}
        return {name: _text(value)[:500] for name, value in named.items()}

    def points(self, *, now_ms: int) -> list[Point]:
        """All metrics known when the run ended. Values that are no finite numbers are left out.

        Args:
            now_ms: Time of the values if the store does not say when the run ended.
        """
        at_ms = self.end_ms or now_ms
        points = self._figure_points(at_ms)
        if self.result:
            points += [
                Point("accuracy_by_size", variant.score, at_ms, round(1000 * variant.ratio(self.measure)))
                for variant in self.result.variants
                if variant.kind != "module"
            ]
            points += [
                Point("subtask_accuracy", one.accuracy, at_ms, one.num_classes)
                for one in (self.result.modules.subtasks if self.result.modules else ())
                if math.isfinite(one.accuracy)
            ]
        known = {point.key for point in points}
        # More come with the test: accuracy and F1, or R2 and the squared error, every latency not timed yet, and what
        # compositions of class modules reach.
        to_come = 2 + sum(key.startswith("latency_") and key not in known for key in _TEST_KEYS.values())
        to_come += "reuse_accuracy" in known
        num_charts = MAX_METRICS - len(known) - to_come
        return points + list(_curve_points(self.curves(), at_ms, limit=num_charts))

    def test_points(self, *, now_ms: int) -> list[Point]:
        """Metrics known only after the test, a millisecond later, so that latency timed again replaces the first."""
        named = {_TEST_KEYS[key]: value for key, value in self.test.items() if key in _TEST_KEYS}
        return [Point(key, value, (self.end_ms or now_ms) + 1) for key, value in named.items() if math.isfinite(value)]

    def model_points(self, *, now_ms: int) -> list[Point]:
        """Those of the run's metrics by which its network is chosen; the test's once they are known."""
        points = [*self._figure_points(self.end_ms or now_ms), *self.test_points(now_ms=now_ms)]
        return [point for point in points if point.key in _MODEL_KEYS]

    def _figure_points(self, at_ms: int) -> list[Point]:
        return [Point(key, value, at_ms) for key, value in self._figures() if math.isfinite(value)]

    def _figures(self) -> Iterator[tuple[str, float]]:
        # In MLflow's order, which is this one, what a run is judged by comes first.
        if self.result is not None and self.headline is not None:
            yield from self._measured(self.result, self.headline)
        yield "progress", self.record.progress
        yield "device_seconds", self.record.device_seconds

    def _measured(self, result: RunResult, headline: GradedVariant) -> Iterator[tuple[str, float]]:
        for key, name in (("accuracy", "val_accuracy"), ("r2", "val_r2"), ("mse", "val_mse"), ("macro_f1", "macro_f1")):
            if key in headline.validation:
                yield name, headline.validation[key]
        yield "size_ratio", headline.ratio(self.measure)
        for measure, size in headline.sizes.model_dump().items():
            yield measure, float(size)
        for batch_size, milliseconds in headline.latency_ms.items():
            yield f"latency_ms_{batch_size}", milliseconds
        yield "fit_seconds", result.fit_seconds
        yield "epochs", result.epochs
        if result.generator is not None:
            yield "generator_parameters", result.generator.parameters
        modules = result.modules
        if modules is not None:
            yield "module_size", modules.module_size
            yield "module_overlap", modules.overlap
            if modules.kernels_kept is not None:
                yield "kernel_retention", modules.kernels_kept
            if modules.reuse_accuracy is not None:
                yield "reuse_accuracy", modules.reuse_accuracy


_TEST_KEYS = {
    "accuracy": "test_accuracy",
    "macro_f1": "test_macro_f1",
    "r2": "test_r2",
    "mse": "test_mse",
    "reuse_accuracy": "test_reuse_accuracy",
    "latency_ms_1": "latency_ms_1",
    "latency_ms_256": "latency_ms_256",
    "latency_sparse_ms_1": "latency_sparse_ms_1",
    "latency_sparse_ms_256": "latency_sparse_ms_256",
}
_MODEL_KEYS = {
    *(f"{split}_{name}" for split in ("val", "test") for name in ("accuracy", "r2", "mse")),
    *("size_ratio", "stored_bytes", "nonzeros", "macs"),
}


_FIRST_CURVES = ("val_accuracy", "delivered_accuracy", "size")
"""What early stopping goes by; shown where there is room for a few curves only."""


def _curve_points(curves: pa.Table | None, at_ms: int, *, limit: int) -> Iterator[Point]:
    """One metric `epoch/<name>` for each of `limit` columns, first those that stopping goes by; gaps stay gaps."""
    if curves is None or "epoch" not in curves.column_names:
        return
    epochs = curves["epoch"].to_pylist()
    names = [name for name in curves.column_names if name != "epoch"]
    # Stable, so the others keep their order.
    for name in sorted(names, key=lambda name: name not in _FIRST_CURVES)[: max(0, limit)]:
        for epoch, value in zip(epochs, curves[name].to_pylist(), strict=True):
            if isinstance(value, int | float) and math.isfinite(value):
                yield Point(f"epoch/{name}", float(value), at_ms, int(epoch))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
