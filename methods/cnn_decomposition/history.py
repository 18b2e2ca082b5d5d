"""What each step of a decomposition left behind, small enough to keep all of them: bits for masks, floats for heads.

A step is an epoch of GradSplitter or a generation of CNNSplitter.

Shapes: M = modules, C = kernels of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass
class History:
    """Grows by one entry per step. A hundred steps of ten modules over 4,224 kernels take a megabyte."""

    accuracies: list[float] = field(default_factory=list)
    """Of the composed modules, on validation."""
    retentions: list[float] = field(default_factory=list)
    """Mean kernel retention rate."""
    sizes: list[float] = field(default_factory=list)
    """Mean share of the network's parameters that a module holds."""
    _bits: list[Tensor] = field(default_factory=list)
    _heads: list[Tensor] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.accuracies)

    def add(
        self, accuracy: float, retention: float, size: float, kept: Sequence[Tensor], heads: Sequence[Tensor] = ()
    ) -> None:
        """Add a step.

        Args:
            kept: Bool (M, C) per layer.
            heads: The heads' parameters, in order; none where modules have no heads.
        """
        self.accuracies.append(accuracy)
        self.retentions.append(retention)
        self.sizes.append(size)
        flat = torch.cat([kept_MC.reshape(-1) for kept_MC in kept]).cpu().numpy()
        self._bits.append(torch.from_numpy(np.packbits(flat)))
        self._heads.append(torch.cat([torch.zeros(0), *(value.reshape(-1).cpu() for value in heads)]))

    def kept_at(self, step: int, *, widths: Sequence[int], num_modules: int) -> list[Tensor]:
        """The keep-sets of a step, bool (M, C) per layer, on the CPU.

        Args:
            widths: Kernels of each layer.
            num_modules: M.
        """
        sizes = [num_modules * width for width in widths]
        flat = torch.from_numpy(np.unpackbits(self._bits[step].numpy(), count=sum(sizes))).bool()
        return [part.reshape(num_modules, -1).clone() for part in torch.split(flat, sizes)]

    @torch.no_grad()
    def fill(self, step: int, heads: Sequence[Tensor]) -> None:
        """Write the heads of a step into parameters of the same shapes, in order."""
        parts = torch.split(self._heads[step], [value.numel() for value in heads])
        for value, part in zip(heads, parts, strict=True):
            value.copy_(part.view(value.shape))

    def state(self) -> dict[str, Any]:
        """All of it, fit for a checkpoint."""
        return {
            "accuracies": list(self.accuracies),
            "retentions": list(self.retentions),
            "sizes": list(self.sizes),
            "bits": torch.stack(self._bits),
            "heads": torch.stack(self._heads),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> History:
        """What `state` was made of."""
        return cls(
            accuracies=list(state["accuracies"]),
            retentions=list(state["retentions"]),
            sizes=list(state["sizes"]),
            _bits=list(state["bits"].unbind()),
            _heads=list(state["heads"].unbind()),
        )
