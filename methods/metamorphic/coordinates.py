"""Coordinates of weights: where a kernel stands in a network, as the input from which a generator computes its values.

Source: Sommariva et al., "How to Train Your Metamorphic Deep Neural Network" (MET), 2025, arXiv 2505.05510, and its
base, Yang and Wang, "Neural Metamorphosis", ECCV 2024, arXiv 2410.11878; the rules are those of their public code. That
code encodes in float32, which loses the highest frequencies; here angles are reduced exactly first (ours).

Shapes: R = rows, one for each kernel (o, i) of each tensor; F = frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

_LARGEST_SHIFT = 0.49
"""To which MET clamps the noise, so that a shifted index still rounds to its own."""


class Perturbed(NamedTuple):
    """Coordinates with noise, and what a row's output needs besides them."""

    u: Tensor
    """Normalised, (R, 6)."""
    divisor: Tensor
    """What the outputs of a row are divided by, its number of input channels, (R,)."""
    tensor_id: Tensor
    """Whose tensor's network computes a row, int64 (R,)."""


def raw_coordinates(shapes: Sequence[tuple[int, ...]]) -> Tensor:
    """Where each kernel of each tensor stands: rows [l, o, i, L, O, I], float64 (R, 6).

    l counts the tensors, o and i the output and input channels, all from 0; L, O and I are their numbers. The taps of a
    kernel share a row. A bias has one input channel.

    Args:
        shapes: Of the generated tensors, in the order of the network's parameters. Tensors follow one another; within
            one the input channel runs fastest.

    Raises:
        ValueError: There are no tensors, or one has no axes or an empty one.
    """
    if not shapes or any(not shape or min(shape) < 1 for shape in shapes):
        raise ValueError(f"raw_coordinates: shapes {list(shapes)}; give at least one, each with sizes of 1 or above")
    tables = []
    for index, shape in enumerate(shapes):
        outputs, inputs = shape[0], shape[1] if len(shape) > 1 else 1
        o_OI = torch.arange(outputs)[:, None].expand(outputs, inputs)
        i_OI = torch.arange(inputs)[None].expand(outputs, inputs)
        sizes = [torch.tensor(size).expand(outputs, inputs) for size in (index, len(shapes), outputs, inputs)]
        tables.append(torch.stack([sizes[0], o_OI, i_OI, *sizes[1:]], dim=-1).reshape(-1, 6))
    return torch.cat(tables).double()


def normalise(raw: Tensor, *, norm: float) -> Tensor:
    """[l/L, o/O, i/I, L/norm, O/norm, I/norm] from rows [l, o, i, L, O, I], (R, 6).

    Args:
        raw: Of floating type, (R, 6).
        norm: N, the width of the widest layer at full width; 64 for networks on CIFAR. Wider ones exceed 1.

    Raises:
        ValueError: `norm` is not above 0.
    """
    if not norm > 0:
        raise ValueError(f"normalise: norm {norm:g}; give the full width, above 0")
    sizes = raw[:, 3:]
    return torch.cat([raw[:, :3] / sizes, sizes / norm], dim=1)


def perturb(raw: Tensor, noise: Tensor, *, norm: float, variant: Literal["met", "neumeta"] = "met") -> Perturbed:
    """Normalised coordinates of shifted rows, so that weights vary smoothly between neighbouring indices.

    `met` clamps the noise to 0.49 either way, divides outputs by the true number of input channels, and has each row
    computed by its own tensor's network. `neumeta` does as the code of Neural Metamorphosis: no clamp, the shifted
    number divides, and the shifted index of the tensor, cut to an integer, chooses the network: with a = 1 about half
    of the rows of every tensor but the first go to the network of the tensor before.

    Args:
        raw: As from `raw_coordinates`, (R, 6).
        noise: a (rho - 0.5) with rho uniform in [0, 1), rows like `raw`.
        norm: As for `normalise`.

    Raises:
        ValueError: The noise has another shape than the rows, or `norm` is not above 0.
    """
    if noise.shape != raw.shape:
        raise ValueError(f"perturb: noise {tuple(noise.shape)} for rows {tuple(raw.shape)}; give one value for each")
    if variant == "met":
        shifted = raw + noise.clamp(-_LARGEST_SHIFT, _LARGEST_SHIFT)
        return Perturbed(normalise(shifted, norm=norm), raw[:, 5], raw[:, 0].long())
    shifted = raw + noise
    return Perturbed(normalise(shifted, norm=norm), shifted[:, 5], shifted[:, 0].long())


def encode(
    u: Tensor, *, num_frequencies: int, layout: Literal["a", "b"] = "a", dtype: torch.dtype | None = None
) -> Tensor:
    """Coordinates followed by their sines and cosines at frequencies 2^f pi, (R, 6 + 12 F).

    Angles are reduced to one turn in float64, where doubling and reducing are exact, before pi comes in; so codes agree
    between devices to the rounding of a sine, at any frequency. Pass float64: what rounding has taken from `u`, the
    highest frequencies amplify.

    Args:
        u: Normalised coordinates, float32 or float64, (R, 6).
        num_frequencies: F, 0 or above.
        layout: `a` runs through frequencies, coordinates, then sine and cosine; `b` through frequencies, then six sines
            and six cosines. They differ by the order of the columns alone.
        dtype: Of the codes; None: that of `u`. With float32 the sines of the reduced angles are taken in float32.

    Raises:
        ValueError: Half precision, which cannot hold the codes, or a negative number of frequencies.
    """
    dtype = dtype or u.dtype
    for kind in (u.dtype, dtype):
        if kind not in (torch.float32, torch.float64):
            raise ValueError(f"encode: values of {kind} are too coarse to encode; give float64 or float32")
    if num_frequencies < 0:
        raise ValueError(f"encode: {num_frequencies} frequencies; give 0 or more")
    factors_F = torch.exp2(torch.arange(num_frequencies, dtype=torch.float64, device=u.device))
    angles_RFJ = (torch.fmod(u.double()[:, None] * factors_F[:, None], 2.0) * torch.pi).to(dtype)
    waves = torch.stack([angles_RFJ.sin(), angles_RFJ.cos()], dim=-1 if layout == "a" else 2)
    return torch.cat([u.to(dtype), waves.flatten(1)], dim=1)
