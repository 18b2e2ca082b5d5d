"""Fused networks with weights and normalisation of many sizes, to compare functions on."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from methods.networks.build import build_network
from methods.networks.folding import fold_batch_norm
from methods.networks.graph import Network


def fused(name: str, input_shape: tuple[int, ...] = (3, 32, 32), *, seed: int = 0, **arguments: Any) -> Network:
    """A network without batch normalisation, in evaluation mode, on the CPU."""
    network = build_network(name, input_shape=input_shape, num_outputs=10, seed=seed, arguments=arguments)
    generator = torch.Generator().manual_seed(seed + 1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                for tensor, low, high in (
                    (module.weight, 0.5, 1.5),
                    (module.bias, -0.3, 0.3),
                    (module.running_mean, -0.5, 0.5),
                    (module.running_var, 0.5, 2.0),
                ):
                    assert tensor is not None
                    tensor.uniform_(low, high, generator=generator)
    return fold_batch_norm(network).eval()


def inputs(network: Network, *, count: int = 4, seed: int = 5) -> torch.Tensor:
    """Random samples for it."""
    return torch.randn(count, *network.architecture.input_shape, generator=torch.Generator().manual_seed(seed))
