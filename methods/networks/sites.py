"""Sites: the outputs of a network's ReLUs, the places where units are recorded, masked and cut.

A keep-set says for each site which of its units stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from methods.networks.architecture import Architecture

Keep = Mapping[str, Tensor] | Sequence[Tensor]
"""One bool tensor (units,) per site: by the site's name, where a missing site keeps all; or one for each in order."""


@dataclass(frozen=True)
class Site:
    """The output of one ReLU: `units` channels (images) or neurons (vectors)."""

    name: str
    units: int
    spatial_shape: tuple[int, ...]
    """(H, W), or () for neurons."""


def sites_of(architecture: Architecture) -> tuple[Site, ...]:
    """All sites in the order of computation."""
    return tuple(
        Site(node.name, architecture.shapes[node.name][0], architecture.shapes[node.name][1:])
        for node in architecture.nodes
        if node.op == "relu"
    )


def keep_by_site(sites: Sequence[Site], keep: Keep) -> dict[str, Tensor]:
    """A checked keep-set by name, with the sites that `keep` leaves out left out.

    Raises:
        ValueError: An unknown site, a wrong number of sites or units, or a tensor that is not bool.
    """
    units = {site.name: site.units for site in sites}
    if not isinstance(keep, Mapping):
        if len(keep) != len(sites):
            raise ValueError(f"keep has {len(keep)} tensors for {len(sites)} sites; give one for each, or a mapping")
        keep = dict(zip(units, keep, strict=True))
    for name, mask in keep.items():
        if name not in units:
            raise ValueError(f"keep: no site {name!r}; the network's sites are {', '.join(units)}")
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            kind = str(mask.dtype) if isinstance(mask, Tensor) else type(mask).__name__
            raise ValueError(f"keep[{name!r}] is {kind}; give a torch.bool tensor, e.g. `scores > 0`")
        if mask.shape != (units[name],):
            raise ValueError(f"keep[{name!r}] has shape {tuple(mask.shape)}; the site has {units[name]} units")
    return dict(keep)
