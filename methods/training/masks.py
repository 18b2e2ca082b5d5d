"""Masks of a network: which conv and linear weights stay when those worth least among them all are set to zero.

Source of the magnitude masks: `prune` in the public code of Glandorf et al., ICCV workshops 2023 (HyperSparse).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.networks.graph import Network
from methods.training.loop import Hook


def prunable_weights(network: nn.Module) -> list[Tensor]:
    """The weights of every 2-D convolution and linear layer, in module order; no bias, no normalisation."""
    return [module.weight for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def prune_rank(num_weights: int, pruning_rate: float) -> int:
    """The rank k = floor(pruning_rate * n), counted from 0, of the smallest magnitude that is meant to survive.

    Raises:
        ValueError: `pruning_rate` lies outside [0, 1), or there are no weights.
    """
    if not 0 <= pruning_rate < 1:
        raise ValueError(
            f"pruning rate {pruning_rate} lies outside [0, 1): give the share of weights to remove, e.g. 0.9."
        )
    if num_weights < 1:
        raise ValueError("no prunable weights: the network has no conv or linear layer.")
    # The product may round up to num_weights for a rate just below 1.
    return min(math.floor(pruning_rate * num_weights), num_weights - 1)


def magnitude_masks(weights: Sequence[Tensor], *, pruning_rate: float) -> list[Tensor]:
    """Keep the largest of all weights taken together.

    A weight stays iff its magnitude exceeds that of rank k = floor(pruning_rate * n), 0-based and ascending, strictly:
    without ties n - k - 1 weights stay, one fewer than the rate asks for, and at the threshold all ties go. That is
    what the reference code does.

    Args:
        weights: One tensor per layer, all on one device.
        pruning_rate: Share of the weights to remove, in [0, 1).

    Returns:
        One bool tensor per layer, True where the weight stays, laid out in memory like its weight.

    Raises:
        ValueError: The rate is out of range, or there are no weights.
    """
    rank = prune_rank(sum(weight.numel() for weight in weights), pruning_rate)
    magnitude_n = torch.cat([weight.detach().abs().flatten() for weight in weights])
    threshold = magnitude_n.kthvalue(rank + 1).values
    return [weight.detach().abs() > threshold for weight in weights]


def magnitude_pruned(network: Network, *, pruning_rate: float) -> Network:
    """A copy of the network with `magnitude_masks` applied to it."""
    pruned = copy.deepcopy(network)
    weights = prunable_weights(pruned)
    apply_masks(weights, magnitude_masks(weights, pruning_rate=pruning_rate))
    return pruned


def score_masks(scores: Sequence[Tensor], *, pruning_rate: float) -> list[Tensor]:
    """Keep exactly the n - floor(pruning_rate * n) weights of the highest scores, of all layers taken together.

    Among equal scores the later weights stay, as if the first of a stable ascending sort were removed.

    Args:
        scores: One tensor per layer, laid out like its weight, all on one device.
        pruning_rate: Share of the weights to remove, in [0, 1).

    Returns:
        One bool tensor per layer, True where the weight stays, laid out in memory like its scores.

    Raises:
        ValueError: The rate is out of range, there are no weights, or a score is not finite.
    """
    rank = prune_rank(sum(score.numel() for score in scores), pruning_rate)
    score_n = torch.cat([score.detach().reshape(-1) for score in scores])
    if not bool(torch.isfinite(score_n).all()):
        raise ValueError("a score of a weight is not finite: the network overflows on the samples it is scored with.")
    threshold = score_n.kthvalue(rank + 1).values
    keep_n = score_n > threshold
    ties = (score_n == threshold).nonzero().squeeze(1)
    missing = score_n.numel() - rank - int(keep_n.sum())
    keep_n[ties[len(ties) - missing :]] = True
    parts = torch.split(keep_n, [score.numel() for score in scores])
    return [
        torch.empty_like(score, dtype=torch.bool, requires_grad=False).copy_(part.view(score.shape))
        for part, score in zip(parts, scores, strict=True)
    ]


def random_masks(weights: Sequence[Tensor], *, kept: Sequence[int], generator: torch.Generator) -> list[Tensor]:
    """Keep so many weights of each layer, drawn by chance.

    Args:
        kept: One number per layer, at most its number of weights.
        generator: On the CPU.
    """
    masks = [torch.empty_like(weight, dtype=torch.bool, requires_grad=False).fill_(False) for weight in weights]
    for mask, count in zip(masks, kept, strict=True):
        chosen = torch.zeros(mask.numel(), dtype=torch.bool)
        chosen[torch.randperm(mask.numel(), generator=generator)[:count]] = True
        mask.copy_(chosen.view(mask.shape))
    return masks


def emptied_layers(network: nn.Module, masks: Sequence[Tensor]) -> list[str]:
    """Names of the prunable layers of which no weight stays: what lies behind them sees a constant."""
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return [name for name, mask in zip(names, masks, strict=True) if not bool(mask.any())]


def apply_masks(weights: Sequence[Tensor], masks: Sequence[Tensor]) -> None:
    """Set the weights that do not stay to zero, in place."""
    with torch.no_grad():
        for weight, mask in zip(weights, masks, strict=True):
            weight.masked_fill_(~mask, 0.0)


def masked_gradients(weights: Sequence[Tensor], masks: Sequence[Tensor]) -> Hook:
    """A hook for after the backward pass that stops the gradients of removed weights.

    Weights and momentum that are zero then stay exactly zero: weight decay of zero is zero.
    """
    factors = [mask.to(weight.dtype) for weight, mask in zip(weights, masks, strict=True)]

    def hook(network: Network) -> None:
        del network
        # The foreach form is one call for all layers; a layer without gradient took no part in this step.
        pairs = [
            (weight.grad, factor) for weight, factor in zip(weights, factors, strict=True) if weight.grad is not None
        ]
        if pairs:
            torch._foreach_mul_([gradient for gradient, _ in pairs], [factor for _, factor in pairs])

    return hook


def kept_share(masks: Sequence[Tensor]) -> float:
    """Share of the weights that stay."""
    return int(torch.stack([mask.sum() for mask in masks]).sum()) / sum(mask.numel() for mask in masks)
