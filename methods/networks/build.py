"""From a network's name to a freshly initialised network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from methods.networks.architecture import Shape
from methods.networks.catalog import classifier_std, conv_fan, design_network
from methods.networks.graph import Network


def build_network(
    name: str,
    *,
    input_shape: Shape,
    num_outputs: int,
    width: float = 1.0,
    seed: int,
    arguments: Mapping[str, Any] | None = None,
) -> Network:
    """A network of the catalog with initial weights that depend on its architecture and `seed` alone.

    Args:
        input_shape: (C, H, W), or (D,) for tables.
        width: Scales the number of units of every inner layer, rounded, at least 1.
        arguments: As in a study, e.g. `{"widths": [64, 64]}`.

    Raises:
        ValueError: See `methods.networks.catalog.design_network`.
    """
    architecture = design_network(
        name, input_shape=input_shape, num_outputs=num_outputs, width=width, arguments=arguments
    )
    network = Network(architecture)
    initialise(network, seed=seed, output_std=classifier_std(name), fan=conv_fan(name))
    return network


@torch.no_grad()
def initialise(
    network: Network, *, seed: int, output_std: float | None = None, fan: Literal["in", "out"] = "out"
) -> None:
    """Draw initial weights in place, leaving the global random state alone.

    Convolutions: normal with variance 2 / fan, of their outputs as the residual networks of He et al. are trained, or
    of their inputs. Linear layers: normal with variance 2 / fan-in, the last one 1 / fan-in, for no ReLU follows it.
    Biases: zero.

    Args:
        network: On the CPU, freshly made.
        output_std: Standard deviation of the last layer's weights instead.
        fan: Of convolutions.
    """
    generator = torch.Generator().manual_seed(seed)
    last = network.architecture.nodes[-1].name
    for name, module in network.nodes.items():
        if isinstance(module, nn.Conv2d):
            channels = module.out_channels if fan == "out" else module.in_channels
            connections = channels // module.groups * math.prod(module.kernel_size)
            module.weight.normal_(0.0, math.sqrt(2 / connections), generator=generator)
        elif isinstance(module, nn.Linear):
            std = math.sqrt((1 if name == last else 2) / module.in_features)
            if name == last and output_std is not None:
                std = output_std
            module.weight.normal_(0.0, std, generator=generator)
