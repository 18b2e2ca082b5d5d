"""The one ruler held against a delivered network: every figure is of what a user would deploy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from methods.artefact import decode, encode
from methods.contract import Task
from methods.measure.compute import count_macs
from methods.measure.latency import latency_ms
from methods.measure.quality import quality
from methods.measure.sizes import count_nonzeros, count_parameters
from methods.measure.subtasks import SUBTASK_SAMPLES
from methods.modules.compacting import deployed_form
from methods.modules.side_by_side import Delivered, as_network
from methods.networks.graph import Network

LATENCY_BATCH_SIZES = (1, 256)


@dataclass(frozen=True)
class Grades:
    """All figures of one deployed network."""

    validation: Mapping[str, float]
    """Classification: `accuracy`, `macro_precision`, `macro_recall`, `macro_f1`. Regression: `r2`, `mse`."""
    per_class: Mapping[str, Mapping[str, float]]
    """Class name -> `precision`, `recall`, `f1` on validation; empty for regression."""
    subtasks: Mapping[int, float]
    """See `Quality.subtasks`: on validation, of each class the first `SUBTASK_SAMPLES` at the most."""
    parameters: int
    nonzeros: int
    stored_bytes: int
    """Length of `artefact`."""
    macs: int
    """Of one sample, dense execution."""
    latency_ms: Mapping[str, float]
    """Batch size -> median milliseconds of a forward pass on the task's device; empty when not measured."""
    artefact: bytes
    deployed: Network
    """The network read back from `artefact`, on the task's device; of modules side by side the plain one that runs."""


def grade(delivered: Delivered, task: Task, *, latency: bool = True) -> Grades:
    """Deploy a network, store it, read it back, and measure what came back on the task's validation split.

    Of modules side by side, parameters, non-zeros and bytes are those of what they share, counted once, and of their
    heads; MACs, latency and quality are those of the plain network that runs, a branch for each module.

    The given network is not changed. Blocks for the evaluation and, with `latency`, for about 0.3 s per batch size.

    Raises:
        TrainingDiverged: Some outputs are not finite.
    """
    artefact = encode(deployed_form(delivered))
    stored = decode(artefact)
    deployed = as_network(stored)
    sizes = _sizes(stored, deployed, artefact)
    deployed = deployed.to(task.device)
    measured = quality(deployed, task.validation, task, subtask_samples=SUBTASK_SAMPLES)
    milliseconds = {
        str(size): latency_ms(deployed, task.info.input_shape, size, device=task.device).median_ms
        for size in (LATENCY_BATCH_SIZES if latency else ())
    }
    return Grades(
        validation=measured.values,
        per_class=measured.per_class,
        subtasks=measured.subtasks,
        **sizes,
        latency_ms=milliseconds,
        artefact=artefact,
        deployed=deployed,
    )


def deployed_sizes(delivered: Delivered) -> dict[str, int]:
    """The four sizes of a network as `grade` counts them, without measuring its quality."""
    artefact = encode(deployed_form(delivered))
    stored = decode(artefact)
    return _sizes(stored, as_network(stored), artefact)


def _sizes(stored: Delivered, deployed: Network, artefact: bytes) -> dict[str, int]:
    return {
        "parameters": count_parameters(stored),
        "nonzeros": count_nonzeros(stored),
        "stored_bytes": len(artefact),
        "macs": count_macs(deployed, deployed.architecture.input_shape),
    }
