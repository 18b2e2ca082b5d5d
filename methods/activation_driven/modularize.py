"""From a trained network to class modules: how often each unit fires for each class, and which units a class keeps.

Source: Ngo, Hassan, Shafiq, Medvidovic, "Improving DNN Modularization via Activation-Driven Training", arXiv
2411.01074; ICSE 2026, doi 10.1145/3744916.3773190. The rules are those of its public code (dnn-modularization/MODA),
whose second release adds the least number of units.

Shapes: B = samples of a batch, K = classes, U = units of a site, C = channels, H, W = height and width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.activation_driven.losses import require_relu
from methods.modules.activity import fires


class ActivityCounts:
    """For each site, class and unit, in how many samples of the class the unit fires; grows batch by batch.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        self.counts: list[Tensor] = []
        """One int64 (K, U) per site, on the device of what was added."""
        self.samples: Tensor = torch.zeros(num_classes, dtype=torch.int64)
        """Int64 (K,): samples of each class seen so far, on the same device."""
        self._num_classes = num_classes

    @torch.no_grad()
    def add(self, fired: Sequence[Tensor], label_B: Tensor) -> None:
        """Count one batch.

        Args:
            fired: Which units each sample fires, bool (B, U), each time of the same sites.
            label_B: Class indices in [0, K), int64.

        Raises:
            RuntimeError: A label is no class.
        """
        # A product of zeros and ones counts exactly in float32, up to 2**24 samples a batch.
        one_hot_BK = F.one_hot(label_B, self._num_classes).float()
        found = [(one_hot_BK.T @ fired_BU.float()).long() for fired_BU in fired]
        self.counts = found if not self.counts else [old + new for old, new in zip(self.counts, found, strict=True)]
        self.samples = self.samples.to(label_B.device) + one_hot_BK.sum(dim=0).long()

    def rates(self) -> list[Tensor]:
        """Share of the samples of each class that each unit fires for: float64 (K, U) per site.

        Raises:
            ValueError: A class has no sample.
        """
        missing = (self.samples == 0).nonzero().flatten().tolist()
        if missing:
            raise ValueError(
                f"no sample of class {', '.join(map(str, missing))}: the units it needs cannot be told; "
                "give at least one sample of every class"
            )
        return [count_KU.double() / self.samples[:, None] for count_KU in self.counts]


def activation_rates(activations: Sequence[Tensor], labels: Tensor, *, num_classes: int) -> list[Tensor]:
    """How often each unit fires for each class (section 4.1 of the paper's code): any position counts.

    Args:
        activations: Outputs of ReLUs for all samples, (B, C, H, W) or (B, U), one tensor per site.
        labels: Class indices (B,), int64.
        num_classes: K.

    Returns:
        float64 (K, U) in [0, 1] per site: samples of class k for which unit u is not zero / samples of class k.

    Raises:
        ValueError: The arguments do not belong together, a value is below 0, so that no ReLU put it out, a label is no
            class, or a class has no sample.
    """
    _check(activations, labels, num_classes)
    require_relu(activations)
    activity = ActivityCounts(num_classes)
    activity.add([fires(activation) for activation in activations], labels)
    return activity.rates()


def select_units(rates: Sequence[Tensor], *, threshold: float, minimum_share: float = 0.005) -> list[Tensor]:
    """Which units each class keeps: those that fire for at least `threshold` of its samples.

    A class that keeps fewer than max(1, floor(minimum_share * U)) units of a site gets, instead, the units with its
    highest rates, as many as that minimum or as the largest class keeps there, whichever is more. Of equal rates the
    lower index goes first (the release leaves that open).

    Args:
        rates: As `activation_rates` returns them, (K, U) per site.
        threshold: tau in (0, 1]; reaching it exactly is enough, rounding of the rates aside.
        minimum_share: In [0, 1]; 0 switches the minimum off, so that a class may keep nothing of a site.

    Returns:
        bool (K, U) per site.

    Raises:
        ValueError: An argument is out of range.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold {threshold} lies outside (0, 1]; the paper's is 0.9")
    if not 0 <= minimum_share <= 1:
        raise ValueError(f"minimum_share {minimum_share} lies outside [0, 1]; the paper's is 0.005, 0 is none")
    return [_select(rate_KU, threshold, minimum_share) for rate_KU in rates]


def _select(rate_KU: Tensor, threshold: float, minimum_share: float) -> Tensor:
    # The quotient of two counts is the float next to the true rate, and so is the threshold, up to a few roundings;
    # rates next to each other lie 1 / (samples of a class) apart, which is far more.
    keep_KU = rate_KU >= threshold - 4 * torch.finfo(rate_KU.dtype).eps
    num_units = rate_KU.shape[1]
    if minimum_share == 0:
        return keep_KU
    # 0.29 * 100 is 28.999... in binary.
    least = max(1, math.floor(minimum_share * num_units + 1e-9))
    kept_K = keep_KU.sum(dim=1)
    refill = max(least, int(kept_K.max()))
    order_KU = rate_KU.argsort(dim=1, descending=True, stable=True)
    top_KU = torch.zeros_like(keep_KU).scatter_(1, order_KU[:, :refill], True)
    return torch.where((kept_K < least)[:, None], top_KU, keep_KU)


def _check(activations: Sequence[Tensor], label_B: Tensor, num_classes: int) -> None:
    if not activations:
        raise ValueError("no activations; give the output of at least one ReLU")
    if label_B.dim() != 1 or label_B.is_floating_point() or label_B.is_complex():
        raise ValueError(
            f"labels are {label_B.dtype} {tuple(label_B.shape)}; give one class index per sample (int64): "
            "soft labels and mixup have no classes to count for"
        )
    for position, activation in enumerate(activations):
        if activation.dim() not in (2, 4) or len(activation) != len(label_B):
            raise ValueError(
                f"activations[{position}] has shape {tuple(activation.shape)} for {len(label_B)} labels; "
                "give (B, C, H, W) or (B, U) of the same samples"
            )
    if len(label_B) and not 0 <= int(label_B.min()) <= int(label_B.max()) < num_classes:
        raise ValueError(f"labels {int(label_B.min())} to {int(label_B.max())}, but there are {num_classes} classes")
