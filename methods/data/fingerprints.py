"""Hash of the files of a data set by name and content, remembered so that unchanged files are not read again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from methods.data.cache import cache_folder, written_atomically
from methods.data.dataset import DataError

_SETTLED_SECONDS = 2.0
"""A file touched this recently could change again without its size or time of change telling."""


def fingerprint_files(root: Path, files: Sequence[Path], *, cache_dir: Path | None) -> str:
    """SHA-256 over the relative names and the contents of `files`, all below `root`, whatever their order.

    What each file hashed to is kept in the cache folder together with its size and time of change.

    Raises:
        DataError: A file cannot be read, or the cache cannot be written.
    """
    folder = cache_folder(cache_dir) / "fingerprints"
    folder.mkdir(exist_ok=True)
    memory = folder / f"{hashlib.sha256(str(root).encode()).hexdigest()[:20]}.json"
    known = _recall(memory)
    hashed: dict[str, list[Any]] = {}
    fresh: dict[str, list[Any]] = {}
    for file in sorted(files):
        name = file.relative_to(root).as_posix()
        hashed[name] = _hash(file, known.get(name))
        if time.time() - hashed[name][1] / 1e9 > _SETTLED_SECONDS:
            fresh[name] = hashed[name]
    if fresh != known:
        with written_atomically(memory) as unfinished:
            unfinished.write_text(json.dumps(fresh))
    whole = hashlib.sha256()
    for name, (_, _, digest) in sorted(hashed.items()):
        whole.update(f"{name}\0{digest}\n".encode())
    return whole.hexdigest()


def _hash(file: Path, known: list[Any] | None) -> list[Any]:
    """Size in bytes, time of change in nanoseconds, SHA-256."""
    try:
        status = file.stat()
        if known is not None and known[:2] == [status.st_size, status.st_mtime_ns]:
            return known
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}; mend its access rights or its disk.") from error
    return [status.st_size, status.st_mtime_ns, digest]


def _recall(memory: Path) -> dict[str, list[Any]]:
    try:
        recalled = json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}
    return recalled if isinstance(recalled, dict) else {}
