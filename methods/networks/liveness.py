"""Which units of a network do nothing: found from its weights alone, without samples.

Two sweeps. Forward, the lowest and highest value that each channel can take whatever the input (interval
arithmetic); a unit whose highest value after ReLU is 0 is always 0. Backward, whether any weight that is not zero
carries a channel to the logits. Residual sums need no rule of their own: a channel of a sum lives as long as any block
of its stage reads it.

Shapes: O, I = output and input channels of a layer, K = positions of its kernel, C = channels of a node.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from methods.networks.architecture import Node
from methods.networks.graph import Network

Range = tuple[Tensor, Tensor]
"""Lowest and highest value of each channel, (C,) float64, with infinities."""


@torch.no_grad()
def dead_units(network: Network) -> dict[str, Tensor]:
    """The keep-set, (units,) bool on the CPU for every site, that drops all units which do nothing in evaluation mode.

    A unit goes when it is always 0, or when no weight that is not zero reads it, directly or through layers that only
    hand it on. A unit with any other constant value stays. Cutting with this keep-set leaves the function as it is,
    and leaves no dead unit.

    Raises:
        ValueError: A convolution with groups that is not depthwise.
    """
    highest = {name: high for name, (_, high) in _ranges(network).items()}
    alive = _alive(network, highest)
    return {site.name: alive[site.name] & (highest[site.name] > 0) for site in network.sites}


def kind_of_groups(node: Node) -> str:
    """`dense` or `depthwise`.

    Raises:
        ValueError: A grouped convolution of another kind, whose channels cannot be cut one by one.
    """
    channels, outputs, groups = (node.settings[key] for key in ("in_channels", "out_channels", "groups"))
    if groups == 1:
        return "dense"
    if groups == channels == outputs:
        return "depthwise"
    raise ValueError(
        f"node {node.name!r}: a convolution of {channels} to {outputs} channels in {groups} groups cannot be cut by "
        f"channel; use groups=1, or as many groups as inputs and outputs (depthwise)"
    )


def sums_inputs(node: Node) -> bool:
    """Whether each output of a layer with weights reads all its inputs.

    Raises:
        ValueError: As `kind_of_groups`.
    """
    return node.op == "linear" or (node.op == "conv2d" and kind_of_groups(node) == "dense")


def _ranges(network: Network) -> dict[str, Range]:
    architecture = network.architecture
    ranges: dict[str, Range] = {}
    for node in architecture.nodes:
        if node.op == "input":
            infinite = torch.full((architecture.input_shape[0],), math.inf, dtype=torch.float64)
            ranges[node.name] = (-infinite, infinite)
        else:
            inputs = [ranges[name] for name in node.inputs]
            ranges[node.name] = _range(network, node, inputs)
    return ranges


def _range(network: Network, node: Node, inputs: list[Range]) -> Range:
    low, high = inputs[0]
    if node.op in ("conv2d", "avg_pool") and any(node.pair("padding")):
        low, high = low.clamp(max=0), high.clamp(min=0)
    if node.op in ("conv2d", "linear"):
        weight_OIK, bias_O = _weights(network, node)
        if node.op == "conv2d" and kind_of_groups(node) == "depthwise":
            low, high = low[:, None], high[:, None]
        at_low, at_high = _times(weight_OIK, low[..., None]), _times(weight_OIK, high[..., None])
        lowest = torch.minimum(at_low, at_high).sum(dim=(1, 2))
        highest = torch.maximum(at_low, at_high).sum(dim=(1, 2))
        return lowest + bias_O, highest + bias_O
    if node.op == "batch_norm":
        scale, shift = _scale_and_shift(network, node)
        at_low, at_high = _times(scale, low), _times(scale, high)
        return torch.minimum(at_low, at_high) + shift, torch.maximum(at_low, at_high) + shift
    if node.op == "relu":
        return low.clamp(min=0), high.clamp(min=0)
    if node.op == "sigmoid":
        return low.sigmoid(), high.sigmoid()
    if node.op == "softmax":
        return torch.zeros_like(low), torch.ones_like(high)
    if node.op == "add":
        return torch.stack([low for low, _ in inputs]).sum(dim=0), torch.stack([high for _, high in inputs]).sum(dim=0)
    if node.op == "concat":
        return torch.cat([low for low, _ in inputs]), torch.cat([high for _, high in inputs])
    if node.op == "flatten":
        size = math.prod(network.architecture.shapes[node.inputs[0]][1:])
        return low.repeat_interleave(size), high.repeat_interleave(size)
    if node.op == "select":
        return _selected(low, node), _selected(high, node)
    return low, high  # pooling, and dropout, which is the identity in evaluation mode


def _times(weight: Tensor, value: Tensor) -> Tensor:
    """The product where 0 times infinity is 0: a weight of zero carries nothing."""
    return torch.where((weight == 0) | (value == 0), 0.0, weight * value)


def _selected(values_C: Tensor, node: Node) -> Tensor:
    index = torch.tensor(node.settings["indices"])
    return torch.where(index < 0, torch.zeros((), dtype=values_C.dtype), values_C[index.clamp(min=0)])


def _weights(network: Network, node: Node) -> tuple[Tensor, Tensor]:
    layer = network.nodes[node.name]
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    weight_OIK = layer.weight.detach().cpu().double().flatten(2) if layer.weight.dim() > 2 else None
    if weight_OIK is None:
        weight_OIK = layer.weight.detach().cpu().double()[..., None]
    bias = layer.bias
    return weight_OIK, torch.zeros(len(weight_OIK)).double() if bias is None else bias.detach().cpu().double()


def _scale_and_shift(network: Network, node: Node) -> tuple[Tensor, Tensor]:
    norm = network.nodes[node.name]
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias, mean, variance = (
        tensor.detach().cpu().double() for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    scale = weight / torch.sqrt(variance + norm.eps)
    return scale, bias - mean * scale


def _alive(network: Network, highest: dict[str, Tensor]) -> dict[str, Tensor]:
    """For each node and channel, whether the logits can depend on it."""
    architecture = network.architecture
    alive = {name: torch.zeros(shape[0], dtype=torch.bool) for name, shape in architecture.shapes.items()}
    alive[architecture.nodes[-1].name].fill_(True)
    for node in reversed(architecture.nodes[1:]):
        here = alive[node.name]
        if node.op in ("conv2d", "linear"):
            weight_OIK, _ = _weights(network, node)
            reads_OI = (weight_OIK != 0).any(dim=2)
            depthwise = node.op == "conv2d" and kind_of_groups(node) == "depthwise"
            alive[node.inputs[0]] |= here & reads_OI[:, 0] if depthwise else (reads_OI & here[:, None]).any(dim=0)
        elif node.op == "batch_norm":
            alive[node.inputs[0]] |= here & (_scale_and_shift(network, node)[0] != 0)
        elif node.op == "relu":
            alive[node.inputs[0]] |= here & (highest[node.name] > 0)
        elif node.op == "softmax":
            # Every probability hangs on all logits.
            alive[node.inputs[0]] |= here.any()
        elif node.op == "concat":
            for name, part in zip(
                node.inputs, here.split_with_sizes([len(alive[name]) for name in node.inputs]), strict=True
            ):
                alive[name] |= part
        elif node.op == "flatten":
            alive[node.inputs[0]] |= here.reshape(len(alive[node.inputs[0]]), -1).any(dim=1)
        elif node.op == "select":
            index = torch.tensor(node.settings["indices"])
            alive[node.inputs[0]][index[here & (index >= 0)]] = True
        else:  # pooling, dropout, sigmoid and sums hand every channel on
            for name in node.inputs:
                alive[name] |= here
    return alive
