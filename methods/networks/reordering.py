"""A network with its channels in another order: the same function.

Shapes: O, I = output and input channels of a layer, S = features that a flattened channel becomes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from methods.networks.channel_groups import ChannelGroup, channel_groups
from methods.networks.graph import Network
from methods.networks.restore import restore


@torch.no_grad()
def reordered(network: Network, orders: Sequence[Sequence[int] | None]) -> Network:
    """A copy in which channel c of a group is what was its channel order[c].

    Args:
        network: Left alone.
        orders: One for each of `channel_groups(network.architecture)`; None: as they are.

    Raises:
        ValueError: Not one order for each group, one that is no permutation of its channels, or one of a fixed group.
    """
    groups = channel_groups(network.architecture)
    if len(orders) != len(groups):
        raise ValueError(f"reordered: {len(orders)} orders for {len(groups)} groups of channels; give one for each")
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for group, order in zip(groups, orders, strict=True):
        if order is None:
            continue
        if group.fixed or sorted(order) != list(range(group.channels)):
            why = "is fixed, leave it out (None)" if group.fixed else f"needs each of 0 to {group.channels - 1} once"
            raise ValueError(f"reordered: the group of '{group.writers[0]}' {why}")
        index = torch.tensor(list(order), device=next(iter(state.values())).device)
        for name in (*group.writers, *group.carriers):
            for key, value in _tensors(state, name).items():
                if value.dim():
                    state[key] = value.reshape(group.channels, -1)[index].reshape(value.shape)
        for name in group.readers:
            key = f"nodes.{name}.weight"
            weight_OIS = by_channel(state[key], group.channels)
            state[key] = weight_OIS[:, index].reshape(state[key].shape)
    return restore(network.architecture, state, like=network)


def by_channel(weight: Tensor, channels: int) -> Tensor:
    """A reader's weight as (O, I, S): its kernels flattened, and features of one flattened map side by side."""
    return weight.reshape(len(weight), channels, -1)


def tied_values(network: Network, group: ChannelGroup) -> Tensor:
    """All that hangs on each channel of a group, (channels, values), detached: kernels that put it out, its biases and
    normalisation, kernels that read it."""
    state = {name: value.detach() for name, value in network.state_dict().items()}
    slices = [
        value.reshape(group.channels, -1)
        for name in (*group.writers, *group.carriers)
        for value in _tensors(state, name).values()
        if value.dim()
    ]
    for name in group.readers:
        weight_OIS = by_channel(state[f"nodes.{name}.weight"], group.channels)
        slices.append(weight_OIS.transpose(0, 1).flatten(1))
    return torch.cat([part.float() for part in slices], dim=1)


def _tensors(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key.startswith(f"nodes.{name}.")}
