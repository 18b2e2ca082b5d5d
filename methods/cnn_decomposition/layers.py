"""The convolution kernels of a network as CNN decomposition counts them, and keep-sets over them.

A kernel is an output channel at a site with height and width. Sites whose outputs are added keep the same channels, so
they share one mask; in every count each of them counts with all its kernels.

Shapes: M = modules, C = kernels of a layer, U = units of a site, N = samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from methods.networks.architecture import Architecture
from methods.networks.sites import sites_of
from methods.networks.ties import convolution_sites, tied_sites


@dataclass(frozen=True)
class MaskedLayer:
    """Sites that keep the same kernels: one, or several whose outputs meet in a sum."""

    sites: tuple[str, ...]
    kernels: int
    """Of each of them."""

    @property
    def name(self) -> str:
        return "+".join(self.sites)


def maskable_layers(architecture: Architecture) -> tuple[MaskedLayer, ...]:
    """The layers of convolution kernels in the order of computation; empty for a network without convolutions."""
    sites = sites_of(architecture)
    spatial = set(convolution_sites(architecture))
    return tuple(
        MaskedLayer(tuple(sites[index].name for index in group), sites[group[0]].units)
        for group in tied_sites(architecture)
        if spatial.issuperset(group)
    )


def site_masks(architecture: Architecture, layers: Sequence[MaskedLayer], kept: Sequence[Tensor]) -> list[Tensor]:
    """Keep-sets over kernels as keep-sets over all sites, bool (M, U) each: other sites keep all their units.

    Args:
        layers: Of the architecture.
        kept: Bool (M, C), one tensor for each layer.
    """
    by_name = {name: kept_MC for layer, kept_MC in zip(layers, kept, strict=True) for name in layer.sites}
    everything = torch.ones(len(kept[0]), 1, dtype=torch.bool, device=kept[0].device)
    return [by_name.get(site.name, everything.expand(-1, site.units)) for site in sites_of(architecture)]


def with_first_kernel(kept: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
    """The same keep-sets, where a module that retains no kernel of a layer retains kernel 0 of it instead.

    That changes what the module computes: masked, the layer would put out zeros. The reference does the same.

    Returns:
        The keep-sets, and the indices of the layers where a module had none.
    """
    mended = [kept_MC.clone() for kept_MC in kept]
    emptied = []
    for index, kept_MC in enumerate(mended):
        none_M = ~kept_MC.any(dim=1)
        kept_MC[none_M, 0] = True
        if bool(none_M.any()):
            emptied.append(index)
    return mended, emptied


def kernel_sets(layers: Sequence[MaskedLayer], kept: Sequence[Tensor]) -> Tensor:
    """All (layer, kernel) pairs that each module retains, bool (M, kernels of the network); tied layers one by one."""
    return torch.cat(
        [kept_MC for layer, kept_MC in zip(layers, kept, strict=True) for _ in range(len(layer.sites))], dim=1
    )


def kernel_retention(layers: Sequence[MaskedLayer], kept: Sequence[Tensor]) -> Tensor:
    """Kernel retention rate of each module, float64 (M,): kernels kept / kernels of the network (KRR)."""
    return kernel_sets(layers, kept).double().mean(dim=1)


def differences(layers: Sequence[MaskedLayer], kept: Sequence[Tensor]) -> Tensor:
    """1 - Jaccard index of the kernels that each two modules retain, float64 (M, M)."""
    sets_MU = kernel_sets(layers, kept).double()
    both_MM = sets_MU @ sets_MU.T
    sizes_M = both_MM.diagonal()
    either_MM = sizes_M[:, None] + sizes_M - both_MM
    return 1 - both_MM / either_MM.clamp(min=1)


def mean_difference(layers: Sequence[MaskedLayer], kept: Sequence[Tensor]) -> float:
    """Mean of `differences` over pairs of modules; 0 for a single module."""
    found_MM = differences(layers, kept)
    first, second = torch.triu_indices(len(found_MM), len(found_MM), offset=1)
    return float(found_MM[first, second].mean()) if len(first) else 0.0
