"""The weights and biases that morph, as one list: their shapes at a width, where they come from, where they go.

A layer of a part gives two tensors, its weight and then its bias, in order of computation: the order of the network's
parameters. A linear layer that reads a flattened map has a kernel like that of a convolution (ours).

Shapes: O, I = output and input channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.morphing.parts import MorphingLayer, Part, units_at
from methods.networks.functional import Layers
from methods.networks.graph import Network

Shape = tuple[int, ...]


def tensor_shapes(parts: Sequence[Part], width: float) -> list[Shape]:
    """Shapes of all tensors at a width: (O, I, height, width) or (O, I) of weights, (O,) of biases.

    Raises:
        ValueError: See `units_at`.
    """
    units = units_at(parts, width)
    shapes: list[Shape] = []
    for layer in _layers(parts):
        outputs = units.get(layer.output_site or "", layer.outputs)
        inputs = units.get(layer.input_site or "", layer.inputs)
        shapes += [(outputs, inputs, *layer.taps), (outputs,)]
    return shapes


def own_tensors(network: Network, parts: Sequence[Part]) -> list[Tensor]:
    """Those of a network at full width, detached.

    Raises:
        ValueError: A layer has no bias; fold batch normalisation first.
    """
    shapes = iter(tensor_shapes(parts, 1.0))
    found: list[Tensor] = []
    for layer in _layers(parts):
        own = network.nodes[layer.name]
        assert isinstance(own, nn.Conv2d | nn.Linear)
        if own.bias is None:
            raise ValueError(f"layer '{layer.name}' has no bias; fold batch normalisation into it first")
        found += [tensor.detach().reshape(next(shapes)) for tensor in (own.weight, own.bias)]
    return found


def as_layers(parts: Sequence[Part], tensors: Sequence[Tensor], gates: Tensor | None = None) -> Layers:
    """The tensors as the layers of a network.

    Args:
        parts: Whose tensors these are.
        tensors: In the order of `tensor_shapes`.
        gates: Of each part, multiplied into its last layer: what it adds is gate * branch(x). None: all 1.
    """
    pairs = zip(tensors[::2], tensors[1::2], strict=True)
    found: dict[str, tuple[Tensor, Tensor | None]] = {}
    for index, part in enumerate(parts):
        for layer in part.layers:
            weight, bias = next(pairs)
            flat = weight.flatten(1) if layer.flattens else weight
            if gates is not None and layer is part.layers[-1]:
                flat, bias = flat * gates[index], bias * gates[index]
            found[layer.name] = flat, bias
    return found


def padded(tensors: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Tensor]:
    """The tensors filled up with zeros to larger shapes.

    A padded channel puts out ReLU(0) = 0 and is read by zero weights, so the network computes the same, and one
    compiled or captured graph serves all widths.
    """
    return [
        nn.functional.pad(tensor, [room for have, want in _backwards(tensor.shape, shape) for room in (0, want - have)])
        for tensor, shape in zip(tensors, shapes, strict=True)
    ]


def resampled(tensors: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Tensor]:
    """The tensors brought to other numbers of channels by linear interpolation between neighbouring ones (ours).

    Where a layer then reads fewer channels each counts for more, so that sums keep their size. It presupposes channels
    in a smooth order (`methods.metamorphic.permutation`), and is a start for training rather than a network.
    """
    return [_resampled(tensor, shape) for tensor, shape in zip(tensors, shapes, strict=True)]


def _resampled(tensor: Tensor, shape: Shape) -> Tensor:
    found = _interpolated(tensor, shape[0], dim=0)
    if len(shape) > 1:
        found = _interpolated(found, shape[1], dim=1) * (tensor.shape[1] / shape[1])
    return found


def _interpolated(tensor: Tensor, count: int, *, dim: int) -> Tensor:
    """Values at the centres of `count` equal pieces of the axis, those beyond the outermost centres held."""
    have = tensor.shape[dim]
    if have == count:
        return tensor
    place = ((torch.arange(count, device=tensor.device) + 0.5) * have / count - 0.5).clamp(0, have - 1)
    below = place.floor().long()
    share = (place - below).reshape([-1 if axis == dim else 1 for axis in range(tensor.dim())])
    above = (below + 1).clamp(max=have - 1)
    return tensor.index_select(dim, below) * (1 - share) + tensor.index_select(dim, above) * share


def _layers(parts: Sequence[Part]) -> list[MorphingLayer]:
    return [layer for part in parts for layer in part.layers]


def _backwards(have: Sequence[int], want: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(reversed(have), reversed(want), strict=True))
