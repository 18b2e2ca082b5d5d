"""What the units of a trained network are worth, by the weights that put them out.

Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017 (L1).

Shapes: U = units of a site.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from methods.morphing.parts import Part
from methods.networks.channel_groups import channel_groups
from methods.networks.graph import Network
from methods.networks.reordering import reordered

Criterion = Literal["l1", "l2", "random"]


def filter_scores(network: Network, parts: Sequence[Part], *, criterion: Criterion, seed: int = 0) -> dict[str, Tensor]:
    """What the units of each morphing site are worth, (U,) by the site's name.

    Args:
        network: Without batch normalisation.
        parts: That morph.
        criterion: `l1` or `l2`: the norm of the weights that put a unit out; `random`: uniform numbers.
        seed: Of these.
    """
    generator = torch.Generator().manual_seed(seed)
    scores = {}
    for part in parts:
        for layer in part.layers:
            if layer.output_site is None:
                continue
            own = network.nodes[layer.name]
            assert isinstance(own, nn.Conv2d | nn.Linear)
            if criterion == "random":
                scores[layer.output_site] = torch.rand(layer.outputs, generator=generator)
            else:
                order = 1 if criterion == "l1" else 2
                scores[layer.output_site] = own.weight.detach().flatten(1).norm(p=order, dim=1).cpu()
    return scores


def strongest(score_U: Tensor, count: int) -> Tensor:
    """The keep-set, bool (U,), of the `count` largest scores; of equal ones the first."""
    order_U = torch.argsort(score_U, descending=True, stable=True)
    keep_U = torch.zeros(len(score_U), dtype=torch.bool)
    keep_U[order_U[:count]] = True
    return keep_U


def strongest_first(network: Network, parts: Sequence[Part]) -> Network:
    """A copy that computes the same, with the units of each morphing site in descending order of their L1 norm, so that
    the first ones are those to keep."""
    scores = filter_scores(network, parts, criterion="l1")
    site_of = {layer.name: layer.output_site for part in parts for layer in part.layers if layer.output_site}
    orders = []
    for group in channel_groups(network.architecture):
        site = site_of.get(group.writers[0])
        orders.append(None if site is None else torch.argsort(scores[site], descending=True, stable=True).tolist())
    return reordered(network, orders)
