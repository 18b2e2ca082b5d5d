"""Libraries of class modules for tests, over networks that were never trained."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch

from methods.modules.heads import ModuleHeads
from methods.modules.library import ModuleLibrary
from methods.networks.graph import Network
from methods.surgery import extract
from tests.methods.networks.samples import random_keeps, sample_network


def library_of(network: Network, masks: Sequence[torch.Tensor]) -> ModuleLibrary:
    names = tuple(f"class{number}" for number in range(network.architecture.num_outputs))
    return ModuleLibrary(network, names, tuple(masks))


def random_library(name: str) -> ModuleLibrary:
    """Modules drawn by chance over a sample network; that of the last class keeps no unit."""
    network = sample_network(name)
    kept, _ = random_keeps(network, rows=network.architecture.num_outputs)
    return library_of(network, list(kept.values()))


def patterned_library(network: Network) -> ModuleLibrary:
    """Class c keeps unit u of site t, all from 0, where (7u + 3t + 5c) mod 11 is below 6."""
    classes = torch.arange(network.architecture.num_outputs)[:, None]
    masks = [
        (7 * torch.arange(site.units) + 3 * number + 5 * classes) % 11 < 6 for number, site in enumerate(network.sites)
    ]
    return library_of(network, masks)


def weights_in_module(library: ModuleLibrary, label: int) -> set[int]:
    """Which learned values of the full network the module of a class holds, found by really cutting numbered ones."""
    numbered = copy.deepcopy(library.network).double()
    first = 1
    with torch.no_grad():
        for parameter in numbered.parameters():
            parameter.copy_(torch.arange(first, first + parameter.numel()).reshape(parameter.shape))
            first += parameter.numel()
    module = extract(numbered, library.keep([label]), [label])
    found = {int(value) for parameter in module.parameters() for value in parameter.flatten().tolist()}
    return found - {0}  # weights that surgery makes up where nothing comes into a layer


def drawn_library(network: Network, *, seed: int, kept: float = 0.6) -> ModuleLibrary:
    """Each class keeps about this share of each site's units."""
    generator = torch.Generator().manual_seed(seed)
    num_classes = network.architecture.num_outputs
    masks = tuple(torch.rand(num_classes, site.units, generator=generator) < kept for site in network.sites)
    return ModuleLibrary(
        network, tuple(f"class {index}" for index in range(num_classes)), masks, {"threshold": 0.9, "minimum": True}
    )


def seeded_heads(num_modules: int, num_classes: int, *, seed: int = 0) -> ModuleHeads:
    heads = ModuleHeads(num_modules, num_classes)
    heads.initialise(torch.Generator().manual_seed(seed))
    return heads


def beside(library: ModuleLibrary, *, heads: bool) -> ModuleLibrary:
    """The same units for modules that run side by side, with heads drawn by chance or without any."""
    num_classes = len(library.class_names)
    drawn = seeded_heads(num_classes, num_classes) if heads else None
    return replace(library, heads=drawn, composition="side_by_side")
