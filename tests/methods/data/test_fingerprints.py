from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from methods.data.dataset import DataError
from methods.data.fingerprints import fingerprint_files


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files that have lain untouched for a minute."""
    root = tmp_path / "set"
    root.mkdir()
    made = [root / "b.bin", root / "a.bin"]
    for number, file in enumerate(made):
        write(file, bytes([number] * 100), age_seconds=60)
    return made


def write(file: Path, content: bytes, *, age_seconds: float) -> None:
    file.write_bytes(content)
    then = file.stat().st_mtime - age_seconds
    os.utime(file, (then, then))


def taken(files: list[Path], tmp_path: Path) -> str:
    return fingerprint_files(files[0].parent, files, cache_dir=tmp_path / "cache")


def test_a_fingerprint_is_of_names_and_contents_alone(files: list[Path], tmp_path: Path) -> None:
    first = taken(files, tmp_path)
    assert taken(files[::-1], tmp_path) == first
    moved = files[0].parent.rename(tmp_path / "elsewhere")
    assert taken([moved / "a.bin", moved / "b.bin"], tmp_path) == first
    renamed = (moved / "b.bin").rename(moved / "c.bin")
    assert taken([moved / "a.bin", renamed], tmp_path) != first


def test_unchanged_files_are_not_read_again(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    really_digest = hashlib.file_digest

    def digest(file: object, kind: str) -> object:
        read.append(file.name)  # type: ignore[attr-defined]
        return really_digest(file, kind)  # type: ignore[call-overload]

    monkeypatch.setattr(hashlib, "file_digest", digest)
    first = taken(files, tmp_path)
    assert len(read) == 2
    assert taken(files, tmp_path) == first
    assert len(read) == 2
    write(files[0], b"other content", age_seconds=30)
    assert taken(files, tmp_path) != first
    assert read[2:] == [str(files[0])]


def test_a_file_changed_a_moment_ago_is_read_again(files: list[Path], tmp_path: Path) -> None:
    write(files[0], b"x" * 100, age_seconds=0)
    status = files[0].stat()
    first = taken(files, tmp_path)
    files[0].write_bytes(b"y" * 100)
    os.utime(files[0], ns=(status.st_atime_ns, status.st_mtime_ns))
    assert taken(files, tmp_path) != first


def test_a_damaged_memory_is_forgotten(files: list[Path], tmp_path: Path) -> None:
    first = taken(files, tmp_path)
    (memory,) = (tmp_path / "cache" / "fingerprints").iterdir()
    memory.write_text(memory.read_text()[:10])
    assert taken(files, tmp_path) == first


def test_a_missing_file_is_told(files: list[Path], tmp_path: Path) -> None:
    files[0].unlink()
    with pytest.raises(DataError, match=r"b\.bin cannot be read"):
        taken(files, tmp_path)
