"""A network from an architecture and tensors, in the likeness of the network they were cut from."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from methods.networks.architecture import Architecture
from methods.networks.graph import Network


def restore(architecture: Architecture, tensors: Mapping[str, Tensor], *, like: Network) -> Network:
    """A network that owns these tensors, by the names of `state_dict`.

    Mode (training or evaluation) and `requires_grad` are those of `like`, for each node that both have by name.
    """
    network = Network(architecture)
    network.load_state_dict(dict(tensors), assign=True)
    device = next((tensor.device for tensor in like.state_dict().values()), None)
    network.to(device)  # the index tensors of select, which no state holds
    network.train(like.training)
    learns = {name: parameter.requires_grad for name, parameter in like.named_parameters()}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(learns.get(name, True))
    for name, module in network.nodes.items():
        if name in like.nodes:
            module.train(like.nodes[name].training)
    return network
