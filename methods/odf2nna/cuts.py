"""From usefulness to keep-sets: by tolerance, by share of parameters, at rounded widths, by a control's rule.

Scores are computed once; every tolerance is then a place in the sorted scores, so widths and parameter counts follow
without touching the network. [design]

Shapes: U = units of one hidden layer, O = units of the next.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from methods.networks.dense_head import parameter_count
from methods.odf2nna.usefulness import LEAST_EPSILON, keep_units

Units = Literal["useful", "random", "outgoing_norm", "mean_activation"]
"""By what the units that stay are chosen once the widths are known; all but the first are controls."""

COLLAPSED, SPARED = 0.05, 0.8
"""A layer that keeps less than the first share while another keeps more than the second: one epsilon does not fit."""


@dataclass(frozen=True)
class Cutting:
    """The scores of one head, and what surrounds it."""

    usefulness: tuple[Tensor, ...]
    """(U,) per hidden layer."""
    num_inputs: int
    num_outputs: int
    other_parameters: int
    """Of the network before the head."""
    multiple: int = 1
    """Each width is rounded up to a multiple of this by the next most useful units, or to all there are. The extra
    units cost few parameters and fill vector registers. [design]"""

    @property
    def total(self) -> int:
        """Parameters of the whole network, nothing dropped."""
        return self._parameters([len(usefulness_U) for usefulness_U in self.usefulness])

    def widths(self, epsilon: float) -> list[int]:
        """Hidden widths at a tolerance: how many scores exceed it, at least one per layer, rounded up."""
        threshold = max(epsilon, LEAST_EPSILON)
        exceeding = [max(1, int((usefulness_U > threshold).sum())) for usefulness_U in self.usefulness]
        return [
            min(len(usefulness_U), -(-width // self.multiple) * self.multiple)
            for usefulness_U, width in zip(self.usefulness, exceeding, strict=True)
        ]

    def parameters(self, epsilon: float) -> int:
        """Parameters of the whole network at a tolerance."""
        return self._parameters(self.widths(epsilon))

    def epsilon_for(self, keep_share: float) -> float:
        """The smallest tolerance at which at most this share of all parameters stays.

        Bisects the sorted scores. Where even one unit per layer (rounded up) is too much, the tolerance that leaves
        just these.
        """
        candidates: list[float] = sorted(
            {0.0, *(score for usefulness_U in self.usefulness for score in usefulness_U.tolist())}
        )
        small_enough = bisect_left(
            candidates, True, hi=len(candidates) - 1, key=lambda epsilon: self._fits(epsilon, keep_share)
        )
        return candidates[small_enough]

    def _fits(self, epsilon: float, keep_share: float) -> bool:
        return self.parameters(epsilon) <= keep_share * self.total

    def _parameters(self, widths: Sequence[int]) -> int:
        return self.other_parameters + parameter_count([self.num_inputs, *widths, self.num_outputs])

    def keep(self, epsilon: float) -> list[Tensor]:
        """The units that stay at a tolerance, `widths` of them."""
        kept = keep_units(self.usefulness, epsilon=epsilon)
        if self.multiple == 1:
            return kept
        return [most(*pair) for pair in zip(self.usefulness, self.widths(epsilon), strict=True)]


def most(score_U: Tensor, count: int) -> Tensor:
    """The `count` units of the highest score, as bool (U,); all when there are fewer, of equal ones the first."""
    keep_U = torch.zeros(len(score_U), dtype=torch.bool)
    keep_U[torch.argsort(score_U, descending=True, stable=True)[:count]] = True
    return keep_U


def controls(
    units: Units,
    keep: Sequence[Tensor],
    *,
    outgoing: Sequence[Tensor],
    mean: Sequence[Tensor],
    excluded: Sequence[Tensor] | None,
    generator: torch.Generator,
) -> list[Tensor]:
    """As many units per layer as in `keep`, chosen by another rule: what the criterion must beat.

    Args:
        outgoing: (O, U) weights that read each hidden layer.
        mean: (U,) mean activation of each unit.
        excluded: bool (U,) for each layer: units that nothing reads any more, taken only when no others are left.
        generator: On the CPU; for `random` alone.
    """
    if units == "useful":
        return list(keep)
    if units == "random":
        scores = [torch.rand(len(keep_U), generator=generator) for keep_U in keep]
    elif units == "outgoing_norm":
        scores = [weight_OU.double().norm(dim=0).cpu() for weight_OU in outgoing]
    else:
        scores = [mean_U.abs().cpu() for mean_U in mean]
    if excluded is not None:
        scores = [score_U.masked_fill(gone_U.cpu(), -1.0) for score_U, gone_U in zip(scores, excluded, strict=True)]
    return [most(score_U, int(keep_U.sum())) for score_U, keep_U in zip(scores, keep, strict=True)]


def warning(keep: Sequence[Tensor], sites: Sequence[str]) -> str | None:
    """A sentence where one epsilon empties one layer and spares another; None where it does not."""
    shares = [float(keep_U.double().mean()) for keep_U in keep]
    low, high = min(range(len(shares)), key=shares.__getitem__), max(range(len(shares)), key=shares.__getitem__)
    if shares[low] >= COLLAPSED or shares[high] <= SPARED:
        return None
    return (
        f"{sites[low]} keeps {int(keep[low].sum())} of {len(keep[low])} units while {sites[high]} keeps "
        f"{int(keep[high].sum())} of {len(keep[high])}: one epsilon does not fit both; use preset 'ranked'"
    )
