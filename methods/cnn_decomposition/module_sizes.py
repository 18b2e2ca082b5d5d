"""How large modules are as a share of the network they come from, counted without cutting them.

Shapes: M = modules, C = kernels of a layer, K = logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.cnn_decomposition.layers import MaskedLayer, site_masks
from methods.modules.counting import cut_sizes
from methods.networks.architecture import Architecture


def mean_module_share(
    architecture: Architecture,
    layers: Sequence[MaskedLayer],
    kept: Sequence[Tensor],
    *,
    outputs_MK: Tensor,
    head_parameters: int = 0,
) -> float:
    """Parameters of a module, its head included, as a share of the network's: mean over modules, at most 1.

    Args:
        architecture: Of the network, batch normalisation folded in to count as deployed.
        layers: Of it.
        kept: Bool (M, C) per layer.
        outputs_MK: The logits that each module computes, bool on the CPU.
        head_parameters: Of each head.
    """
    masks = [mask_MU.cpu() for mask_MU in site_masks(architecture, layers, kept)]
    everything = [torch.ones_like(mask_MU[:1]) for mask_MU in masks]
    whole = int(cut_sizes(architecture, everything, torch.ones_like(outputs_MK[:1])).parameters)
    modules = cut_sizes(architecture, masks, outputs_MK).parameters + head_parameters
    return min(1.0, float(modules.double().mean()) / whole)
