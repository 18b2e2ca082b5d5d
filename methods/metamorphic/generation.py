"""From generators and coordinates to weights: all tensors at several widths in one pass.

Tensors that have equally many rows are computed by one stack of batched products, so that the number of operations
hangs on the number of different sizes and not on that of tensors: nine groups for the 92 tensors of a ResNet-56.
Averaging over draws is that of Neural Metamorphosis (Yang and Wang, ECCV 2024, arXiv 2410.11878) and of MET (Sommariva
et al., 2025, arXiv 2505.05510).

Shapes: R = rows, one for each kernel (o, i) of each tensor, G = tensors of a group, E = length of a code, V = values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Literal

import torch
from torch import Tensor

from methods.metamorphic.coordinates import encode, normalise, perturb, raw_coordinates
from methods.metamorphic.generator import CoordinateMLPs

Shape = tuple[int, ...]

CHUNK_ROWS = 2**17
"""Rows computed at once when draws are averaged."""


@dataclass(frozen=True)
class Encoding:
    """How a kernel's place becomes a code."""

    num_frequencies: int
    norm: float
    """N: the full width."""
    noise: float = 1.0
    """a: extent of the uniform noise on raw coordinates."""
    variant: Literal["met", "neumeta"] = "met"
    layout: Literal["a", "b"] = "a"
    list_length: int | None = None
    """L: how many tensors there will be in the end; None: as many as are generated now, as published."""


def generate(
    networks: CoordinateMLPs,
    shapes: Sequence[Sequence[Shape]],
    *,
    encoding: Encoding,
    generator: torch.Generator,
    draws: int = 1,
    chunk_rows: int = CHUNK_ROWS,
    dtype: torch.dtype = torch.float32,
) -> list[list[Tensor]]:
    """The tensors of each requested width, float32, differentiable in the parameters of the networks.

    Several draws are averaged in float32 as they come, `chunk_rows` rows at a time. A call without gradients takes at
    most max(120 F, 48 F + 12 H) + 12 V + 250 bytes for each row of a chunk or of one draw, whichever is larger: the
    first while it encodes, the second while the networks run, were all rows in one group. That is 1.0 GB with 32
    frequencies, 512 hidden units and 2^17 rows (a ResNet-56 has 79,488 at full width). On top come a copy of the
    networks where groups are not stored one after the other, and with bfloat16 a copy of one layer's weights.

    Args:
        networks: One for each tensor.
        shapes: For each width those of all tensors: (O, I, height, width) or (O, I) of weights, (O,) of biases.
        encoding: Of coordinates.
        generator: Of the noise; on any device.
        draws: K, each with noise of its own; `neumeta` draws the first without noise. Without noise one is enough.
        chunk_rows: See above; the same noise falls on other rows when it changes.
        dtype: Of the products of hidden layers, float32 or bfloat16; the last layer is float32 in any case.

    Raises:
        ValueError: No width, not one shape per network, a kernel with more taps than the networks put out, another
            number of frequencies than they read, another type of products, or draws below 1.
    """
    _check(networks, shapes, encoding=encoding, draws=draws, dtype=dtype)
    if encoding.noise == 0:
        draws = 1
    rows = sum(_count(shape) for tensors in shapes for shape in tensors)
    sums: list[list[Tensor]] | None = None
    left = draws
    while left:
        noise_free = encoding.variant == "neumeta" and draws > 1 and left == draws
        chunk = 1 if noise_free else min(left, max(1, chunk_rows // rows))
        made = _generated(
            networks, list(shapes) * chunk, encoding=encoding, generator=generator, noise_free=noise_free, dtype=dtype
        )
        for start in range(0, len(made), len(shapes)):
            drawn = made[start : start + len(shapes)]
            sums = drawn if sums is None else _added(sums, drawn)
        left -= chunk
    assert sums is not None
    return sums if draws == 1 else [[tensor / draws for tensor in tensors] for tensors in sums]


def _check(
    networks: CoordinateMLPs,
    shapes: Sequence[Sequence[Shape]],
    *,
    encoding: Encoding,
    draws: int,
    dtype: torch.dtype,
) -> None:
    if draws < 1:
        raise ValueError(f"generate: {draws} draws; give 1 or more")
    if dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"generate: products in {dtype}; give torch.float32 or torch.bfloat16")
    if encoding.num_frequencies != networks.num_frequencies:
        raise ValueError(
            f"generate: codes of {encoding.num_frequencies} frequencies for networks that read "
            f"{networks.num_frequencies}; give the encoding theirs"
        )
    if not shapes:
        raise ValueError("generate: no width; give the shapes of at least one")
    for tensors in shapes:
        if len(tensors) != len(networks):
            raise ValueError(f"generate: {len(tensors)} shapes for {len(networks)} networks; give one for each")
        largest = max(_taps(shape) for shape in tensors)
        if largest > networks.outputs:
            raise ValueError(
                f"generate: a kernel of {largest} taps, and the networks put out {networks.outputs} values; make them "
                "with as many outputs"
            )


def _generated(
    networks: CoordinateMLPs,
    shapes: Sequence[Sequence[Shape]],
    *,
    encoding: Encoding,
    generator: torch.Generator,
    noise_free: bool,
    dtype: torch.dtype,
) -> list[list[Tensor]]:
    """One draw of each width, widths that occur several times included."""
    counts = [[_count(tensors[index]) for tensors in shapes] for index in range(len(networks))]
    groups: dict[int, list[int]] = {}
    for index, of_widths in enumerate(counts):
        groups.setdefault(sum(of_widths), []).append(index)
    order = list(chain.from_iterable(groups.values()))
    device = networks.first_weight.device
    by_width = [_rows(tuple(tensors), encoding.list_length, device) for tensors in shapes]
    raw = torch.cat([rows[index] for index in order for rows in by_width])
    if noise_free or encoding.noise == 0:
        u, divisor, tensor_id = normalise(raw, norm=encoding.norm), raw[:, 5], raw[:, 0].long()
    else:
        noise = torch.rand(raw.shape, generator=generator, device=generator.device).to(device).double() - 0.5
        u, divisor, tensor_id = perturb(raw, encoding.noise * noise, norm=encoding.norm, variant=encoding.variant)
    codes = encode(u, num_frequencies=encoding.num_frequencies, layout=encoding.layout, dtype=torch.float32)
    if encoding.variant == "met" or noise_free or encoding.noise == 0:
        sizes = [len(members) * rows for rows, members in groups.items()]
        stacks = [
            part.view(len(members), rows, -1)
            for part, (rows, members) in zip(torch.split(codes, sizes), groups.items(), strict=True)
        ]
        values = torch.cat([stack.flatten(0, 1) for stack in networks.run_groups(stacks, list(groups.values()), dtype)])
    else:
        values = _by_rows(networks, codes, tensor_id, dtype)
    values = values / divisor.float()[:, None]
    pieces = iter(torch.split(values, [count for index in order for count in counts[index]]))
    found: list[list[Tensor]] = [[values] * len(networks) for _ in shapes]
    for index in order:
        for width, tensors in enumerate(shapes):
            found[width][index] = _shaped(next(pieces), tensors[index])
    return found


def _by_rows(networks: CoordinateMLPs, codes_RE: Tensor, tensor_id_R: Tensor, dtype: torch.dtype) -> Tensor:
    """Each row by the network that its noisy index names, as Neural Metamorphosis has it."""
    chosen_R = tensor_id_R.clamp(0, len(networks) - 1)
    order_R = torch.argsort(chosen_R, stable=True)
    counts = torch.bincount(chosen_R, minlength=len(networks)).tolist()
    present = [index for index, count in enumerate(counts) if count]
    stacks = [part[None] for part in torch.split(codes_RE[order_R], [counts[index] for index in present])]
    values = torch.cat([values[0] for values in networks.run_groups(stacks, [[index] for index in present], dtype)])
    return values[torch.argsort(order_R)]


def _shaped(values_RV: Tensor, shape: Shape) -> Tensor:
    """The taps of a kernel are the outputs around the middle one; a single value is the first output."""
    taps = _taps(shape)
    start = 0 if taps == 1 else values_RV.shape[1] // 2 - taps // 2
    return values_RV[:, start : start + taps].reshape(shape)


@lru_cache(maxsize=128)
def _rows(shapes: tuple[Shape, ...], list_length: int | None, device: torch.device) -> tuple[Tensor, ...]:
    """Raw coordinates of each tensor; nobody writes to them."""
    raw = raw_coordinates([shape[:2] for shape in shapes])
    if list_length is not None:
        raw[:, 3] = list_length
    pieces: tuple[Tensor, ...] = torch.split(raw.to(device), [_count(shape) for shape in shapes])
    return pieces


def _added(sums: list[list[Tensor]], drawn: list[list[Tensor]]) -> list[list[Tensor]]:
    return [[a + b for a, b in zip(one, other, strict=True)] for one, other in zip(sums, drawn, strict=True)]


def _count(shape: Shape) -> int:
    """Rows of a tensor."""
    return math.prod(shape[:2])


def _taps(shape: Shape) -> int:
    return math.prod(shape[2:])
