"""Keep-sets of modules as bits, to be stored. Shapes: M = modules, U = units of a site."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor


def packed_masks(masks: Sequence[Tensor]) -> Tensor:
    """One bool (M, U) per site as bits, uint8, one mask after the other; empty without sites, where modules keep
    nothing."""
    flat = torch.cat([torch.zeros(0, dtype=torch.bool), *(mask_MU.cpu().reshape(-1) for mask_MU in masks)])
    return torch.from_numpy(np.packbits(flat.numpy()))


def unpacked_masks(packed: Tensor | None, *, num_modules: int, units: Sequence[int]) -> tuple[Tensor, ...]:
    """What `packed_masks` was given.

    Args:
        packed: None: there are none.
        units: U of each site.

    Raises:
        ValueError: The bits are not of so many modules and units; the message says no more than what was found.
    """
    sizes = [num_modules * count for count in units]
    if packed is None or packed.dtype != torch.uint8 or packed.shape != (-(-sum(sizes) // 8),):
        held = "none" if packed is None else f"{packed.dtype} {tuple(packed.shape)}"
        raise ValueError(f"keep-sets ({held}) do not fit {num_modules} modules and {sum(units)} units")
    flat = torch.from_numpy(np.unpackbits(packed.numpy(), count=sum(sizes))).bool()
    ends = np.cumsum([0, *sizes]).tolist()
    return tuple(flat[start:stop].reshape(num_modules, -1).clone() for start, stop in pairwise(ends))
