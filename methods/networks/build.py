"""From a network's name to a freshly initialised network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from methods.networks.architecture import Shape
from methods.networks.catalog import design_network, initialisation_of
from methods.networks.graph import Network
from methods.networks.initialisation import Initialisation, Spread
from methods.networks.resizing import with_units


def build_network(
    name: str,
    *,
    input_shape: Shape,
    num_outputs: int,
    width: float = 1.0,
    units: Mapping[str, int] | None = None,
    seed: int,
    arguments: Mapping[str, Any] | None = None,
) -> Network:
    """A network of the catalog with initial weights that depend on its architecture and `seed` alone.

    Args:
        input_shape: (C, H, W), or (D,) for tables.
        width: Scales the number of units of every inner layer, rounded, at least 1.
        units: Other numbers of units at some sites, by name.
        arguments: As in a study, e.g. `{"widths": [64, 64]}`.

    Raises:
        ValueError: See `methods.networks.catalog.design_network` and `methods.networks.resizing.with_units`.
    """
    architecture = design_network(
        name, input_shape=input_shape, num_outputs=num_outputs, width=width, arguments=arguments
    )
    if units:
        architecture = with_units(architecture, units)
    network = Network(architecture)
    initialise(network, seed=seed, spreads=initialisation_of(name))
    return network


def initialise(network: Network, *, seed: int, spreads: Initialisation | None = None) -> None:
    """Draw initial weights in place, leaving the global random state alone.

    Args:
        network: On the CPU, freshly made.
        spreads: None: those of `Initialisation()`.
    """
    spreads = spreads or Initialisation()
    generator = torch.Generator().manual_seed(seed)
    last = network.architecture.nodes[-1].name
    for name, layer in network.nodes.items():
        if isinstance(layer, nn.Conv2d):
            _draw(layer, spreads.conv, generator)
        elif isinstance(layer, nn.Linear):
            _draw(layer, spreads.classifier if name == last else spreads.hidden, generator)


@torch.no_grad()
def _draw(layer: nn.Conv2d | nn.Linear, spread: Spread, generator: torch.Generator) -> None:
    weight = layer.weight
    fan_in = weight[0].numel()
    if spread == "framework":
        bound = 1 / math.sqrt(fan_in)
        weight.uniform_(-bound, bound, generator=generator)
        if layer.bias is not None:
            layer.bias.uniform_(-bound, bound, generator=generator)
        return
    variances = {"he": 2 / fan_in, "he_fan_out": 2 / (len(weight) * weight[0, 0].numel()), "lecun": 1 / fan_in}
    std = math.sqrt(variances[spread]) if isinstance(spread, str) else spread
    weight.normal_(0.0, std, generator=generator)
