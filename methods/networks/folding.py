"""Batch normalisation folded into the layer before it: the same function in evaluation mode with fewer tensors.

Dropout, which is the identity there, goes too.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from methods.networks.architecture import Architecture, Node
from methods.networks.graph import Network
from methods.networks.restore import restore


@torch.no_grad()
def fold_batch_norm(network: Network) -> Network:
    """A copy without dropout, in which every normalisation that alone reads a convolution or linear layer is folded in.

    Computed in float64 and cast back, so that the function in evaluation mode stays the same up to rounding. Weights
    that are zero stay exactly zero. The argument is left alone.
    """
    architecture = _without_dropout(network.architecture)
    readers = architecture.num_readers()
    layers = {node.name: node for node in architecture.nodes if node.op in ("conv2d", "linear")}
    folded = {
        node.inputs[0]: node
        for node in architecture.nodes
        if node.op == "batch_norm" and node.inputs[0] in layers and readers[node.inputs[0]] == 1
    }
    renamed = {norm.name: layer for layer, norm in folded.items()}
    nodes: list[Node] = []
    tensors: dict[str, Tensor] = {}
    for node in architecture.nodes:
        if node.name in renamed:
            continue
        nodes.append(replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs)))
        if node.name in folded:
            nodes[-1].settings["bias"] = True
            weight, bias = _folded(network.nodes[node.name], network.nodes[folded[node.name].name])
            tensors |= {f"nodes.{node.name}.weight": weight, f"nodes.{node.name}.bias": bias}
        elif node.name in network.nodes:
            state = network.nodes[node.name].state_dict()
            tensors |= {f"nodes.{node.name}.{key}": value.clone() for key, value in state.items()}
    return restore(Architecture(tuple(nodes), architecture.input_shape), tensors, like=network)


def _without_dropout(architecture: Architecture) -> Architecture:
    source: dict[str, str] = {}
    nodes: list[Node] = []
    for node in architecture.nodes:
        inputs = tuple(source[name] for name in node.inputs)
        if node.op == "dropout":
            source[node.name] = inputs[0]
        else:
            source[node.name] = node.name
            nodes.append(replace(node, inputs=inputs))
    return Architecture(tuple(nodes), architecture.input_shape)


def fuse_batch_norm(
    weight: Tensor,
    bias: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """Weight and bias of the layer that computes what a layer and the normalisation behind it compute in evaluation.

    W' = W gamma / sqrt(variance + eps) and b' = beta + (b - mean) gamma / sqrt(variance + eps), in float64, cast
    back to the type of `weight`.

    Args:
        weight: Of a convolution or linear layer, output channels first.
        bias: Of the layer, one value per output channel; None: it has none.
        gamma, beta, mean, variance, eps: Of the normalisation, one value per channel.
    """
    scale_O = gamma.double() / torch.sqrt(variance.double() + eps)
    bias_O = torch.zeros_like(scale_O) if bias is None else bias.double()
    fused = weight.double() * scale_O.reshape(-1, *[1] * (weight.dim() - 1))
    bias_O = (bias_O - mean.double()) * scale_O + beta.double()
    return fused.to(weight.dtype), bias_O.to(weight.dtype)


def _folded(layer: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return fuse_batch_norm(
        layer.weight, layer.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps
    )
