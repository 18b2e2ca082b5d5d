"""A trained network with its channels in the smoothest order, in which a generator is to learn its weights.

Source: Yang and Wang, "Neural Metamorphosis", ECCV 2024, arXiv 2410.11878. L1 distances along one axis of a tensor do
not change when another axis is reordered, so every group of tied channels is solved by itself, without loss.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from methods.metamorphic.smoothing import network_total_variation, shortest_path_order
from methods.networks.channel_groups import channel_groups
from methods.networks.graph import Network
from methods.networks.reordering import reordered, tied_values


@dataclass(frozen=True)
class Smoothed:
    """The same function, with channels in another order."""

    network: Network
    orders: tuple[tuple[int, ...] | None, ...]
    """Of each of `channel_groups`; None: as they were."""
    variation_before: float
    variation_after: float
    """Total variation of weights and biases, the mean over tensors."""


def smoothed(network: Network) -> Smoothed:
    """Put each group of tied channels in the order of a shortest path through all that hangs on them.

    Takes about half a second for a group of 64 channels, six for one of 256. Equal networks get equal orders.

    Args:
        network: Without batch normalisation, whose statistics would follow but not count; left alone.
    """
    orders = tuple(
        None if group.fixed else tuple(shortest_path_order(tied_values(network, group)))
        for group in channel_groups(network.architecture)
    )
    found = reordered(network, orders)
    return Smoothed(
        network=found,
        orders=orders,
        variation_before=float(network_total_variation(_weights(network))),
        variation_after=float(network_total_variation(_weights(found))),
    )


def _weights(network: Network) -> list[Tensor]:
    return [parameter.detach() for parameter in network.parameters()]
