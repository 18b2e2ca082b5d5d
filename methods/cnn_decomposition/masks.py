"""Masks of GradSplitter: one real number per module and convolution kernel, of which only the sign counts.

Source: Qi et al., "Reusing Convolutional Neural Network Models through Modularization and Composition", TOSEM 2023,
arXiv 2311.04438; the rules are those of its public code (qibinhang/GradSplitter).

Shapes: M = modules, C = kernels (output channels) of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from methods.cnn_decomposition.layers import MaskedLayer


def binarise(mask: Tensor) -> Tensor:
    """1 where a mask is above 0, else 0; going back, the incoming gradient clipped to [-1, 1], whatever the mask.

    Because the gradient does not vanish for masks at or below 0, a removed kernel can come back. Every use of a mask is
    to binarise it anew: the reference does so, and each use is then clipped by itself.
    """
    binary: Tensor = _StraightThrough.apply(mask)  # type: ignore[no-untyped-call]
    return binary


def size_term(masks: Tensor | Sequence[Tensor]) -> Tensor:
    """The average share of kernels that modules retain, in [0, 1], a scalar.

    Args:
        masks: Real-valued, of any shapes, one tensor per layer (or one alone). A mask of tied layers is listed once for
            each of them, so that it weighs as much as they hold.

    Raises:
        ValueError: There is no mask.
    """
    listed = [masks] if isinstance(masks, Tensor) else list(masks)
    if not listed:
        raise ValueError("size_term: no masks; give one per convolution layer")
    kept = torch.stack([binarise(mask).sum() for mask in listed]).sum()
    return kept / sum(mask.numel() for mask in listed)


class KernelMasks(nn.Module):
    """The masks of all modules of a network: all kernels kept at first.

    Args:
        layers: Of the network, see `maskable_layers`; tied layers have one mask together.
        num_modules: M.
    """

    def __init__(self, layers: Sequence[MaskedLayer], num_modules: int) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.vectors = nn.ParameterList([nn.Parameter(torch.ones(num_modules, layer.kernels)) for layer in layers])

    def gates(self) -> dict[str, Tensor]:
        """What the outputs of each site are multiplied by, (M, C) by the site's name, each binarised by itself."""
        return {
            name: binarise(vector_MC)
            for layer, vector_MC in zip(self.layers, self.vectors, strict=True)
            for name in layer.sites
        }

    def listed(self) -> list[Tensor]:
        """The real-valued masks (M, C), one for each site, those of tied sites repeated: for `size_term`."""
        return [
            vector_MC
            for layer, vector_MC in zip(self.layers, self.vectors, strict=True)
            for _ in range(len(layer.sites))
        ]

    def kept(self) -> list[Tensor]:
        """The kernels each module retains, bool (M, C) per layer."""
        return [vector_MC.detach() > 0 for vector_MC in self.vectors]


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mask: Tensor) -> Tensor:
        del ctx
        return (mask > 0).to(mask.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        (gradient,) = gradients
        return gradient.clamp(-1, 1)
