"""What networks of finished runs must have in common before they can read the same samples side by side."""

from __future__ import annotations

from methods.contract import Normalization
from methods.networks.graph import Network
from orchestrator.errors import ExportRefused
from orchestrator.export.description import normalization_of
from orchestrator.runs import RunResult


def required_normalization(result: RunResult) -> Normalization:
    """How the run's network has its inputs normalised.

    Raises:
        ExportRefused: The run was stored by a version that did not record it.
    """
    found = normalization_of(result)
    if found is None:
        raise ExportRefused(
            f"run {result.key}: the version that stored it did not record how its inputs are normalised, so they "
            "cannot be converted; delete the run's folder, and `pare resume` trains it again"
        )
    return found


def require_same_inputs(first: tuple[RunResult, Network], second: tuple[RunResult, Network]) -> None:
    """Check that two networks read samples of one shape, made in one way.

    Raises:
        ExportRefused: They do not.
    """
    keys = [result.key for result, _ in (first, second)]
    shapes = [network.architecture.input_shape for _, network in (first, second)]
    if shapes[0] != shapes[1]:
        raise ExportRefused(
            f"run {keys[1]} reads inputs of shape {shapes[1]}, run {keys[0]} of {shapes[0]}; train both on one shape, "
            "e.g. with `image_shape` of the task's data"
        )
    # How a table's columns became features; None for images.
    tables = [(result.preprocessing or {}).get("table") for result, _ in (first, second)]
    if tables[0] != tables[1]:
        raise ExportRefused(
            f"runs {keys[0]} and {keys[1]} make their features of the table in different ways; take runs that were "
            "trained on the same table and split"
        )
