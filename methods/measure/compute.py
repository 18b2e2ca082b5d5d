"""Multiply-accumulates of one forward pass, counted where they happen: 1 MAC = 2 FLOPs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from methods.measure.predict import evaluation_mode

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def count_macs(network: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of all convolutions and linear layers for one sample, executed densely.

    Zero weights count, because dense kernels multiply by them; so do padded positions. Biases, normalisation,
    activations and pooling do not. A layer that is used twice counts twice.

    Args:
        network: Any module whose convolutions and linear layers are layers of `torch.nn`; it is left as it was.
        input_shape: Of one sample, without the batch.
    """
    total = 0

    def count(layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal total
        total += output.numel() * _macs_per_output(layer)

    layers = [layer for layer in network.modules() if isinstance(layer, (*_CONVOLUTIONS, nn.Linear))]
    handles = [layer.register_forward_hook(count) for layer in layers]
    like = next(network.parameters(), torch.empty(0))
    try:
        with evaluation_mode(network):
            network(torch.zeros((1, *input_shape), dtype=like.dtype, device=like.device))
    finally:
        for handle in handles:
            handle.remove()
    return total


def _macs_per_output(layer: nn.Module) -> int:
    """Products summed into one value of the layer's output."""
    if isinstance(layer, _CONVOLUTIONS):
        return layer.in_channels // layer.groups * math.prod(layer.kernel_size)
    assert isinstance(layer, nn.Linear)
    return layer.in_features
