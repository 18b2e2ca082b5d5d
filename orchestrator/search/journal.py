"""The journal of a search: a text file of one JSON line per step, in the format of Optuna's JournalFileBackend.

Any Optuna program can read it: `JournalStorage(JournalFileBackend("search.journal"))`. We write it ourselves for three
reasons. Optuna's writer leaves a lock behind when it is killed, over which the next one waits 30 s; a study's own lock
makes it needless. It syncs to the disk's platters at each line, a promise the store does not make either. And a last
line cut short by a kill loses Optuna the whole study.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.errors import StoreProblem
from orchestrator.store.files import store_problems


def mend(path: Path) -> str | None:
    """Cut a last line that was not written to its end, after copying the file to `<name>.before-mending`.

    Returns:
        A sentence about what was cut; None when the journal is whole or not there.

    Raises:
        StoreProblem: It cannot be read or written, or a line in its midst is broken.
    """
    if not path.exists():
        return None
    with store_problems(str(path)):
        data = path.read_bytes()
        whole = _whole_length(data, path)
        if whole == len(data):
            return None
        copy = path.with_name(path.name + ".before-mending")
        copy.write_bytes(data)
        os.truncate(path, whole)
    return (
        f"{path}: the last line was cut short by a kill; {len(data) - whole} bytes left out, the former file is {copy}"
    )


def _whole_length(data: bytes, path: Path) -> int:
    """Bytes of `data` up to the end of its last good line."""
    lines = data.splitlines(keepends=True)
    length = 0
    for number, line in enumerate(lines, start=1):
        try:
            good = line.endswith(b"\n") and isinstance(json.loads(line), dict)
        except ValueError:
            good = False
        if not good:
            if number < len(lines):
                raise StoreProblem(
                    f"{path}:{number}: not a line of a search journal; restore it from a copy, or move it away: the "
                    "search then begins anew and finds finished runs in the store"
                )
            break
        length += len(line)
    return length


class JournalFile:
    """Reads and appends lines; the storage backend that Optuna's JournalStorage asks for.

    For one writing process, which the lock of the study ensures. A line is in the file when `append_logs` returns: it
    survives a killed process, not a power cut. No file is held open in between.
    """

    def __init__(self, path: Path) -> None:
        with store_problems(str(path)):
            path.touch()
        self._path = path
        self._number = 0
        self._offset = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the entries from a number on; Optuna asks for those it has not seen, which are at the end."""
        if log_number_from < self._number:
            self._number = self._offset = 0
        if os.path.getsize(self._path) == self._offset:
            return  # most of Optuna's questions bring nothing new
        with self._path.open("rb") as file:
            file.seek(self._offset)
            lines = file.read().splitlines(keepends=True)
        for line in lines:
            self._number += 1
            self._offset += len(line)
            if self._number > log_number_from:
                yield json.loads(line)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries, all or none.

        Raises:
            StoreProblem: They cannot be written (StoreFull: no space is left).
        """
        data = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        with store_problems(str(self._path)), self._path.open("ab", buffering=0) as file:
            before = file.tell()
            rest = memoryview(data)
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                # Part of a line may be there; a later line behind it would make the whole journal unreadable.
                file.truncate(before)
                raise
