"""From stored samples to what a network reads.

Shapes: N = samples, C = channels, H, W = height and width, D = features.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from methods.contract import Normalization


def normalise(inputs: Tensor, normalization: Normalization) -> Tensor:
    """Samples as the network reads them, on the device they are on.

    Args:
        inputs: uint8 (N, C, H, W) images or floating (N, D) tables; images are brought to the 0-1 scale first.
        normalization: One mean and one standard deviation per channel or feature; a single value serves all of them.

    Returns:
        A new float32 tensor of the same shape and memory format.

    Raises:
        ValueError: The statistics are for another number of channels or features.
    """
    count = inputs.shape[1]
    if len(normalization.mean) not in (1, count) or len(normalization.std) != len(normalization.mean):
        raise ValueError(
            f"normalise: {len(normalization.mean)} means and {len(normalization.std)} deviations for inputs of shape "
            f"{tuple(inputs.shape)}; give one of each per channel or feature."
        )
    mean, std = (values.view((1, -1) + (1,) * (inputs.dim() - 2)) for values in _on(inputs.device, normalization))
    if inputs.dtype == torch.uint8:
        # (x/255 - mean)/std in one pass less over the pixels.
        mean, std = mean * 255, std * 255
    return inputs.to(torch.float32).sub_(mean).div_(std) if inputs.dtype != torch.float32 else (inputs - mean) / std


@lru_cache(maxsize=16)
def _on(device: torch.device, normalization: Normalization) -> tuple[Tensor, Tensor]:
    """Mean and deviation on the device. Kept, because copying them anew for each batch makes the host wait for it."""
    # Ordinary tensors even if the first caller is inside inference mode, as later callers may train.
    with torch.inference_mode(False):
        return (
            torch.tensor(normalization.mean, dtype=torch.float32, device=device),
            torch.tensor(normalization.std, dtype=torch.float32, device=device),
        )
