"""The HyperSparse penalty and its alternatives L1 and L2 as pure functions of the prunable weights.

Source: Glandorf, Kaiser, Rosenhahn, "HyperSparse Neural Networks", ICCV workshops 2023, arXiv 2308.07163, and its
public code (GreenAutoML4FAS/HyperSparse). These are the formulas to read and to test against; `fused.py` is the fast
path.

All weights together form one vector w of n values, tensors in the order given, row-major. With a = |w|:

    tau = the k-th smallest of a, k = floor(pruning_rate * n) counted from 0
    s = 0.6585 / tau,   A = sum tanh(s a),   both constant with respect to w
    L = (1 / A) * sum a * sum tanh(s a) - sum a,   always zero; only its gradient matters:
    g = sign(w) * c * (1 - tanh(s w)^2),   c = s * sum a / A

A small weight is pulled towards zero with strength c >= 1, one at the pruning boundary with 2/3 of it, a large one not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from methods.training.masks import magnitude_masks, prune_rank, score_masks

__all__ = [
    "exact_count_masks",
    "magnitude_masks",
    "penalty_gradient",
    "penalty_value",
    "prune_rank",
    "pruning_threshold",
]

PenaltyKind = Literal["hypersparse", "l1", "l2"]

INFLECTION = 0.6585
"""Where the slope of tanh falls fastest: artanh(1 / sqrt(3)) = 0.658479, rounded as in the authors' code."""


def pruning_threshold(weights: Sequence[Tensor], *, pruning_rate: float) -> Tensor:
    """tau, the magnitude of rank `prune_rank`, over all weights together; a scalar tensor without gradient.

    Raises:
        ValueError: As `prune_rank`.
    """
    rank = prune_rank(sum(weight.numel() for weight in weights), pruning_rate)
    return _flatten(weights).detach().abs().kthvalue(rank + 1).values


def penalty_value(weights: Sequence[Tensor], *, kind: PenaltyKind, pruning_rate: float) -> Tensor:
    """The penalty as a differentiable scalar, not divided by the number of weights.

    For "hypersparse" the value is zero up to rounding whatever the weights are; differentiate it, do not log it.

    Args:
        weights: The prunable weights, of any shapes, of one dtype and device.
        kind: "hypersparse", "l1" (sum of magnitudes) or "l2" (sum of squares, without root or one-half).
        pruning_rate: Share of weights to remove, in [0, 1); only "hypersparse" depends on it.

    Raises:
        ValueError: As `prune_rank`.
    """
    rank = prune_rank(sum(weight.numel() for weight in weights), pruning_rate)
    w = _flatten(weights)
    if kind == "l2":
        return w.square().sum()
    a = w.abs()
    if kind == "l1":
        return a.sum()
    tau = a.detach().kthvalue(rank + 1).values
    if not _is_usable(tau):
        return a.sum() * 0.0
    t = torch.tanh(INFLECTION / tau * a)
    return a.sum() * t.sum() / t.detach().sum() - a.sum()


def penalty_gradient(weights: Sequence[Tensor], *, kind: PenaltyKind, pruning_rate: float) -> list[Tensor]:
    """The gradient of `penalty_value` in closed form, one tensor per weight tensor.

    When more than `prune_rank` weights are exactly zero, so that tau = 0, the authors' formula yields NaN. The target
    sparsity is then already reached, and the gradient is zero. [deviation: our guard]

    Args:
        weights: As in `penalty_value`; left unchanged.
        kind: As in `penalty_value`.
        pruning_rate: As in `penalty_value`.

    Raises:
        ValueError: As `prune_rank`.
    """
    detached = [weight.detach() for weight in weights]
    tau = pruning_threshold(detached, pruning_rate=pruning_rate)
    if kind == "l1":
        return [weight.sign() for weight in detached]
    if kind == "l2":
        return [2 * weight for weight in detached]
    if not _is_usable(tau):
        return [torch.zeros_like(weight) for weight in detached]
    w = _flatten(detached)
    s = INFLECTION / tau
    c = s * w.abs().sum() / torch.tanh(s * w.abs()).sum()
    return [weight.sign() * c * (1 - torch.tanh(s * weight).square()) for weight in detached]


def exact_count_masks(weights: Sequence[Tensor], *, pruning_rate: float) -> list[Tensor]:
    """Masks that keep exactly n - floor(pruning_rate * n) weights, unlike the strict threshold of `magnitude_masks`.

    Among equal magnitudes the later weights survive, as if the first k of a stable ascending sort were removed.

    Returns:
        One bool tensor per weight tensor, true where a weight is kept.

    Raises:
        ValueError: As `score_masks`.
    """
    return score_masks([weight.detach().abs() for weight in weights], pruning_rate=pruning_rate)


def _flatten(weights: Sequence[Tensor]) -> Tensor:
    """All values in one vector, each tensor row-major whatever its memory format."""
    return torch.cat([weight.reshape(-1) for weight in weights])


def _is_usable(tau: Tensor) -> bool:
    """Whether 0.6585 / tau is finite: false for zero and for subnormal magnitudes, which matter to no network."""
    return bool(tau >= torch.finfo(tau.dtype).tiny)
