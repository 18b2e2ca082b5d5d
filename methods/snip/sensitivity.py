"""Connection sensitivity of Lee, Ajanthan, Torr, "SNIP: Single-shot Network Pruning", ICLR 2019, equation 6."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def connection_sensitivity(loss: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """How much the loss reacts when a weight w is scaled away: |dL/dw * w|, over the sum of all.

    Args:
        loss: A scalar that depends on all weights.
        weights: One tensor per layer.

    Returns:
        One tensor per layer, laid out like it; all values together add up to 1, or are zero where no weight matters.
    """
    gradients = torch.autograd.grad(loss, list(weights))
    scores = [(weight.detach() * gradient).abs() for weight, gradient in zip(weights, gradients, strict=True)]
    total = torch.stack([score.sum() for score in scores]).sum()
    return [score / total.clamp(min=torch.finfo(total.dtype).tiny) for score in scores]
