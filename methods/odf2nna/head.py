"""Reading a network's dense head, and making it smaller.

Shapes: N = rows, D = inputs of the head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from methods.networks.dense_head import DenseHead
from methods.networks.graph import Network
from methods.odf2nna.rebuild import cut
from methods.surgery import extract


def head_weights(network: Network, head: DenseHead) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases of the head's layers, detached, sharing memory."""
    weights, biases = [], []
    for name in head.layers:
        layer = network.nodes[name]
        assert isinstance(layer, nn.Linear)
        weights.append(layer.weight.detach())
        biases.append(layer.bias.detach())
    return weights, biases


@torch.no_grad()
def head_inputs(network: Network, head: DenseHead, x: Tensor) -> Tensor:
    """What the head's first layer reads, (N, D), for a batch as the network reads it."""
    seen: list[Tensor] = []

    def remember(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        del module
        seen.append(inputs[0])

    handle = network.nodes[head.layers[0]].register_forward_pre_hook(remember)
    try:
        network(x)
    finally:
        handle.remove()
    return seen[0]


@torch.no_grad()
def with_head(network: Network, head: DenseHead, keep: Sequence[Tensor], biases: Sequence[Tensor]) -> Network:
    """A smaller network: the hidden units of `keep`, the weights among them, and these biases.

    What comes before the head loses only what nothing reads any more.

    Args:
        network: Left alone.
        keep: One bool tensor per hidden layer of the head.
        biases: Of all layers of the head, uncut, in place of the network's own.
    """
    smaller = extract(network, _by_site(head, keep))
    for name, bias in zip(head.layers, cut(head_weights(network, head)[0], biases, keep)[1], strict=True):
        layer = smaller.nodes[name]
        assert isinstance(layer, nn.Linear)
        layer.bias.copy_(bias)
    return smaller


def _by_site(head: DenseHead, keep: Sequence[Tensor]) -> Mapping[str, Tensor]:
    return dict(zip(head.sites, keep, strict=True))
