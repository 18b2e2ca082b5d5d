"""What a decomposition shows of its modules: kernels kept by layer and class, and what modules have in common.

Shapes: M = modules, C = kernels of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.cnn_decomposition.layers import MaskedLayer, differences
from methods.cnn_decomposition.sensitivity import RATIOS
from methods.figures import Heatmap, Line, LineChart


def kernels_map(layers: Sequence[MaskedLayer], kept: Sequence[Tensor], *, class_names: Sequence[str]) -> Heatmap:
    """The share of each layer's kernels that the module of each class retains.

    Args:
        layers: Of the network.
        kept: Bool (M, C) per layer.
        class_names: Of the modules.
    """
    share_ML = torch.stack([kept_MC.double().mean(dim=1) for kept_MC in kept], dim=1)
    return Heatmap(
        name="kernels_by_layer",
        title="Share of each layer's kernels that a class module retains",
        x_label="layer",
        y_label="class",
        rows=tuple(class_names),
        columns=tuple(layer.name for layer in layers),
        values=_rounded(share_ML),
    )


def difference_map(layers: Sequence[MaskedLayer], kept: Sequence[Tensor], *, class_names: Sequence[str]) -> Heatmap:
    """1 - Jaccard index of the kernels that each two modules retain."""
    return Heatmap(
        name="module_difference",
        title="Difference of class modules: 1 - Jaccard index of their kernels",
        x_label="class",
        y_label="class",
        rows=tuple(class_names),
        columns=tuple(class_names),
        values=_rounded(differences(layers, kept)),
    )


def accuracy_by_retention(
    retentions: Sequence[float], accuracies: Sequence[float], *, selected: int, reference: float, step: str
) -> LineChart:
    """Accuracy of the composed modules against the kernels they retain, along the course of a decomposition.

    Args:
        retentions: Mean kernel retention rate, by step.
        accuracies: On validation, by step.
        selected: The step that is delivered.
        reference: Accuracy of the trained network.
        step: What a step is called, e.g. `epoch`.
    """
    return LineChart(
        name="accuracy_by_retention",
        title=f"Validation accuracy of all modules composed against kernels retained, a point for each {step}",
        x_label="mean kernel retention rate",
        y_label="accuracy",
        lines=(
            Line(label=f"by {step}", x=tuple(retentions), y=tuple(accuracies)),
            Line(label=f"delivered ({step} {selected})", x=(retentions[selected],), y=(accuracies[selected],)),
            Line(label="trained network", x=(min(retentions), 1.0), y=(reference, reference)),
        ),
    )


def progress_chart(
    accuracies: Sequence[float], differences: Sequence[float], best_accuracies: Sequence[float]
) -> LineChart:
    """How a genetic search went, by generation.

    Args:
        accuracies: On validation, of the composition of each class's fittest candidate.
        differences: Of its modules.
        best_accuracies: Of the fittest composition, on the samples that judge fitness.
    """
    generations = tuple(float(number) for number in range(len(accuracies)))
    return LineChart(
        name="genetic_progress",
        title="Course of the genetic search",
        x_label="generation",
        y_label="accuracy; difference of modules",
        lines=(
            Line(label="composition of the fittest candidates, validation", x=generations, y=tuple(accuracies)),
            Line(label="fittest composition, samples that judge", x=generations, y=tuple(best_accuracies)),
            Line(label="difference of its modules", x=generations, y=tuple(differences)),
        ),
    )


def sensitivity_map(layers: Sequence[MaskedLayer], table_LQ: Tensor) -> Heatmap:
    """Accuracy when one layer keeps few of its kernels."""
    return Heatmap(
        name="layer_sensitivity",
        title="Accuracy of all modules composed when one layer keeps a share of its kernels",
        x_label="share kept, the most important for each class",
        y_label="layer",
        rows=tuple(layer.name for layer in layers),
        columns=tuple(f"{ratio:g}" for ratio in RATIOS),
        values=_rounded(table_LQ),
    )


def _rounded(values: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(value, 4) for value in row) for row in values.tolist())
