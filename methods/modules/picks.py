"""One class module of one library, as a network that others can be put beside."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from methods.contract import Normalization
from methods.modules.library import ModuleLibrary
from methods.modules.side_by_side import as_network
from methods.networks.architecture import Architecture, Node
from methods.networks.graph import Network
from methods.networks.restore import restore

_NORMALISE = "normalise"
_EPS = 1e-5


@dataclass(frozen=True)
class ModulePick:
    """One class module of one library."""

    library: ModuleLibrary
    class_name: str
    normalization: Normalization
    """Of the inputs that the library's network was trained on."""


def module_reading(pick: ModulePick, given: Normalization) -> Network:
    """The picked module as a plain network of one output that reads inputs normalised as `given`; weights are copies,
    on the CPU.

    Where its own network saw inputs normalised otherwise it begins with a batch normalisation that converts them;
    folded into the convolution behind it, that would be wrong where zeros pad.
    """
    module = as_network(pick.library.compose([pick.class_name])).cpu()
    return module if pick.normalization == given else _converted(module, given, pick.normalization)


def _converted(network: Network, given: Normalization, wanted: Normalization) -> Network:
    """The network for inputs normalised as `given`, where its own reads them as `wanted`."""
    first, *nodes = network.architecture.nodes
    channels = network.architecture.input_shape[0]
    convert = Node(_NORMALISE, "batch_norm", (first.name,), {"features": channels, "eps": _EPS})
    behind = [
        replace(node, inputs=tuple(_NORMALISE if name == first.name else name for name in node.inputs))
        for node in nodes
    ]
    mean_a, std_a, mean_b, std_b = (
        torch.tensor(values, dtype=torch.float64).expand(channels)
        for values in (given.mean, given.std, wanted.mean, wanted.std)
    )
    # x * std_a + mean_a is the raw input; the variance is such that eps makes it one.
    tensors = {
        "weight": (std_a / std_b).float(),
        "bias": ((mean_a - mean_b) / std_b).float(),
        "running_mean": torch.zeros(channels),
        "running_var": torch.full((channels,), 1 - _EPS),
        "num_batches_tracked": torch.tensor(0),
    }
    state = {f"nodes.{_NORMALISE}.{name}": tensor for name, tensor in tensors.items()} | {
        name: tensor.clone() for name, tensor in network.state_dict().items()
    }
    architecture = Architecture((first, convert, *behind), network.architecture.input_shape)
    return restore(architecture, state, like=network)
