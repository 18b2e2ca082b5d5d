"""What a patch did to a weak network: to the class that was patched, and to all others.

Shapes: N = samples, K = classes of the weak network.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class TargetQuality:
    """How well a classifier does on one class against the others, each in [0, 1]."""

    precision: float
    """0 where the class is never predicted."""
    recall: float
    f1: float
    others: float
    """Share of the samples of all other classes that get their own class; one sent to the patched class is wrong."""


def target_quality(scores_NK: Tensor, targets_N: Tensor, *, target: int) -> TargetQuality:
    """Precision, recall and F1 of one class in the decisions among all, and accuracy on the others.

    Source: section 5 of the specification of CNNSplitter (Qi et al., ASE 2022): one-vs-rest on the K-way decisions.

    Args:
        scores_NK: The largest is the answer.
        target: Index of the class.

    Raises:
        ValueError: There is no sample of the class, or none of the others.
    """
    decided_N = scores_NK.argmax(dim=1)
    own_N, said_N = targets_N == target, decided_N == target
    num_own, num_said, both = int(own_N.sum()), int(said_N.sum()), int((own_N & said_N).sum())
    if num_own in (0, len(targets_N)):
        raise ValueError(
            f"target_quality: {num_own} of {len(targets_N)} samples are of class {target}; give some, not all"
        )
    right = int(((decided_N == targets_N) & ~own_N).sum())
    return TargetQuality(
        precision=both / num_said if num_said else 0.0,
        recall=both / num_own,
        f1=2 * both / (num_own + num_said),
        others=right / (len(targets_N) - num_own),
    )
