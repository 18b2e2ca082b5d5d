"""How modular a library of class modules is: how large its modules are, and how much they have in common.

Sources: module size and overlap of activation-driven modular training (Ngo et al., "DNN Modularization via
Activation-Driven Training", ICSE 2026); kernel retention, cohesion and coupling of modularising while training (MwT;
Qi et al., "Modularizing while Training", ICSE 2024, `src/modularizer.py` of qibinhang/MwT).

Shapes: K = classes, U = units of a site, V = units of all sites together, N = samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from methods.measure.compute import count_macs
from methods.measure.sizes import count_parameters
from methods.modules.counting import composition_sizes, shared_parameters
from methods.modules.library import ModuleLibrary


@dataclass(frozen=True)
class Modularity:
    """Figures of a library's one-class modules, float64 on the CPU; (K,) by class, (K, K) by pair of classes.

    Means over pairs are over all pairs of different classes, and 0 for a library of one class. The paper draws 357
    pairs where there are 100 classes.
    """

    module_size: Tensor
    """(K,): learned values of the module / of the full network."""
    macs_share: Tensor
    """(K,): multiply-accumulates of the module / of the full network, which module size alone flatters."""
    kernel_retention: Tensor
    """(K,): units kept / all units, over all sites."""
    conv_kernel_retention: Tensor | None
    """(K,): the same over the sites with height and width, as papers count convolution kernels: each layer by itself,
    also where several keep the same units of necessity. None for a network without such sites."""
    overlap: Tensor
    """(K, K): learned values of the full network that two modules have in common / all of them.

    On the diagonal it is the module size, but for the few weights that surgery makes up where nothing comes into a
    layer, and its head: these belong to the module and not to the full network.
    """
    coupling: Tensor
    """(K, K): Jaccard index of the units that two modules keep, over all sites; 0 where both keep none."""

    @property
    def mean_module_size(self) -> float:
        return float(self.module_size.mean())

    @property
    def mean_macs_share(self) -> float:
        return float(self.macs_share.mean())

    @property
    def mean_kernel_retention(self) -> float:
        return float(self.kernel_retention.mean())

    @property
    def mean_conv_kernel_retention(self) -> float | None:
        return None if self.conv_kernel_retention is None else float(self.conv_kernel_retention.mean())

    @property
    def mean_overlap(self) -> float:
        return _mean_over_pairs(self.overlap)

    @property
    def mean_coupling(self) -> float:
        return _mean_over_pairs(self.coupling)


@dataclass(frozen=True)
class Cohesion:
    """How alike the units are that samples of one class use."""

    by_class: tuple[float | None, ...]
    """In the order of the library's classes; None for a class with fewer than two samples, which has no pairs."""

    @property
    def mean(self) -> float | None:
        """Over the classes that have pairs; None when none has."""
        known = [value for value in self.by_class if value is not None]
        return sum(known) / len(known) if known else None


def modularity(library: ModuleLibrary) -> Modularity:
    """Sizes and overlaps of all one-class modules, counted without cutting any.

    Raises:
        ValueError: The network has a convolution with groups that cannot be cut.
    """
    units_KV = _joined(library.masks)
    architecture = library.network.architecture
    each_class_KK = torch.eye(len(library.class_names), dtype=torch.bool)
    masks = [mask_KU.cpu() for mask_KU in library.masks]
    sizes = composition_sizes(library, each_class_KK)
    # Modules without heads share no logit, so the last layer drops out of their overlap by itself.
    shared_KK = shared_parameters(architecture, masks, library.computed)
    spatial = [mask_KU for site, mask_KU in zip(library.network.sites, masks, strict=True) if site.spatial_shape]
    num_parameters = count_parameters(library.network)
    return Modularity(
        module_size=sizes.parameters.double() / num_parameters,
        macs_share=sizes.macs.double() / count_macs(library.network, architecture.input_shape),
        kernel_retention=units_KV.double().mean(dim=1),
        conv_kernel_retention=_joined(spatial).double().mean(dim=1) if spatial else None,
        overlap=shared_KK.double() / num_parameters,
        coupling=_jaccard(units_KV),
    )


def cohesion(
    library: ModuleLibrary, active: Sequence[Tensor], labels_N: Tensor, *, samples_per_class: int = 500, seed: int
) -> Cohesion:
    """The mean Jaccard index of the units that two samples of a class use, counting those of the class's module alone.

    MwT compares all samples of a class; here, of a class with more than `samples_per_class`, that many are drawn.
    Two samples that use no unit of the module count as 0.

    Args:
        active: The units that each sample makes fire in the full network, bool (N, U), one tensor for each site.
        labels_N: Class index of each sample, int64.
        samples_per_class: At least 2. The cost grows with its square, the scatter of the mean falls with its root.
        seed: Of the draw.

    Raises:
        ValueError: `active` fits neither the library's sites nor the labels, a label is no class of the library, or
            `samples_per_class` is below 2.
    """
    _check_samples(library, active, labels_N, samples_per_class)
    module_KV = _joined(library.masks)
    generator = torch.Generator().manual_seed(seed)
    labels_N = labels_N.cpu()
    by_class: list[float | None] = []
    for label, module_V in enumerate(module_KV):
        samples = (labels_N == label).nonzero().flatten()
        drawn = samples[torch.randperm(len(samples), generator=generator)[:samples_per_class]]
        used_NV = torch.cat([active_NU[drawn.to(active_NU.device)].cpu() for active_NU in active], dim=1) & module_V
        by_class.append(_mean_over_pairs(_jaccard(used_NV)) if len(drawn) > 1 else None)
    return Cohesion(tuple(by_class))


def _check_samples(library: ModuleLibrary, active: Sequence[Tensor], labels_N: Tensor, samples_per_class: int) -> None:
    sites = library.network.sites
    if len(active) != len(sites):
        raise ValueError(f"cohesion: units of {len(active)} sites, but the network has {len(sites)}; give one for each")
    for site, active_NU in zip(sites, active, strict=True):
        shape = (len(labels_N), site.units)
        if active_NU.dtype != torch.bool or tuple(active_NU.shape) != shape:
            raise ValueError(
                f"cohesion: the units of site '{site.name}' are {active_NU.dtype} {tuple(active_NU.shape)}, not bool "
                f"{shape}; give one row for each label"
            )
    num_classes = len(library.class_names)
    unknown = labels_N[(labels_N < 0) | (labels_N >= num_classes)].tolist()
    if unknown:
        raise ValueError(f"cohesion: label {unknown[0]} is no class; classes are numbered 0 to {num_classes - 1}")
    if samples_per_class < 2:
        raise ValueError(f"cohesion: samples_per_class is {samples_per_class}; pairs need at least 2")


def _joined(masks: Sequence[Tensor]) -> Tensor:
    """The units of all sites side by side, bool (K, V) on the CPU."""
    return torch.cat([mask_KU.cpu() for mask_KU in masks], dim=1)


def _jaccard(sets_NV: Tensor) -> Tensor:
    """The Jaccard index of each two rows, float64 (N, N); 0 where both are empty."""
    ones_NV = sets_NV.float()  # counts below 2^24 are exact
    both_NN = (ones_NV @ ones_NV.T).double()
    sizes_N = both_NN.diagonal()
    either_NN = sizes_N[:, None] + sizes_N - both_NN
    return both_NN / either_NN.clamp(min=1)


def _mean_over_pairs(matrix_NN: Tensor) -> float:
    """The mean over the pairs i < j; 0 when there are none."""
    first, second = torch.triu_indices(len(matrix_NN), len(matrix_NN), offset=1)
    return float(matrix_NN[first, second].mean()) if len(first) else 0.0
