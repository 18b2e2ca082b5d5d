"""Which number format the network's arithmetic runs in; the weights themselves always stay float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Literal

import torch

from methods.contract import Task


def resolve_precision(requested: Literal["auto", "float32", "bfloat16"], device: str) -> torch.dtype:
    """The format for convolutions and matrix products: what was asked for, or the faster one the device has.

    `auto` means bfloat16 where the device multiplies it in hardware: CUDA from compute capability 8.0,
    CPUs with AVX512-BF16 or AMX.
    """
    if requested == "auto":
        return torch.bfloat16 if _multiplies_bfloat16(torch.device(device).type) else torch.float32
    return torch.bfloat16 if requested == "bfloat16" else torch.float32


def task_precision(task: Task) -> torch.dtype:
    """`resolve_precision` for a task, except that `auto` keeps tables in float32.

    The networks of tables are so small that casting costs more than it saves, and a regression loses digits.
    """
    if task.precision == "auto" and not task.info.is_image:
        return torch.float32
    return resolve_precision(task.precision, task.device)


def autocast(device: str, precision: torch.dtype) -> AbstractContextManager[Any]:
    """A context for one forward pass. Enter it anew for each: inside one context cast weights are remembered."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=precision)


@cache
def _multiplies_bfloat16(device_type: str) -> bool:
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device_type == "cpu":
        # The capability is no public name in torch 2.11-2.13, but it is what oneDNN itself asks.
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False
