"""Encoded images of any format Pillow reads, turned into one uint8 array.

Shapes: N = images that decoded, C = channels (1 when every image is grey, else 3), H, W = height and width.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from methods.data.dataset import Array, DataError

_CHUNK = 256
_SMALL_BYTES = 8192
_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on bytes that are no image, or half of one."""


@dataclass(frozen=True)
class EncodedImage:
    """One image as it lies in its source."""

    name: str
    """How to find it: a path inside the source, with the row for Parquet."""
    content: bytes | Path | None
    """Its bytes, the file that holds them, or None when the source has the row but not the bytes."""
    label: int
    is_test: bool


@dataclass(frozen=True)
class DecodedImages:
    """Images that decoded, in the order of the source."""

    inputs: Array
    """uint8 (N, C, H, W)."""
    targets: Array
    """int64 (N,)."""
    is_test: Array
    """bool (N,)."""
    undecodable: tuple[str, ...]
    """Names of those that did not decode."""


def decode_images(images: Iterable[EncodedImage], *, count: int) -> DecodedImages:
    """Decode images in parallel, reading no further ahead in `images` than the decoders need.

    A single colour image makes all of them RGB. 16-bit grey keeps its upper 8 bits; transparency is dropped.

    Args:
        images: At most `count` images.
        count: Number of images, to reserve memory for.

    Raises:
        DataError: Two images differ in size (the first odd one is named), a file cannot be read, or none decodes.
    """
    inputs: Array | None = None
    labels: list[int] = []
    is_test: list[bool] = []
    undecodable: list[str] = []
    first = ""
    for image, pixels in _decoded(images):
        if pixels is None:
            undecodable.append(image.name)
            continue
        if inputs is None:
            first = image.name
            inputs = np.empty((count, pixels.shape[0], *pixels.shape[1:]), dtype=np.uint8)
        if pixels.shape[1:] != inputs.shape[2:]:
            raise DataError(
                f"{image.name} is {_size(pixels.shape)} but {first} is {_size(inputs.shape)}; "
                "resize all images of a set to one size."
            )
        if pixels.shape[0] > inputs.shape[1]:
            inputs = np.repeat(inputs, 3, axis=1)
        inputs[len(labels)] = pixels  # a grey image fills all three channels
        labels.append(image.label)
        is_test.append(image.is_test)
    if inputs is None:
        shown = ", ".join(undecodable[:3])
        raise DataError(f"none of {len(undecodable)} images decodes ({shown}, ...); is this the right folder?")
    return DecodedImages(
        inputs[: len(labels)],
        np.array(labels, dtype=np.int64),
        np.array(is_test, dtype=np.bool_),
        tuple(undecodable),
    )


def _decoded(images: Iterable[EncodedImage]) -> Iterator[tuple[EncodedImage, Array | None]]:
    """Each image with its pixels (C, H, W), None where it does not decode, in order."""
    source = iter(images)
    chunk = list(islice(source, _CHUNK))
    # Decoding a small image is mostly Python under the interpreter lock. Measured on two cores: a 32x32 JPEG takes
    # 94 us with one thread and 100 to 140 with two or four, one of 224x224 takes 437 with one and 350 with two.
    small = all(isinstance(image.content, bytes) and len(image.content) < _SMALL_BYTES for image in chunk)
    threads = 1 if small else min(os.cpu_count() or 1, 16)
    waiting: deque[tuple[list[EncodedImage], Future[list[Array | None]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        while chunk or waiting:
            while chunk and len(waiting) < 2 * threads:
                waiting.append((chunk, pool.submit(_decode_chunk, chunk)))
                chunk = list(islice(source, _CHUNK))
            done, future = waiting.popleft()
            yield from zip(done, future.result(), strict=True)


def _decode_chunk(chunk: list[EncodedImage]) -> list[Array | None]:
    return [None if image.content is None else _decode(_read(image.content)) for image in chunk]


def _read(content: bytes | Path) -> bytes:
    if isinstance(content, bytes):
        return content
    try:
        return content.read_bytes()
    except OSError as error:
        raise DataError(f"{content} cannot be read: {error.strerror}; mend its access rights or its disk.") from error


def _decode(content: bytes) -> Array | None:
    """Pixels (1 or 3, H, W), or None."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode in ("I", "F"):
                return None  # no known range to bring to 0..255
            if image.mode.startswith("I;16"):
                return (np.asarray(image) >> 8).astype(np.uint8)[None]
            if image.mode in ("1", "L", "LA", "La"):
                return np.asarray(image.convert("L"))[None]
            # Pillow warns when a palette with transparency is turned into RGB directly.
            opaque = image.convert("RGBA") if "transparency" in image.info else image
            # Rearranged here and not by the reader, because NumPy copies outside the interpreter lock.
            return np.ascontiguousarray(np.asarray(opaque.convert("RGB")).transpose(2, 0, 1))
    except _BROKEN:
        return None


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[-1]}x{shape[-2]}"
