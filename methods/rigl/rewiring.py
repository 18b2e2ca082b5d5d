"""One update of RigL in one layer: the smallest living weights go, weights with large gradients come."""

from __future__ import annotations

import torch
from torch import Tensor


def rewire(weight: Tensor, gradient: Tensor, mask: Tensor, *, living: int, replaced: int) -> Tensor:
    """The layer's next mask, with as many living weights as before.

    As in the paper, candidates for growth are all weights that are not kept, those just dropped included: one with a
    large gradient may stay after all.

    Args:
        weight: Of the layer.
        gradient: Of the loss with respect to all of it, also where weights are zero by their mask.
        mask: True where a weight lives now.
        living: How many live; given, so that the device need not be asked.
        replaced: How many to drop and to grow, at most `living`.

    Returns:
        A new mask, laid out like `mask`.
    """
    nothing = torch.full((), -1.0, dtype=weight.dtype, device=weight.device)
    magnitude_n = torch.where(mask, weight.detach().abs(), nothing).reshape(-1)
    next_n = torch.zeros_like(magnitude_n, dtype=torch.bool)
    next_n[magnitude_n.topk(living - replaced).indices] = True
    growth_n = torch.where(next_n, nothing, gradient.detach().abs().reshape(-1))
    next_n[growth_n.topk(replaced).indices] = True
    return torch.empty_like(mask).copy_(next_n.view(mask.shape))
