"""One study in the store.

<store>/studies/<name>/  study.yaml  lock  search.journal  rungs.json  records/<id>.json  timings.json
                         test_choice.json  test.json  results.parquet  subtasks.parquet  report.html  pareto.png
                         modules.png (of studies with class modules)
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from methods.json_value import Json
from orchestrator.errors import StoreProblem, UnknownRecord
from orchestrator.runs import Record
from orchestrator.store.files import Files, LocalFiles, safe_name
from orchestrator.store.stored_json import decode_json, encode_json
from orchestrator.store.study_lock import StudyLock, held_lock


class StudyFolder:
    """What the store holds of one study. Every call may raise StoreProblem."""

    def __init__(self, files: Files, name: str, store: str) -> None:
        self.name = name
        self._files = files
        self._store = store

    @staticmethod
    def names(files: Files) -> list[str]:
        """Names of the studies that have a study file, sorted."""
        return [name for name in files.names("studies") if files.exists(f"studies/{name}/study.yaml")]

    def put_spec(self, yaml_text: str) -> None:
        """Keep the study file as it was submitted; replaces an earlier one."""
        self.write_file("study.yaml", yaml_text.encode())

    def read_spec(self) -> str:
        """The study file.

        Raises:
            UnknownRecord: The store holds no such study.
        """
        data = self.read_file("study.yaml")
        if data is None:
            known = ", ".join(self.names(self._files)) or "none"
            raise UnknownRecord(f"{self._store}: no study '{self.name}' in this store; it holds: {known}")
        return data.decode()

    def put_record(self, record: Record, *, replace: bool = False) -> bool:
        """Write one line of the ledger.

        Args:
            record: Its id is the line's name.
            replace: Overwrite a line of the same id, for a trial that failed and was tried again.

        Returns:
            False when a line of that id was there and stays.
        """
        path = self._path(f"records/{safe_name(record.id)}.json")
        if replace:
            self._files.put(path, encode_json(record))
            return True
        return self._files.put_new(path, encode_json(record))

    def records(self) -> list[Record]:
        """The whole ledger, in order of record id."""
        paths = [self._path(f"records/{name}") for name in self._files.names(self._path("records"))]
        found = zip(paths, self._files.read_many(paths), strict=True)
        return [decode_json(Record, data, self._files.place(path)) for path, data in found if data is not None]

    def put_test(self, sheet: dict[str, Json]) -> bool:
        """Keep what the locked test split said. It is opened once: False when it was opened before, and that stays."""
        return self._files.put_new(self._path("test.json"), json.dumps(sheet, indent=1).encode())

    def read_test(self) -> dict[str, Json] | None:
        """What the test split said; None when it has not been opened."""
        data = self.read_file("test.json")
        if data is None:
            return None
        try:
            sheet: dict[str, Json] = json.loads(data)
        except ValueError as error:
            place = self._files.place(self._path("test.json"))
            raise StoreProblem(f"{place}: not readable ({error}); restore it from a copy of the store") from error
        return sheet

    def write_file(self, name: str, data: bytes) -> None:
        """Write or replace a file such as `report.html`."""
        self._files.put(self._path(safe_name(name)), data)

    def read_file(self, name: str) -> bytes | None:
        """A file written before, or None."""
        return self._files.read(self._path(safe_name(name)))

    def journal_path(self) -> Path:
        """Where the journal of the search lies on this machine; its folder exists.

        For a remote store this is a working copy in the cache folder, fetched when the store has a longer one (a
        journal only grows). `keep_journal` sends it back.
        """
        if isinstance(self._files, LocalFiles):
            path = self._files.root / self._path("search.journal")
        else:
            path = self._journal_copy()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not isinstance(self._files, LocalFiles):
                stored = self.read_file("search.journal")
                if stored is not None and (not path.exists() or path.stat().st_size < len(stored)):
                    path.write_bytes(stored)
        except OSError as error:
            raise StoreProblem(f"{path}: {error.strerror}; make its folder writable for this user") from error
        return path

    def keep_journal(self) -> None:
        """Bring a remote store's journal up to date; nothing to do for a local store."""
        if not isinstance(self._files, LocalFiles) and self._journal_copy().exists():
            self.write_file("search.journal", self._journal_copy().read_bytes())

    @contextmanager
    def lock(self, owner: str) -> Iterator[StudyLock]:
        """Be the only coordinator of this study while inside.

        Args:
            owner: Who asks, for people, e.g. the command line.

        Raises:
            StoreLocked: A living coordinator has it; says which and how to mend it.
        """
        with held_lock(self._files, self._path("lock"), study=self.name, owner=owner) as lock:
            yield lock

    def _path(self, file: str) -> str:
        return f"studies/{self.name}/{file}"

    def _journal_copy(self) -> Path:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        if not os.access(cache.parent, os.W_OK):
            cache = Path(tempfile.gettempdir())
        store = hashlib.sha256(self._store.encode()).hexdigest()[:16]
        return cache / "paredown" / store / self.name / "search.journal"
