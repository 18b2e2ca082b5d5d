"""A study's results as one Arrow table: one row per delivered network and seed, one row per run that delivered none.

The columns are `COLUMNS`; nothing else defines them. A pure function of what the store holds: no store, no clock.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.errors import UnknownRecord
from orchestrator.runs import GradedVariant, Record, RunResult
from orchestrator.sizes import Sizes
from orchestrator.tolerance import within

SIZE_MEASURES = tuple(Sizes.model_fields)
"""The four sizes, in the order of `Sizes`."""


@dataclass(frozen=True)
class Column:
    """One column of the results table."""

    name: str
    type: pa.DataType
    description: str


COLUMNS = (
    Column("study", pa.string(), "Name of the study."),
    Column("task", pa.string(), "Name of the task within the study."),
    Column("method", pa.string(), "The method's label in the study."),
    Column("trial", pa.int64(), "Number of the configuration within its task and method."),
    Column("seed", pa.int64(), "Seed of the run."),
    Column("phase", pa.string(), "`search` (one seed, one trial) or `confirm` (a front member on every seed)."),
    Column("status", pa.string(), "`finished`, `stopped_early` or `failed`."),
    Column("reason", pa.string(), "Why the run failed or was stopped; empty when it finished."),
    Column("run_key", pa.string(), "Content key of the run: its address in the store."),
    Column("variant", pa.string(), "Label of the delivered network; null when the run delivered none."),
    Column("kind", pa.string(), "`whole`, `module` (serves some classes only) or `composed` of modules."),
    Column("headline", pa.bool_(), "Whether this is the network a user would deploy from the run."),
    Column("module_size", pa.float64(), "Of a modular run: parameters of a class module as a share of the whole."),
    Column("module_overlap", pa.float64(), "Of a modular run: parameters that two class modules share, likewise."),
    Column("kernels_kept", pa.float64(), "Of a modular run: convolution kernels that a class module keeps, 0 to 1."),
    Column(
        "generator_parameters",
        pa.int64(),
        "Of a run that generates networks of any width: numbers kept to draw them, beside which a network is small.",
    ),
    Column("config", pa.string(), "JSON of the method's fields that differ from their defaults."),
    Column("settings", pa.string(), "JSON of what sets this network apart within its run, e.g. its width."),
    Column("metric", pa.string(), "What the scores are: `accuracy` (classification) or `r2` (regression)."),
    Column("val_score", pa.float64(), "Score on validation, higher is better."),
    Column("test_score", pa.float64(), "Score on the locked test split; null until it is opened."),
    Column("val_accuracy", pa.float64(), "Share of validation samples classified rightly, 0 to 1."),
    Column("test_accuracy", pa.float64(), "Share of test samples classified rightly, 0 to 1."),
    Column("val_r2", pa.float64(), "Coefficient of determination on validation, at most 1."),
    Column("test_r2", pa.float64(), "Coefficient of determination on test, at most 1."),
    Column("val_mse", pa.float64(), "Mean squared error on validation."),
    Column("test_mse", pa.float64(), "Mean squared error on test."),
    Column("macro_f1", pa.float64(), "Unweighted mean over classes of F1 on validation."),
    Column("test_macro_f1", pa.float64(), "Unweighted mean over classes of F1 on test."),
    Column("parameters", pa.int64(), "Weights of the deployed network, zeros included."),
    Column("nonzeros", pa.int64(), "Weights of the deployed network that are not zero."),
    Column("stored_bytes", pa.int64(), "Bytes of the artefact as really written."),
    Column("macs", pa.int64(), "Multiply-accumulates of a forward pass for one sample, dense execution."),
    Column("parameters_ratio", pa.float64(), "Parameters as a share of the dense network's."),
    Column("nonzeros_ratio", pa.float64(), "Non-zeros as a share of the dense network's."),
    Column(
        "stored_bytes_ratio",
        pa.float64(),
        "Stored bytes as a share of the dense network's before training, whose weights pack a little better.",
    ),
    Column("macs_ratio", pa.float64(), "Multiply-accumulates as a share of the dense network's."),
    Column("latency_ms_1", pa.float64(), "Median milliseconds of a forward pass for 1 sample, on the run's device."),
    Column("latency_ms_256", pa.float64(), "Median milliseconds of a forward pass for 256 samples."),
    Column(
        "latency_sparse_ms_1",
        pa.float64(),
        "The same for 1 sample on a CPU that skips zero weights; null where that was not tried or not faster.",
    ),
    Column("latency_sparse_ms_256", pa.float64(), "The same for 256 samples; null likewise."),
    Column("epochs", pa.float64(), "Passes over the training samples really spent; null when the run did not finish."),
    Column("fit_seconds", pa.float64(), "Seconds the run trained, whichever study paid for it."),
    Column("device_seconds", pa.float64(), "Seconds of a device this study paid for the run; 0 when cached."),
    Column("cached", pa.bool_(), "Whether the result was in the store when it was asked for: nobody trained."),
    Column("finished_at", pa.string(), "When the run finished, UTC, ISO 8601."),
)

SCHEMA = pa.schema([pa.field(c.name, c.type, metadata={"description": c.description}) for c in COLUMNS])


def results_table(
    records: Sequence[Record],
    outcomes: Mapping[str, RunResult],
    test: Mapping[str, Any] | None,
    *,
    measure: str,
    tolerance: float,
) -> pa.Table:
    """Gather what a study has found so far.

    Args:
        records: The study's ledger, in any order.
        outcomes: Run key -> stored result, for every finished record.
        test: What the test phase stored, with `rows` from `<run key>/<variant>` to quality values and, if they were
            timed then, `latency_ms_1` and so on, as the columns are named; None before it.
        measure: The size (a field of `Sizes`) that decides which variant of a run is its headline.
        tolerance: How far below the dense network's score a headline may lie.

    Returns:
        A table of schema `SCHEMA`, ordered by task, method, phase, trial, seed and, within a run, as delivered.

    Raises:
        UnknownRecord: A record says finished but its result is not among `outcomes`.
    """
    test_rows: Mapping[str, Mapping[str, float]] = (test or {}).get("rows", {})
    dense = _dense_scores(records, outcomes)
    rows: list[dict[str, Any]] = []
    for record in sorted(records, key=_order):
        if record.status != "finished":
            rows.append(_run_values(record))
            continue
        result = _result_of(record, outcomes)
        reference = dense.get((record.task_name, record.seed))
        if reference is None:
            reference = max((v.score for v in result.variants), default=0.0)
        best = headline(result.variants, dense_score=reference, tolerance=tolerance, measure=measure).label
        rows += (
            _run_values(record)
            | _result_values(result)
            | _variant_values(variant)
            | _test_values(test_rows.get(f"{result.key}/{variant.label}", {}))
            | {"headline": variant.label == best}
            for variant in result.variants
        )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def table_bytes(table: pa.Table) -> bytes:
    """The table as the content of `results.parquet`."""
    data = io.BytesIO()
    pq.write_table(table, data, compression="zstd")
    return data.getvalue()


def headline(variants: Iterable[GradedVariant], *, dense_score: float, tolerance: float, measure: str) -> GradedVariant:
    """The variant a user would deploy: the smallest within tolerance of the dense score, else the most accurate.

    Among equally accurate ones the smaller counts, then the one whose label comes first. A module serves some
    classes only, so it is chosen only where there is nothing else.

    Raises:
        ValueError: There are no variants.
    """
    given = list(variants)
    candidates = [v for v in given if v.kind != "module"] or given
    if not candidates:
        raise ValueError("headline: no variants to choose from; a finished run delivers at least one.")
    reached = [v for v in candidates if within(v.score, dense_score, tolerance)]
    if reached:
        return min(reached, key=lambda v: (v.ratio(measure), -v.score, v.label))
    return min(candidates, key=lambda v: (-v.score, v.ratio(measure), v.label))


def search_point(result: RunResult, best: GradedVariant, measure: str) -> tuple[float, float]:
    """Score and size that a run tells its search: those of the headline; of class modules, where it has some, the
    accuracy of all of them composed and their mean size.

    Args:
        result: Of a run.
        best: Its headline.
        measure: A field of `Sizes`.
    """
    if result.modules is None:
        return best.score, best.ratio(measure)
    # Not the headline's score: that is the whole network's where the modules are too small to be any good.
    return result.modules.united_accuracy, result.modules.ratio(measure, best.reference_sizes)


def _order(record: Record) -> tuple[str, str, int, int, int]:
    return record.task_name, record.method, ("search", "confirm").index(record.phase), record.trial, record.seed


def _result_of(record: Record, outcomes: Mapping[str, RunResult]) -> RunResult:
    try:
        return outcomes[record.run.key]
    except KeyError:
        raise UnknownRecord(
            f"study '{record.study}', {record.id}: the ledger says finished, but run {record.run.key} is not in the "
            "store; `pare resume` runs it again."
        ) from None


def _dense_scores(records: Sequence[Record], outcomes: Mapping[str, RunResult]) -> dict[tuple[str, int], float]:
    """(Task, seed) -> validation score of the study's own dense run; the best one, should there be several."""
    scores: dict[tuple[str, int], float] = {}
    for record in records:
        if record.run.method == "dense" and record.status == "finished":
            place = (record.task_name, record.seed)
            found = [variant.score for variant in _result_of(record, outcomes).variants]
            scores[place] = max([*found, scores.get(place, float("-inf"))])
    return scores


def _run_values(record: Record) -> dict[str, Any]:
    return {
        "study": record.study,
        "task": record.task_name,
        "method": record.method,
        "trial": record.trial,
        "seed": record.seed,
        "phase": record.phase,
        "status": record.status,
        "reason": record.reason,
        "run_key": record.run.key,
        "headline": False,
        "config": _canonical(record.run.config),
        "device_seconds": record.device_seconds,
        "cached": record.cached,
    }


def _result_values(result: RunResult) -> dict[str, Any]:
    return {
        "epochs": result.epochs,
        "fit_seconds": result.fit_seconds,
        "finished_at": result.finished_at,
        "module_size": result.modules.module_size if result.modules else None,
        "module_overlap": result.modules.overlap if result.modules else None,
        "generator_parameters": result.generator.parameters if result.generator else None,
        "kernels_kept": result.modules.kernels_kept if result.modules else None,
    }


def _variant_values(variant: GradedVariant) -> dict[str, Any]:
    return {
        "variant": variant.label,
        "kind": variant.kind,
        "settings": _canonical(variant.settings),
        "metric": "accuracy" if "accuracy" in variant.validation else "r2",
        "val_score": variant.score,
        "val_accuracy": variant.validation.get("accuracy"),
        "val_r2": variant.validation.get("r2"),
        "val_mse": variant.validation.get("mse"),
        "macro_f1": variant.validation.get("macro_f1"),
        **variant.sizes.model_dump(),
        **{f"{measure}_ratio": variant.ratio(measure) for measure in SIZE_MEASURES},
        "latency_ms_1": variant.latency_ms.get("1"),
        "latency_ms_256": variant.latency_ms.get("256"),
    }


def _test_values(quality: Mapping[str, float]) -> dict[str, Any]:
    """What was measured after the run: quality on test, and latency where it was timed again on an idle device."""
    latency = {name: value for name, value in quality.items() if name.startswith("latency_")}
    return latency | {
        "test_score": quality.get("accuracy", quality.get("r2")),
        "test_accuracy": quality.get("accuracy"),
        "test_r2": quality.get("r2"),
        "test_mse": quality.get("mse"),
        "test_macro_f1": quality.get("macro_f1"),
    }


def _canonical(values: Mapping[str, Any]) -> str:
    """JSON that is equal for equal values, so that configurations can be grouped by it."""
    return json.dumps(values, sort_keys=True)
