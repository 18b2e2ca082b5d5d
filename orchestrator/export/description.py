"""What a stranger must know to use an exported file, as JSON to lie beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from methods.contract import Normalization
from methods.export import Deployed, Format
from methods.export.verify import NUM_SAMPLES
from methods.measure import LATENCY_BATCH_SIZES, latency_ms, sparse_execution, sparse_latency_ms
from methods.networks.graph import Network
from orchestrator.environment import cpu_model
from orchestrator.errors import StoreProblem
from orchestrator.runs import GradedVariant, RunResult

Json = dict[str, Any]

LOGITS = "logits, one per class: the largest is the answer"
"""What the outputs of a classifier mean."""


def normalization_of(result: RunResult) -> Normalization | None:
    """How the run's samples were normalised; None where the version that stored it did not record that.

    Raises:
        StoreProblem: What is recorded is no normalisation.
    """
    if result.preprocessing is None:
        return None
    recorded: Any = result.preprocessing.get("normalization")
    try:
        mean, std = ([float(value) for value in recorded[key]] for key in ("mean", "std"))
    except (TypeError, KeyError, ValueError) as error:
        raise StoreProblem(
            f"run {result.key}: its recorded normalization is {recorded!r}, not `mean` and `std`; "
            "restore outcome.json or delete the run's folder, and `pare resume` trains it again"
        ) from error
    return Normalization(tuple(mean), tuple(std))


@dataclass(frozen=True)
class Subject:
    """A network to export, and what is known of it."""

    result: RunResult
    """Of the run it comes from; where these are several, the one whose normalisation its inputs have."""
    variant: GradedVariant
    deployed: Deployed
    chosen: str
    """By what it was chosen."""
    meaning: str = ""
    """Of the outputs; empty: what those of its kind mean as a rule."""
    test: Mapping[str, float] | None = None
    """Figures of the locked test split; None where it was not opened for this network."""
    runs: tuple[RunResult, ...] = ()
    """All that it comes from, where parts of several were put together."""
    more: Json = field(default_factory=dict)
    """What else is to be said of it, by heading."""

    @property
    def run_keys(self) -> str:
        """Of all runs it comes from, to be read."""
        return ", ".join(run.key for run in self.runs or (self.result,))


def describe(subject: Subject, *, kind: Format, num_bytes: int, difference: float, latency: Json | None) -> Json:
    """The description of one exported file.

    Args:
        difference: Largest difference of logits when the file was read back.
        latency: From `measure_latency`; None where it was not asked for.
    """
    result, variant, deployed = subject.result, subject.variant, subject.deployed
    num_outputs = deployed.network.architecture.num_outputs
    class_names = list(variant.per_class)
    return {
        "format": kind.name,
        "bytes": num_bytes,
        **_origin(subject),
        "variant": variant.label,
        "kind": variant.kind,
        "settings": variant.settings,
        "input": _input(kind, deployed, result.preprocessing or {}),
        "output": {
            "meaning": subject.meaning or _meaning(variant),
            "num_outputs": num_outputs,
            "class_names": class_names if len(class_names) == num_outputs else [],
        },
        "preprocessing": result.preprocessing,
        "sizes": variant.sizes.model_dump(),
        "dense_sizes": variant.reference_sizes.model_dump(),
        "validation": _finite(variant.validation),
        "test": None if subject.test is None else _finite(subject.test),
        "verified": {"random_samples": NUM_SAMPLES, "max_abs_difference": difference},
        "latency": latency,
        **subject.more,
    }


def _origin(subject: Subject) -> Json:
    if not subject.runs:
        return _run(subject.result)
    return {"runs": [_run(result) for result in subject.runs]}


def _run(result: RunResult) -> Json:
    run = result.run
    return {
        "run_key": result.key,
        "task": {"name": run.task_name, "data": run.task.data.source, "data_fingerprint": run.data_fingerprint},
        "method": {"name": run.method, "version": run.version, "config": run.config, "seed": run.seed},
        "made": {"finished_at": result.finished_at} | _without_host(result.environment),
    }


def _meaning(variant: GradedVariant) -> str:
    if variant.kind == "module":
        return "the logit of one class: compare it with those of other modules of the same run"
    if variant.kind == "composed":
        return "scores, one per class: the largest is the answer"
    return LOGITS if "accuracy" in variant.validation else "the value"


def measure_latency(network: Network) -> Json:
    """Milliseconds of a forward pass on this machine's CPU, dense and with zeros skipped, by batch size.

    Sparse milliseconds are None where no layer, or the network as a whole, was faster than dense. Blocks for some
    seconds.
    """
    measured: Json = {"cpu": cpu_model(), "threads": torch.get_num_threads(), "batches": {}}
    for size in LATENCY_BATCH_SIZES:
        dense_ms = latency_ms(network, network.architecture.input_shape, size).median_ms
        execution = sparse_execution(network, batch_size=size)
        measured["batches"][str(size)] = {
            "dense_ms": dense_ms,
            "sparse_ms": sparse_latency_ms(execution, dense_ms=dense_ms),
            "layers": [asdict(layer) | {"is_sparse": layer.is_sparse} for layer in execution.layers],
        }
    return measured


def _input(kind: Format, deployed: Deployed, preprocessing: Mapping[str, Json]) -> Json:
    shape = deployed.network.architecture.input_shape
    if "table" in preprocessing:
        raw = "features made of the table's columns as preprocessing.table says, in its order"
    elif len(shape) == 3:
        raw = "pixels on the 0-1 scale (bytes divided by 255)"
    else:
        raw = "features in the data set's units"
    if kind.takes_raw_inputs(deployed):
        scale = raw
    elif deployed.normalization is not None:
        scale = f"{raw}, then (x - mean) / std per {'channel' if len(shape) == 3 else 'feature'}"
    else:
        scale = "normalised as in training, which the version that stored this run did not record"
    return {
        "dtype": "float32",
        "shape": ["batch", *shape],
        "axes": "batch, channels, height, width" if len(shape) == 3 else "batch, features",
        "scale": scale,
        "normalization": None if deployed.normalization is None else asdict(deployed.normalization),
        "normalization_included": kind.takes_raw_inputs(deployed),
    }


def _without_host(environment: Mapping[str, str]) -> dict[str, str]:
    """The file goes to strangers, whom the names of our machines do not concern."""
    return {name: value for name, value in environment.items() if name != "host"}


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """Without numbers that JSON has no word for."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
