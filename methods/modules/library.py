"""A library of class modules: one trained network and, for each class, the units that serve it.

A module is a keep-set, so a library holds no network but the one it was cut from: modules and compositions for any
classes are made on demand by surgery, without training.

Shapes: K = classes, U = units of a site.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from methods.json_value import Json
from methods.modules.compacting import compacted
from methods.modules.heads import ModuleHeads
from methods.modules.side_by_side import Delivered, SideBySide
from methods.networks.graph import Network
from methods.registry import did_you_mean
from methods.surgery import extract

Composition = Literal["union", "side_by_side"]
"""How modules make a network for several classes. `union`: one network that keeps the units of all of them, its logits
cut to their classes. `side_by_side`: each on its own units, the score of each class from its module alone."""


@dataclass(frozen=True)
class ModuleLibrary:
    """Class modules over one network, in the order of its logits.

    Raises:
        ValueError: The masks or heads fit neither the network's sites nor its classes, or heads without
            `side_by_side`.
    """

    network: Network
    """Trained; modules share its weights and are never trained again."""
    class_names: tuple[str, ...]
    masks: tuple[Tensor, ...]
    """One bool (K, U) per site of the network, in order: row c marks the units of the module of class c."""
    settings: Mapping[str, Json] = field(default_factory=dict)
    """How the units were chosen, e.g. `{"threshold": 0.9}`."""
    heads: ModuleHeads | None = None
    """Of modules side by side, one for each class, on the network's device: from all logits of the masked network to
    the module's score. None: a module's score is the logit of its class."""
    composition: Composition = "union"

    def __post_init__(self) -> None:
        num_classes = len(self.class_names)
        if self.network.architecture.num_outputs != num_classes:
            raise ValueError(
                f"module library: {num_classes} classes for a network with "
                f"{self.network.architecture.num_outputs} logits; give the network that the modules were cut from"
            )
        if len(set(self.class_names)) != num_classes:
            raise ValueError("module library: two classes have the same name; give each its own")
        sites = self.network.sites
        if not sites:
            raise ValueError("module library: the network has no ReLU, so it has no units to share out")
        if len(self.masks) != len(sites):
            raise ValueError(
                f"module library: masks for {len(self.masks)} sites, but the network has {len(sites)}; "
                "give the network that the modules were cut from"
            )
        for site, mask_KU in zip(sites, self.masks, strict=True):
            if mask_KU.dtype != torch.bool or tuple(mask_KU.shape) != (num_classes, site.units):
                raise ValueError(
                    f"module library: the mask of site '{site.name}' is {mask_KU.dtype} {tuple(mask_KU.shape)}, not "
                    f"bool {(num_classes, site.units)}; give the network that the modules were cut from"
                )
        self._check_heads()

    def indices(self, classes: Sequence[str | int]) -> tuple[int, ...]:
        """Logit indices of classes given by name or index, ascending: the order of a composition's logits.

        Raises:
            ValueError: No class, an unknown one, or one named twice.
        """
        found = [self._index(one) for one in classes]
        if not found:
            raise ValueError(f"name at least one class; there are: {', '.join(self.class_names)}")
        for position, index in enumerate(found):
            if index in found[:position]:
                raise ValueError(f"class '{self.class_names[index]}' is named twice; name each once")
        return tuple(sorted(found))

    def keep(self, classes: Sequence[str | int]) -> list[Tensor]:
        """The keep-set of a composition: per site the union, bool (U,), of the modules' units.

        Raises:
            ValueError: As `indices`.
        """
        chosen = list(self.indices(classes))
        return [mask_KU[chosen].any(dim=0) for mask_KU in self.masks]

    @property
    def computed(self) -> Tensor:
        """The logits that each class's module computes, bool (K, K): with a head all, else its own."""
        num_classes = len(self.class_names)
        return torch.eye(num_classes, dtype=torch.bool) | (self.heads is not None)

    def compose(self, classes: Sequence[str | int]) -> Delivered:
        """What tells these classes apart, ready for use; of one class it is that class's module, a plain network.

        Its output j belongs to the j-th of `indices(classes)`: a logit, or of modules side by side the score, which is
        that before the sigmoid where there are heads. Weights are copies.

        Raises:
            ValueError: As `indices`.
        """
        indices = list(self.indices(classes))
        if self.composition == "union":
            return extract(self.network, self.keep(classes), indices).eval()
        masks = [mask_KU[indices] for mask_KU in self.masks]
        if self.heads is None:
            modules = SideBySide(self.network, masks, outputs=indices)
        else:
            modules = SideBySide(self.network, masks, heads=self.heads.picked(indices))
        return (modules.module(0) if len(indices) == 1 else compacted(modules)).eval()

    def _check_heads(self) -> None:
        if self.heads is None:
            return
        if self.composition != "side_by_side":
            raise ValueError('module library: only modules side by side have heads; give composition="side_by_side"')
        num_classes = len(self.class_names)
        if (len(self.heads), self.heads.num_classes) != (num_classes, num_classes):
            raise ValueError(
                f"module library: {len(self.heads)} heads on {self.heads.num_classes} logits for {num_classes} "
                "classes; give one for each class, on all logits"
            )

    def _index(self, one: str | int) -> int:
        if isinstance(one, int):
            if not 0 <= one < len(self.class_names):
                raise ValueError(f"no class {one}; classes are numbered 0 to {len(self.class_names) - 1}")
            return one
        if one not in self.class_names:
            raise ValueError(
                f"unknown class '{one}'; there are: {', '.join(self.class_names)}.{did_you_mean(one, self.class_names)}"
            )
        return self.class_names.index(one)
