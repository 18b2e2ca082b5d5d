"""A network run with other weights than its own, of any width: one skeleton serves all.

Shapes: N = samples, C = channels, H, W = height and width, D = features.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from methods.networks.graph import Network

Layers = Mapping[str, tuple[Tensor, Tensor | None]]
"""Weight and bias of convolutions and linear layers, by the name of the node."""


def run_with(network: Network, x: Tensor, layers: Layers) -> Tensor:
    """What the network would compute with these weights in place of its own, differentiable in both.

    Weights may have other numbers of channels than the network's own, as long as they fit one another: everything
    between two layers takes the channels as they come.

    Args:
        network: Without batch normalisation where channels differ.
        x: Inputs, (N, C, H, W) or (N, D).
        layers: Those that are not the network's own.
    """
    values: list[Tensor | None] = [x] * (len(network.steps) + 1)
    for node, step in zip(network.architecture.nodes[1:], network.steps, strict=True):
        if node.name in layers:
            (source,) = step.sources
            values[step.target] = _applied(network.nodes[node.name], values[source], *layers[node.name])
            for place in step.spent:
                values[place] = None
        else:
            step.run(values)
    logits = values[-1]
    assert logits is not None
    return logits


def _applied(layer: nn.Module, x: Tensor | None, weight: Tensor, bias: Tensor | None) -> Tensor:
    assert x is not None
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
    return F.linear(x, weight, bias)
