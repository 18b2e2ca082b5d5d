"""Named tensors and a JSON head as bytes: one safetensors blob. No pickle is written or read."""

from __future__ import annotations

import json
from typing import Any

import safetensors
import safetensors.torch
import zstandard
from torch import Tensor


def pack(tensors: dict[str, Tensor], head: object) -> bytes:
    """The blob of contiguous CPU tensors and a head; equal ones give equal bytes."""
    # One entry of metadata only: safetensors writes several in random order, and equal networks shall give equal bytes.
    return safetensors.torch.save(tensors, metadata={"paredown": json.dumps(head, separators=(",", ":"))})


def unpack(blob: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and head of a blob made by `pack`.

    Raises:
        ValueError: The bytes are truncated, damaged or foreign; the message says no more than what was found.
    """
    try:
        tensors = safetensors.torch.load(blob)
        header_bytes = int.from_bytes(blob[:8], "little")
        head = json.loads(json.loads(blob[8 : 8 + header_bytes])["__metadata__"]["paredown"])
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not isinstance(head, dict):
        raise ValueError(f"its head is no mapping but {type(head).__name__}")
    return tensors, head


def compress(blob: bytes, *, level: int) -> bytes:
    """One zstd frame with a checksum, so that damage anywhere is found."""
    return zstandard.ZstdCompressor(level=level, write_checksum=True).compress(blob)


def decompress(data: bytes) -> bytes:
    """What `compress` was given.

    Raises:
        ValueError: The bytes are truncated, damaged or foreign; the message says no more than what was found.
    """
    try:
        return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as error:
        raise ValueError(str(error)) from error
