"""The losses by their definition, pair by pair, and small batches to try them on.

Shapes: B = samples, U = units.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor


def by_pairs(activations: Sequence[Tensor], labels: Sequence[int]) -> list[Tensor]:
    """Affinity, dispersion and compactness, with 0 for a term that no pair defines."""
    pairs = list(combinations(range(len(labels)), 2))
    same = [pair for pair in pairs if labels[pair[0]] == labels[pair[1]]]
    different = [pair for pair in pairs if labels[pair[0]] != labels[pair[1]]]
    alike, unlike, sizes = [], [], []
    for activation in activations:
        pooled_BU = activation.abs().mean(dim=(2, 3)) if activation.dim() == 4 else activation
        unit_BU = F.normalize(pooled_BU, dim=1, eps=1e-12)
        for chosen, means in ((same, alike), (different, unlike)):
            if chosen:
                means.append(torch.stack([(unit_BU[i] * unit_BU[j]).sum() for i, j in chosen]).mean())
        sizes.append(pooled_BU.abs().mean())
    zero = activations[0].sum() * 0
    return [
        1 - torch.stack(alike).mean() if alike else zero,
        torch.stack(unlike).mean() if unlike else zero,
        torch.stack(sizes).mean(),
    ]


def relu_outputs(num_samples: int, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Two maps and two vectors, about half of their values zero, two layers of equal width among them."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(num_samples, 3, 4, 2), (num_samples, 5, 2, 2), (num_samples, 5), (num_samples, 4)]
    return [torch.randn(shape, generator=generator, dtype=dtype).relu().requires_grad_() for shape in shapes]
