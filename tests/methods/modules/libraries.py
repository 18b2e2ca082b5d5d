"""Module libraries with masks drawn by chance, for tests."""

from __future__ import annotations

import torch

from methods.modules.library import ModuleLibrary
from methods.networks.graph import Network


def random_library(network: Network, *, seed: int, kept: float = 0.6) -> ModuleLibrary:
    """Each class keeps about this share of each site's units."""
    generator = torch.Generator().manual_seed(seed)
    num_classes = network.architecture.num_outputs
    masks = tuple(torch.rand(num_classes, site.units, generator=generator) < kept for site in network.sites)
    return ModuleLibrary(
        network, tuple(f"class {index}" for index in range(num_classes)), masks, {"threshold": 0.9, "minimum": True}
    )
