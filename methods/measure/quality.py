"""How right a network is. Shapes: N = samples, K = classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from methods.contract import Split, Task, TrainingDiverged
from methods.measure.predict import predict
from methods.measure.subtasks import first_of_each, graded_subsets, mean_by_size, restricted_accuracies


@dataclass(frozen=True)
class Quality:
    """What the ruler reads off the predictions for one split."""

    values: Mapping[str, float]
    """Classification: `accuracy`, `macro_precision`, `macro_recall`, `macro_f1`. Regression: `r2`, `mse`."""
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Class name -> `precision`, `recall`, `f1`; empty for regression."""
    subtasks: Mapping[int, float] = field(default_factory=dict)
    """k -> accuracy on the samples of k classes with the other logits cut off, mean over subsets of the classes: all
    up to ten classes; beyond, a sample of subsets for the k of `graded_sizes`. Empty for regression."""


def quality(network: nn.Module, split: Split, task: Task, *, subtask_samples: int | None = None) -> Quality:
    """Quality of a network that lies on the task's device, evaluated in float32.

    Args:
        network, split, task: What is asked of whom.
        subtask_samples: For `Quality.subtasks`, the first so many samples of each class; None: all.

    Raises:
        TrainingDiverged: Some outputs are not finite, so no figure would mean anything.
        ValueError: The split is empty.
    """
    logits = predict(network, split, normalization=task.normalization, device=task.device)
    if not bool(torch.isfinite(logits).all()):
        bad = int((~torch.isfinite(logits)).any(dim=1).sum())
        raise TrainingDiverged(f"the outputs of {bad} of {len(split)} samples are not finite numbers")
    targets = split.targets.to(logits.device)
    if task.info.kind == "regression":
        return regression_quality(logits[:, 0], targets)
    found = classification_quality(logits.argmax(dim=1), targets, class_names=task.info.class_names)
    if subtask_samples is not None:
        chosen = first_of_each(targets, num_classes=logits.shape[1], most=subtask_samples)
        logits, targets = logits[chosen], targets[chosen]
    subsets_SK = graded_subsets(logits.shape[1])
    return replace(found, subtasks=mean_by_size(subsets_SK, restricted_accuracies(logits, targets, subsets_SK)))


def classification_quality(predicted_N: Tensor, target_N: Tensor, *, class_names: Sequence[str]) -> Quality:
    """Exact counts turned into accuracy and, per class and averaged over all classes, precision, recall and F1.

    A class that is never predicted has precision 0, one without samples has recall 0, and F1 is 0 when both are 0
    (scikit-learn's `zero_division=0`); every class named counts in the macro average.

    Args:
        predicted_N: Predicted class indices, int64, below the number of names.
        target_N: True class indices, int64, likewise.
        class_names: One name per class.
    """
    counts_KK = confusion(predicted_N, target_N, num_classes=len(class_names)).double()
    right_K = counts_KK.diagonal()
    precision_K = _share(right_K, counts_KK.sum(dim=0))
    recall_K = _share(right_K, counts_KK.sum(dim=1))
    # 2 right / (predicted + true) equals the harmonic mean and has no 0/0 unless the class is wholly absent.
    f1_K = _share(2 * right_K, counts_KK.sum(dim=0) + counts_KK.sum(dim=1))
    return Quality(
        values={
            "accuracy": float(right_K.sum() / counts_KK.sum()),
            "macro_precision": float(precision_K.mean()),
            "macro_recall": float(recall_K.mean()),
            "macro_f1": float(f1_K.mean()),
        },
        per_class={
            name: {"precision": p, "recall": r, "f1": f}
            for name, p, r, f in zip(class_names, precision_K.tolist(), recall_K.tolist(), f1_K.tolist(), strict=True)
        },
    )


def confusion(predicted_N: Tensor, target_N: Tensor, *, num_classes: int) -> Tensor:
    """Counts (K, K) int64 on the CPU: row = true class, column = predicted class.

    Raises:
        ValueError: The two do not belong together, hold no samples, or name a class outside of 0..K-1.
    """
    if predicted_N.shape != target_N.shape or predicted_N.dim() != 1 or len(target_N) == 0:
        raise ValueError(
            f"confusion: predictions of shape {tuple(predicted_N.shape)} for targets of shape "
            f"{tuple(target_N.shape)}; give one index per sample and at least one sample."
        )
    for what, index_N in (("predicted", predicted_N), ("true", target_N)):
        low, high = (int(value) for value in index_N.aminmax())
        if low < 0 or high >= num_classes:
            raise ValueError(f"confusion: {what} classes {low}..{high}, but there are {num_classes} classes.")
    pairs_N = target_N * num_classes + predicted_N
    return torch.bincount(pairs_N.cpu(), minlength=num_classes**2).view(num_classes, num_classes)


def regression_quality(predicted_N: Tensor, target_N: Tensor) -> Quality:
    """Mean squared error and coefficient of determination, accumulated in float64.

    R2 is 0 for constant targets: there is no variance to explain, and the quotient would not be a finite number.

    Raises:
        ValueError: The two do not belong together or hold no samples.
    """
    if predicted_N.shape != target_N.shape or predicted_N.dim() != 1 or len(target_N) == 0:
        raise ValueError(
            f"regression_quality: predictions of shape {tuple(predicted_N.shape)} for targets of shape "
            f"{tuple(target_N.shape)}; give one value per sample and at least one sample."
        )
    target_N = target_N.double()
    mse = float((predicted_N.double() - target_N).square().mean())
    # A constant is recognised by its extremes: the mean of equal floats need not be that float.
    low, high = target_N.aminmax()
    variance = float((target_N - target_N.mean()).square().mean())
    return Quality(values={"r2": 1 - mse / variance if bool(low < high) else 0.0, "mse": mse})


def _share(part_K: Tensor, whole_K: Tensor) -> Tensor:
    """part / whole, and 0 where the whole is 0 (then the part is 0 too)."""
    return part_K / whole_K.clamp(min=1)
