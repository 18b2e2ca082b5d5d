"""Which channels of each node a cut network holds, for many keep-sets at once and without cutting.

A channel is absent when nobody needs it, or when it is known to be zero because its site drops it. Needs travel
backward through the graph, zeros forward.

Shapes: S = keep-sets, U = units of a site, K = outputs, C = channels of a node.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from methods.networks.architecture import Architecture
from methods.networks.liveness import kind_of_groups


def present_channels(architecture: Architecture, kept: Mapping[str, Tensor], outputs_SK: Tensor) -> dict[str, Tensor]:
    """For each node the channels that stay in the cut network, bool (S, C).

    The input keeps all its channels, and a linear layer at the end the wanted outputs, also where they are zero.

    Args:
        kept: The units that stay, bool (S, U), by the name of their site; a site that is left out keeps all.
        outputs_SK: The logits that stay, bool.

    Raises:
        ValueError: A convolution has groups that cannot be cut.
    """
    needed = _needed(architecture, kept, outputs_SK)
    zero = _zero(architecture, kept, len(outputs_SK))
    present = {name: needed[name] & ~zero[name] for name in needed}
    first, last = architecture.nodes[0], architecture.nodes[-1]
    present[first.name] = torch.ones_like(needed[first.name])
    if last.op == "linear":
        present[last.name] = outputs_SK
    return present


def _needed(architecture: Architecture, kept: Mapping[str, Tensor], outputs_SK: Tensor) -> dict[str, Tensor]:
    """For each node and channel, whether a later layer reads it; what a site drops is not needed before the site."""
    rows = len(outputs_SK)
    needed = {name: torch.zeros(rows, shape[0], dtype=torch.bool) for name, shape in architecture.shapes.items()}
    needed[architecture.nodes[-1].name] |= outputs_SK
    for node in reversed(architecture.nodes[1:]):
        here = needed[node.name]
        source = needed[node.inputs[0]]
        if node.op in ("linear", "softmax") or (node.op == "conv2d" and kind_of_groups(node) == "dense"):
            if node.op == "softmax":
                # There is no part of it: every probability hangs on all logits.
                here |= here.any(dim=1, keepdim=True)
            source |= here.any(dim=1, keepdim=True)
        elif node.op == "relu":
            source |= here & kept.get(node.name, here)
        elif node.op == "concat":
            parts = here.split_with_sizes([needed[name].shape[1] for name in node.inputs], dim=1)
            for name, part in zip(node.inputs, parts, strict=True):
                needed[name] |= part
        elif node.op == "flatten":
            per_channel = here.view(rows, source.shape[1], here.shape[1] // source.shape[1])
            source |= per_channel.any(dim=2)
            # All features of a channel are there or none is.
            per_channel |= source[:, :, None]
        elif node.op == "select":
            index = torch.tensor(node.settings["indices"])
            # Added up, because several outputs may read one channel.
            readers = torch.zeros(source.shape, dtype=torch.int32)
            readers.index_add_(1, index[index >= 0], here[:, index >= 0].int())
            source |= readers > 0
        else:  # sigmoid, batch_norm, depthwise convolutions, pooling, dropout, sums: channel by channel
            for name in node.inputs:
                needed[name] |= here
    return needed


def _zero(architecture: Architecture, kept: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
    """For each node and channel, whether it is zero for every input, because of the sites."""
    zero: dict[str, Tensor] = {}
    for node in architecture.nodes:
        inputs = [zero[name] for name in node.inputs]
        nothing = torch.zeros(rows, architecture.shapes[node.name][0], dtype=torch.bool)
        if node.op in ("input", "batch_norm", "sigmoid", "softmax"):
            zero[node.name] = nothing
        elif node.op in ("conv2d", "linear"):
            zero[node.name] = nothing if node.settings["bias"] else nothing | inputs[0].all(dim=1, keepdim=True)
        elif node.op == "relu":
            zero[node.name] = inputs[0] | ~kept.get(node.name, ~nothing)
        elif node.op == "add":
            zero[node.name] = torch.stack(inputs).all(dim=0)
        elif node.op == "concat":
            zero[node.name] = torch.cat(inputs, dim=1)
        elif node.op == "flatten":
            zero[node.name] = inputs[0].repeat_interleave(nothing.shape[1] // inputs[0].shape[1], dim=1)
        elif node.op == "select":
            index = torch.tensor(node.settings["indices"])
            zero[node.name] = inputs[0][:, index.clamp(min=0)] | (index < 0)
        else:
            zero[node.name] = inputs[0]
    return zero
