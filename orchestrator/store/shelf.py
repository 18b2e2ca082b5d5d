"""A folder of a store for files that belong to no single study."""

from __future__ import annotations

from orchestrator.store.files import Files, safe_name


class Shelf:
    """Flat: names have no parts."""

    def __init__(self, files: Files, folder: str) -> None:
        self._files = files
        self._folder = folder

    def write(self, name: str, data: bytes) -> None:
        """Write or replace a file, whole or not at all."""
        self._files.put(f"{self._folder}/{safe_name(name)}", data)

    def read(self, name: str) -> bytes | None:
        """A file written before, or None."""
        return self._files.read(f"{self._folder}/{safe_name(name)}")

    def names(self) -> list[str]:
        """Sorted; empty before the first file."""
        return self._files.names(self._folder)

    def place(self, name: str) -> str:
        """Where a file is, for people."""
        return self._files.place(f"{self._folder}/{safe_name(name)}")
