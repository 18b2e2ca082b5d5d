"""Narrow networks as slices of a wide one: the first units of every layer that changes its width."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.morphing.parts import Part
from methods.morphing.source import WeightSource
from methods.morphing.tensors import tensor_shapes
from methods.networks.graph import Network


def sliced(full: Network, narrow: Network) -> dict[str, Tensor]:
    """The parameters that the narrow network has in common with the full one, as views: gradients reach the full one.

    A linear layer behind `flatten` reads the features of the first channels, which come first.
    """
    wanted = dict(narrow.named_parameters())
    return {name: parameter[_corner(wanted[name].shape)] for name, parameter in full.named_parameters()}


class SlicedWeights(WeightSource):
    """Morphing weights as slices of the trained network's own, which are trained on."""

    def __init__(self, parts: Sequence[Part], tensors: Sequence[Tensor]) -> None:
        super().__init__()
        self._parts = tuple(parts)
        self._start = [tensor.clone() for tensor in tensors]
        self._served = 0
        self.full = nn.ParameterList()

    def grow(self, parts: int) -> None:
        """See `WeightSource`."""
        self._served = parts
        count = len(tensor_shapes(self._parts[:parts], 1.0))
        self.full.extend([nn.Parameter(tensor) for tensor in self._start[len(self.full) : count]])

    def tensors(self, widths: Sequence[float], *, generator: torch.Generator, draws: int = 1) -> list[list[Tensor]]:
        """See `WeightSource`; nothing is random."""
        del generator, draws
        parts = self._parts[: self._served]
        return [
            [tensor[_corner(shape)] for tensor, shape in zip(self.full, tensor_shapes(parts, width), strict=True)]
            for width in widths
        ]


def _corner(shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(size) for size in shape)
