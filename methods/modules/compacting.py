"""Modules side by side in their smallest form: the one that is counted, stored and served.

Shapes: M = modules, C = channels of a node, U = units of a site, O, I = output and input channels of a layer.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from methods.modules.side_by_side import Delivered, SideBySide
from methods.networks.folding import fold_batch_norm
from methods.networks.graph import Network
from methods.networks.liveness import dead_units, sums_inputs
from methods.networks.presence import present_channels
from methods.surgery import deploy, extract


@torch.no_grad()
def compacted(modules: SideBySide) -> SideBySide:
    """The same modules over a network that holds nothing but what they use; weights are copies.

    The shared network is cut to the union of the keep-sets. A weight of it that leads from a unit of one module to a
    unit of another, and is used by no single module, is set to zero: the weights that are not zero are then exactly
    those of the union of the modules.
    """
    used = _used_channels(modules)
    union = {site.name: used[site.name].any(dim=0) for site in modules.network.sites}
    network = extract(modules.network, union, modules.outputs or None)
    masks = [used[site.name][:, union[site.name]] for site in network.sites]
    found = SideBySide(network, masks, outputs=range(len(modules)), heads=copy.deepcopy(modules.heads))
    _zero_unused(network, _used_channels(found))
    return found


def deployed_form(delivered: Delivered) -> Delivered:
    """What to store and serve of what a run delivers: as `methods.surgery.deploy` makes it of a plain network.

    Of modules side by side batch normalisation is folded into the shared network, and each module loses the units that
    do nothing in it. Those of the shared network as a whole are not looked for: a unit that others keep at zero there
    may be alive in a module without them.
    """
    if not isinstance(delivered, SideBySide):
        return deploy(delivered)
    network = fold_batch_norm(delivered.network).eval()
    folded = SideBySide(network, delivered.masks, outputs=delivered.outputs or None, heads=delivered.heads)
    masks = _alive_units(folded)
    return compacted(SideBySide(network, masks, outputs=folded.outputs or None, heads=folded.heads))


def _used_channels(modules: SideBySide) -> dict[str, Tensor]:
    """For each node the channels that stay when a module is cut to its keep-set, bool (M, C)."""
    kept = dict(zip((site.name for site in modules.network.sites), modules.masks, strict=True))
    return present_channels(modules.network.architecture, kept, modules.computed)


def _alive_units(modules: SideBySide) -> list[Tensor]:
    """Per site the units that do something in each module, bool (M, U)."""
    used = _used_channels(modules)
    masks = [used[site.name].clone() for site in modules.network.sites]
    for module, outputs_K in enumerate(modules.computed):
        cut = extract(modules.network, modules.keep(module), outputs_K.nonzero().flatten().tolist())
        alive = dead_units(cut)
        for site, mask_MU in zip(modules.network.sites, masks, strict=True):
            if site.name in alive:
                mask_MU[module, mask_MU[module].clone()] = alive[site.name]
    return masks


def _zero_unused(network: Network, used: Mapping[str, Tensor]) -> None:
    """Set to zero what no module uses, in place: a weight is used where a module has both channels that it connects."""
    for node in network.architecture.nodes[1:]:
        if node.name not in network.nodes:
            continue
        used_MO, used_MI = used[node.name], used[node.inputs[0]]
        for parameter in network.nodes[node.name].parameters():
            if parameter.dim() == 1:
                used_by_any = used_MO.any(dim=0)
            elif sums_inputs(node):
                used_by_any = used_MO.float().T @ used_MI.float() > 0
            else:  # depthwise
                used_by_any = (used_MO & used_MI).any(dim=0)[:, None]
            unused = ~used_by_any.reshape(*used_by_any.shape, *[1] * (parameter.dim() - used_by_any.dim()))
            parameter.masked_fill_(unused.to(parameter.device), 0.0)
