"""Random crops and flips of whole batches as tensor operations; no sample is touched alone.

Shapes: N = samples, C = channels, H, W = height and width, P = padding.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(inputs: Tensor, *, kind: Literal["none", "crop_flip"], generator: torch.Generator) -> Tensor:
    """Another view of each image.

    `crop_flip` pads with H // 8 zero pixels on each side (4 for CIFAR, at least 1), crops at random to the old size
    and mirrors left to right with probability one half: the augmentation of the CIFAR residual networks.

    Args:
        inputs: uint8 (N, C, H, W), not normalised, so that padding is black.
        kind: `none` returns the inputs as they are and draws no random numbers.
        generator: On the same device as the inputs.

    Returns:
        The same shape and type; `crop_flip` lays it out channels-last.
    """
    if kind == "none":
        return inputs
    count, _, height, width = inputs.shape
    pad = max(1, height // 8)
    device = inputs.device
    offset_2N = torch.randint(2 * pad + 1, (2, count), generator=generator, device=device)
    mirrored_N = torch.randint(2, (count,), generator=generator, device=device)
    row_NH = offset_2N[0, :, None] + torch.arange(height, device=device)
    column_W = torch.arange(width, device=device)
    # Mirrored samples read their columns from the other end: crop and flip are one gather.
    column_NW = offset_2N[1, :, None] + torch.where(mirrored_N[:, None] == 1, width - 1 - column_W, column_W)
    padded_NHWC = F.pad(inputs, (pad, pad, pad, pad)).permute(0, 2, 3, 1).contiguous()
    sample_N = torch.arange(count, device=device)
    view_NHWC = padded_NHWC[sample_N[:, None, None], row_NH[:, :, None], column_NW[:, None, :]]
    return view_NHWC.permute(0, 3, 1, 2)
