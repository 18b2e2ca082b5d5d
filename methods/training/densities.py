"""How many weights each layer keeps when their number is fixed before training: the Erdos-Renyi-Kernel rule.

Source: Evci et al., "Rigging the Lottery", ICML 2020, section 3.1, after Mocanu et al., 2018.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Shapes = Sequence[Sequence[int]]
"""Of the layers' weights: (outputs, inputs), or (outputs, inputs, height, width)."""


def erdos_renyi_kernel(shapes: Shapes, *, density: float) -> list[float]:
    """Share of each layer's weights that stay, in proportion to the sum of its sizes over their product.

    A layer whose share would exceed 1 stays whole, and the others share what is left by the same rule.

    Args:
        shapes: One per layer.
        density: Share of all weights that stay, in [0, 1].

    Returns:
        One share in [0, 1] per layer; weighted by the layers' sizes they add up to `density`.
    """
    sizes = [math.prod(shape) for shape in shapes]
    raw = [sum(shape) / size for shape, size in zip(shapes, sizes, strict=True)]
    shared = list(range(len(sizes)))
    scale = 0.0
    while shared:
        whole = sum(size for layer, size in enumerate(sizes) if layer not in shared)
        scale = (density * sum(sizes) - whole) / sum(raw[layer] * sizes[layer] for layer in shared)
        # A layer made whole takes less than its share, so the scale only grows: none has to be taken back.
        below = [layer for layer in shared if scale * raw[layer] <= 1]
        if below == shared:
            break
        shared = below
    return [scale * raw[layer] if layer in shared else 1.0 for layer in range(len(sizes))]


def kept_weights(shapes: Shapes, *, total: int) -> list[int]:
    """Whole numbers of weights per layer by `erdos_renyi_kernel` that add up to `total` exactly.

    Rounded down; what is then missing goes to the layers with the largest remainders, the earlier of equal ones first.
    """
    sizes = [math.prod(shape) for shape in shapes]
    densities = erdos_renyi_kernel(shapes, density=total / sum(sizes))
    wanted = [density * size for density, size in zip(densities, sizes, strict=True)]
    # 1e-6 of a weight: a whole number that rounding has pushed below itself counts as whole.
    kept = [min(math.floor(share + 1e-6), size) for share, size in zip(wanted, sizes, strict=True)]
    by_remainder = sorted(range(len(kept)), key=lambda layer: kept[layer] - wanted[layer])
    for layer in by_remainder[: total - sum(kept)]:
        kept[layer] += 1
    return kept
