"""Decoded images on disk as Arrow files, memory-mapped: one physical copy for all processes of a machine.

A file is written beside its place and renamed, so that nobody ever sees half of one; builders of the same file wait
for each other. The folder must lie on a file system with locks, best a local one.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa

from methods.data.dataset import Array, DataError

_FORMAT = 1
"""Raised whenever the same files would be decoded or stored otherwise."""
_METADATA = b"paredown"


@dataclass(frozen=True)
class ImageFacts:
    """What is stored with decoded images, as JSON."""

    class_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    num_encoded: int
    """Images in the source, those that did not decode included."""
    undecodable: tuple[str, ...]
    known_as: str | None
    """Name in `methods.data.known_sets`."""


@dataclass(frozen=True)
class CachedImages:
    """Decoded images: uint8 (N, C, H, W) and int64 (N,), read-only where they are memory-mapped."""

    pool_inputs: Array
    pool_targets: Array
    test_inputs: Array
    test_targets: Array
    facts: ImageFacts


def cache_folder(cache_dir: Path | None) -> Path:
    """`cache_dir`, else `$PAREDOWN_CACHE`, else `~/.cache/paredown`; made where it is missing.

    Raises:
        DataError: It cannot be made.
    """
    folder = cache_dir or Path(os.environ.get("PAREDOWN_CACHE") or "~/.cache/paredown").expanduser()
    with _told_as_data_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def cached_images(fingerprint: str, *, cache_dir: Path | None, build: Callable[[], CachedImages]) -> CachedImages:
    """The images kept under `fingerprint`; built and kept first where there are none or the file is damaged.

    Raises:
        DataError: `build` raised it, or the cache cannot be written.
    """
    folder = cache_folder(cache_dir)
    path = folder / f"{fingerprint}-v{_FORMAT}.arrow"
    found = _read(path)
    if found is None:
        with _locked(folder / f"{fingerprint}.lock"):
            # Another process may have built it while this one waited.
            found = _read(path)
            if found is None:
                images = build()
                with written_atomically(path) as unfinished:
                    _write(unfinished, images)
                found = _read(path)
    assert found is not None, f"{path} was written but does not read back"
    return found


@contextmanager
def written_atomically(path: Path) -> Iterator[Path]:
    """Give a path to write to, which becomes `path` at the end, or nothing at all after an error.

    Raises:
        DataError: The disk is full or the folder read-only.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{uuid4().hex[:8]}.tmp")
    try:
        with _told_as_data_error(path.parent):
            yield unfinished
            with unfinished.open("rb") as written:
                os.fsync(written.fileno())
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _write(path: Path, images: CachedImages) -> None:
    """One record batch for the pool, one for the test; in a batch the pixels of all images lie in one piece."""
    image_type = pa.binary(int(np.prod(images.facts.input_shape)))
    schema = pa.schema(
        [("image", image_type), ("label", pa.int64())], metadata={_METADATA: json.dumps(asdict(images.facts))}
    )
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for inputs, targets in (
            (images.pool_inputs, images.pool_targets),
            (images.test_inputs, images.test_targets),
        ):
            pixels = pa.py_buffer(np.ascontiguousarray(inputs))
            column = pa.FixedSizeBinaryArray.from_buffers(image_type, len(inputs), [None, pixels])
            writer.write_batch(pa.record_batch([column, pa.array(targets, pa.int64())], schema=schema))


def _read(path: Path) -> CachedImages | None:
    """None where there is no such file, or one cut short by a crash or a full disk."""
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        stored: dict[str, Any] = json.loads(reader.schema.metadata[_METADATA])
        pool, test = reader.get_batch(0), reader.get_batch(1)
        pool.validate()
        test.validate()
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return None
    facts = ImageFacts(
        class_names=tuple(stored["class_names"]),
        input_shape=tuple(stored["input_shape"]),
        num_encoded=stored["num_encoded"],
        undecodable=tuple(stored["undecodable"]),
        known_as=stored["known_as"],
    )
    shape = facts.input_shape
    return CachedImages(
        _pixels(pool, shape), pool["label"].to_numpy(), _pixels(test, shape), test["label"].to_numpy(), facts
    )


def _pixels(batch: Any, shape: tuple[int, ...]) -> Array:
    """A view into the mapped file, (N, C, H, W)."""
    count = len(batch) * int(np.prod(shape))
    return np.frombuffer(batch["image"].buffers()[1], dtype=np.uint8, count=count).reshape(len(batch), *shape)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with _told_as_data_error(path.parent):
        file = path.open("wb")
    with file:
        with _told_as_data_error(path.parent):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _told_as_data_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"cache folder {folder} cannot be written: {reason}; "
            "set PAREDOWN_CACHE to a local folder with room for the decoded images."
        ) from error
