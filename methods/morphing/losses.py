"""What a generator is trained on besides the accuracy of its networks, as pure functions.

Source: Yang and Wang, "Neural Metamorphosis", ECCV 2024, arXiv 2410.11878, and Sommariva et al., 2025, arXiv
2505.05510; the rules are those of their public code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_LEAST_WEIGHT = 1e-6


def reconstruction(generated: Sequence[Tensor], target: Sequence[Tensor], *, weighted: bool = False) -> Tensor:
    """The mean over tensors of each tensor's mean squared difference, a scalar.

    Args:
        generated: At full width.
        target: The trained network's own tensors, of the same shapes, in the same order.
        weighted: Weigh each difference by |target| + 1e-6 over the largest of its tensor, so that large weights count
            most, as in Neural Metamorphosis on CIFAR-10; False: all alike.

    Raises:
        ValueError: No tensors, or not the same ones on both sides.
    """
    shapes = [tuple(tensor.shape) for tensor in generated], [tuple(tensor.shape) for tensor in target]
    if not generated or shapes[0] != shapes[1]:
        raise ValueError(f"reconstruction: tensors {shapes[0]} for targets {shapes[1]}; give the same, at least one")
    terms = []
    for given, wanted in zip(generated, target, strict=True):
        squares = (given - wanted).square()
        if weighted:
            sizes = wanted.abs() + _LEAST_WEIGHT
            squares = squares * (sizes / sizes.max())
        terms.append(squares.mean())
    return torch.stack(terms).mean()


def magnitude(generated: Sequence[Tensor]) -> Tensor:
    """The sum over tensors of the Euclidean norm (not squared) of each, a scalar; its gradient at zero is zero.

    Raises:
        ValueError: There are no tensors.
    """
    if not generated:
        raise ValueError("magnitude: no tensors; give at least one")
    return torch.stack([torch.linalg.vector_norm(tensor) for tensor in generated]).sum()
