"""Samples that lie on the device, as the batches a network reads.

Shapes: N = samples, C = channels, H, W = height and width, D = features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from methods.contract import Normalization, Split
from methods.data.normalise import normalise
from methods.training.augmentation import augment

_CHUNK_BYTES = 32 * 2**20
"""Inputs prepared at once, as float32. Small sets are prepared in one go per epoch, which spares them the cost of a
dozen small tensor operations per batch; large ones stay within reach of the memory."""


def train_batches(
    split: Split,
    *,
    batch_size: int,
    normalization: Normalization,
    augmentation: Literal["none", "crop_flip"],
    generator: torch.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: every sample once, in random order, augmented and normalised.

    A last batch of a single sample is left out, since batch normalisation cannot learn from it.

    Args:
        generator: On the device of the split; order and augmentation come from it alone.

    Yields:
        float32 inputs (N, C, H, W) channels-last or (N, D), and their targets.
    """
    count = len(split)
    order_N = torch.randperm(count, generator=generator, device=split.targets.device)
    order_N = order_N[: _num_shown(count, batch_size)]
    for index_N in torch.split(order_N, _chunk(split, batch_size)):
        inputs = split.inputs[index_N]
        if inputs.dim() == 4:
            inputs = augment(inputs, kind=augmentation, generator=generator)
        yield from _cut(inputs, split.targets[index_N], batch_size, normalization)


def num_batches(count: int, *, batch_size: int) -> int:
    """Batches, and so steps, of one epoch of `train_batches` over `count` samples."""
    return math.ceil(_num_shown(count, batch_size) / batch_size)


def plain_batches(split: Split, *, batch_size: int, normalization: Normalization) -> Iterator[tuple[Tensor, Tensor]]:
    """Every sample once, in order, normalised but not augmented; the last batch may be smaller."""
    chunk = _chunk(split, batch_size)
    for inputs, targets in zip(torch.split(split.inputs, chunk), torch.split(split.targets, chunk), strict=True):
        yield from _cut(inputs, targets, batch_size, normalization)


def _num_shown(count: int, batch_size: int) -> int:
    """Samples of an epoch: all but one that would be a batch of its own."""
    return count - 1 if batch_size > 1 and count > 1 and count % batch_size == 1 else count


def _chunk(split: Split, batch_size: int) -> int:
    """Samples to prepare at once: whole batches, at least one."""
    sample_bytes = 4 * split.inputs[0].numel()
    return batch_size * max(1, _CHUNK_BYTES // (sample_bytes * batch_size))


def _cut(
    inputs: Tensor, targets: Tensor, batch_size: int, normalization: Normalization
) -> Iterator[tuple[Tensor, Tensor]]:
    ready = normalise(inputs, normalization)
    if ready.dim() == 4:
        ready = ready.contiguous(memory_format=torch.channels_last)
    return zip(torch.split(ready, batch_size), torch.split(targets, batch_size), strict=True)
