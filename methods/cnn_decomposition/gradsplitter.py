"""What GradSplitter minimises, on which schedule, and which epoch it delivers, as pure functions.

Source: Qi et al., "Reusing Convolutional Neural Network Models through Modularization and Composition", TOSEM 2023,
arXiv 2311.04438; the rules are those of its public code (qibinhang/GradSplitter).

Shapes: B = samples, M = modules, one for each class, C = kernels of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.cnn_decomposition.masks import size_term

CYCLES = 20
MODULARISE_EPOCHS = 5
"""Of each cycle, in which masks and heads are trained."""
HEAD_EPOCHS = 2
"""Of each cycle, in which heads alone follow."""
CYCLE_EPOCHS = MODULARISE_EPOCHS + HEAD_EPOCHS


@dataclass(frozen=True)
class Epoch:
    """What one epoch trains, and how."""

    phase: Literal["head", "modularise"]
    """`head` trains heads, `modularise` masks and heads."""
    learning_rate: float
    size_weight: float
    new_optimizer: bool
    """Whether the optimizer starts anew, without the moments of the epochs before."""


def splitter_loss(
    outputs: Tensor,
    labels: Tensor,
    masks: Tensor | Sequence[Tensor],
    *,
    size_weight: float,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the modules' scores plus the weighted share of kernels that they retain, a scalar.

    The softmax is taken over the scores as they come. The reference passes sigmoid outputs there as if they were
    logits, which looks like a mistake but is what was evaluated: for ten classes the cross-entropy is then 1.461150,
    ln(e + 9) - 1, at best, and 2.302585 at equal scores. With scores before the sigmoid this is our variant in the
    space of logits.

    Args:
        outputs: Scores (B, M), column c of the module of class c.
        labels: Class indices (B,), int64.
        masks: Real-valued, as for `size_term`.
        size_weight: alpha (lambda in the paper's text), 0 or above; at 0 the masks get no gradient from here.
        class_weights: What a sample of each class counts, (M,), 1 on average; None: all alike. Ours.

    Raises:
        ValueError: Not one score row for each label.
    """
    if outputs.dim() != 2 or labels.shape != outputs.shape[:1]:
        raise ValueError(
            f"splitter_loss: scores {tuple(outputs.shape)} for labels {tuple(labels.shape)}; give (samples, modules) "
            "and (samples,)"
        )
    loss = F.cross_entropy(outputs, labels, weight=class_weights, reduction="none").mean()
    return loss + size_weight * size_term(masks) if size_weight else loss


def schedule(
    head_epochs: int = 5,
    cycles: int = 20,
    *,
    head_learning_rate: float = 0.01,
    learning_rate: float = 0.001,
    size_weight: float = 0.1,
) -> list[Epoch]:
    """The epochs of a decomposition: heads first, then cycles of five epochs of masks and heads and two of heads.

    Args:
        head_epochs: Epochs of heads alone at the start, at `head_learning_rate`; in a cycle they have a tenth of it.
        cycles: Of seven epochs each. The reference crashes on budgets that are no such sum; here none can be asked for.
        head_learning_rate, learning_rate: Of Adam, for heads alone and for masks and heads together.
        size_weight: While masks are trained; 0 otherwise.

    Raises:
        ValueError: A negative number of epochs or cycles, or none at all.
    """
    if head_epochs < 0 or cycles < 0 or head_epochs + cycles == 0:
        raise ValueError(f"schedule: {head_epochs} epochs of heads and {cycles} cycles; give at least one of either")
    epochs = [Epoch("head", head_learning_rate, 0.0, number == 0) for number in range(head_epochs)]
    for _ in range(cycles):
        epochs += [Epoch("modularise", learning_rate, size_weight, number == 0) for number in range(MODULARISE_EPOCHS)]
        epochs += [Epoch("head", 0.1 * head_learning_rate, 0.0, number == 0) for number in range(HEAD_EPOCHS)]
    return epochs


def cycles_within(epochs: int, *, head_epochs: int) -> int:
    """How many whole cycles a budget of epochs has room for after the first epochs of heads; 0 if none."""
    return max(0, (epochs - head_epochs) // CYCLE_EPOCHS)


def select_epoch(
    accuracies: Sequence[float], kernels: Sequence[float], *, reference: float, tolerance: float = 0.01
) -> int:
    """The epoch to deliver: of those within tolerance of the trained network the one with the fewest kernels.

    The authors apply this rule by hand; ties go to the higher accuracy, then to the later epoch. Where no epoch is
    within tolerance, the most accurate is taken, of equal ones that with the fewest kernels, then the latest.

    Args:
        accuracies: On validation samples, by epoch, in [0, 1].
        kernels: Mean number (or share) of kernels that a module retains, by epoch.
        reference: Accuracy of the trained network on the same samples.
        tolerance: The loss must be below it, 0.01 in the paper.

    Raises:
        ValueError: No epochs, or not one number of kernels for each accuracy.
    """
    if not accuracies or len(accuracies) != len(kernels):
        raise ValueError(
            f"select_epoch: {len(accuracies)} accuracies for {len(kernels)} sizes; give one pair per epoch"
        )
    epochs = range(len(accuracies))
    fitting = [epoch for epoch in epochs if accuracies[epoch] > reference - tolerance]
    if fitting:
        return min(fitting, key=lambda epoch: (kernels[epoch], -accuracies[epoch], -epoch))
    return min(epochs, key=lambda epoch: (-accuracies[epoch], kernels[epoch], -epoch))


def scores(before_sigmoid_BM: Tensor, objective: Literal["sigmoid_cross_entropy", "logit_cross_entropy"]) -> Tensor:
    """What of the heads' outputs goes into the cross-entropy: scores in (0, 1) as published, or logits as they are."""
    return torch.sigmoid(before_sigmoid_BM) if objective == "sigmoid_cross_entropy" else before_sigmoid_BM
