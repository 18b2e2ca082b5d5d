"""Global magnitude masks: which conv and linear weights stay when the smallest of them all are set to zero.

Source: `prune` in the public code of Glandorf et al., ICCV workshops 2023 (HyperSparse).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.networks.graph import Network
from methods.training.loop import Hook


def prunable_weights(network: nn.Module) -> list[Tensor]:
    """The weights of every 2-D convolution and linear layer, in module order; no bias, no normalisation."""
    return [module.weight for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


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
    if not 0 <= pruning_rate < 1:
        raise ValueError(f"pruning rate {pruning_rate}: give the share of weights to remove, at least 0 and below 1.")
    if not weights:
        raise ValueError("magnitude_masks: no weights to choose from; the network has no conv or linear layer.")
    magnitude_n = torch.cat([weight.detach().abs().flatten() for weight in weights])
    # The product may round up to n for a rate just below 1.
    k = min(math.floor(pruning_rate * magnitude_n.numel()), magnitude_n.numel() - 1)
    threshold = magnitude_n.kthvalue(k + 1).values
    return [weight.detach().abs() > threshold for weight in weights]


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
        torch._foreach_mul_([gradient for gradient, _ in pairs], [factor for _, factor in pairs])

    return hook


def kept_share(masks: Sequence[Tensor]) -> float:
    """Share of the weights that stay."""
    return int(torch.stack([mask.sum() for mask in masks]).sum()) / sum(mask.numel() for mask in masks)
