"""The store: every run under its content key, every study under its name. It is the source of truth.

    <store>/runs/<key>/      run.json  curves.parquet  figures.json
                             variants/<label>/{artefact.safetensors.zst,weights.safetensors}
                             modules.safetensors  subtasks.parquet (of modular methods)
                             generator.safetensors.zst (of metamorphic methods)
                             failures/<n>.json  checkpoint/state.bin  outcome.json (last: it says "this run is done")
    <store>/studies/<name>/  see `study_folder`

No pickle is ever read: JSON, Parquet and safetensors only.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from methods.figures import FIGURES, Figure
from orchestrator.errors import StoreProblem, UnknownRecord
from orchestrator.runs import Failure, Run, RunResult
from orchestrator.store.files import Files, is_safe_name, open_files, safe_name, shown
from orchestrator.store.shelf import Shelf
from orchestrator.store.stored_json import decode_json, encode_json, first_fault
from orchestrator.store.study_folder import StudyFolder

if TYPE_CHECKING:
    import pyarrow as pa


_GENERATOR = "generator.safetensors.zst"


@dataclass(frozen=True)
class VariantFiles:
    """The two stored forms of a variant."""

    artefact: bytes
    """What a user deploys; for `methods.artefact.decode`."""
    weights: bytes
    """Full precision, to go on training from; for `methods.artefact.load_network`."""


class Store:
    """Results by content key. Every write is whole or absent; every call may raise StoreProblem.

    A Store can be pickled (it is its URI) and used from several threads and processes.
    """

    def __init__(self, uri: str, files: Files) -> None:
        self.uri = uri
        self._files = files

    @classmethod
    def open(cls, uri: str, *, read_only: bool = False) -> Store:
        """Open a store, creating it if need be.

        Args:
            uri: A local folder, or a URI of pyarrow.fs such as `s3://bucket/prefix`.
            read_only: Do not create it nor try to write.

        Raises:
            StoreProblem: It cannot be reached, or cannot be written and `read_only` is false.
        """
        files = open_files(uri)
        if not read_only:
            files.make()
        elif not (files.names("runs") or files.names("studies")):
            raise StoreProblem(f"{shown(uri)}: no store here; give the --store that the study was run with")
        return cls(uri, files)

    @classmethod
    def look(cls, uri: str) -> Store:
        """A store to look into that need not exist: nothing is made, and one that is missing holds nothing.

        Raises:
            StoreProblem: The URI cannot be understood.
        """
        return cls(uri, open_files(uri))

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (self.uri,)

    def __str__(self) -> str:
        return shown(self.uri)

    def put_run(self, run: Run) -> None:
        """Write down what a run is before it is tried."""
        self._files.put_new(_run(run.key, "run.json"), encode_json(run))

    def put_outcome(self, result: RunResult) -> bool:
        """Declare a run done; its variants, curves and figures must be there already. The checkpoint is dropped.

        Returns:
            False when the run was done before: the first result stays.
        """
        added = self._files.put_new(_run(result.key, "outcome.json"), encode_json(result))
        self.drop_checkpoint(result.key)
        return added

    def read_outcome(self, key: str) -> RunResult | None:
        """The result of a finished run; None when it is not finished."""
        path = _run(key, "outcome.json")
        data = self._files.read(path)
        return None if data is None else decode_json(RunResult, data, self._files.place(path))

    def finished_run(self, key: str) -> RunResult:
        """The result of a run that a user names.

        Raises:
            UnknownRecord: There is no such run, or it is not finished.
        """
        result = self.read_outcome(key) if is_safe_name(key) else None
        if result is not None:
            return result
        if is_safe_name(key) and self._files.exists(_run(key, "run.json")):
            failed = self.failures(key)
            why = f"; its last attempt failed: {failed[-1].message}" if failed else ""
            raise UnknownRecord(f"{self}: run {key} is not finished{why}; `pare resume` goes on with its study")
        raise UnknownRecord(f"{self}: no finished run {key}; a study's report and results.parquet name those there are")

    def finished_keys(self) -> list[str]:
        """Keys of all finished runs, sorted."""
        return [key for key in self._files.names("runs") if self._files.exists(_run(key, "outcome.json"))]

    def put_variant(self, key: str, label: str, *, artefact: bytes, weights: bytes) -> None:
        """Store one delivered network.

        Does nothing once the run has its outcome, so that a late twin of the run cannot part weights from grades.
        """
        if self._files.exists(_run(key, "outcome.json")):
            return
        self._files.put(_variant(key, label, "artefact.safetensors.zst"), artefact)
        self._files.put(_variant(key, label, "weights.safetensors"), weights)

    def read_variant(self, key: str, label: str) -> VariantFiles:
        """Both stored forms of a variant.

        Raises:
            UnknownRecord: It is not there.
        """
        artefact = self._files.read(_variant(key, label, "artefact.safetensors.zst"))
        weights = self._files.read(_variant(key, label, "weights.safetensors"))
        if artefact is None or weights is None:
            raise UnknownRecord(
                f"{self}: run {key} has no variant '{label}'; it has: {', '.join(self._labels(key)) or 'none'}"
            )
        return VariantFiles(artefact, weights)

    def put_modules(self, key: str, library: bytes, subtasks: pa.Table) -> None:
        """Store the class modules of one run, and what their compositions are worth on validation.

        Does nothing once the run has its outcome, for the reason that `put_variant` gives.

        Args:
            key: Of the run.
            library: From `methods.modules.stored.save_library`.
            subtasks: One row per subset of the classes.
        """
        if self._files.exists(_run(key, "outcome.json")):
            return
        self._files.put(_run(key, "modules.safetensors"), library)
        self._put_table(_run(key, "subtasks.parquet"), subtasks)

    def modular_keys(self) -> list[str]:
        """Keys of all runs with stored class modules, sorted."""
        return [key for key in self._files.names("runs") if self._files.exists(_run(key, "modules.safetensors"))]

    def read_modules(self, key: str) -> bytes | None:
        """The stored class modules of one run, for `methods.modules.stored.load_library`; None when it has none."""
        return self._files.read(_run(key, "modules.safetensors"))

    def read_subtasks(self, key: str) -> pa.Table | None:
        """What the compositions of one run are worth, one row per subset of the classes; None when it has none."""
        return self._read_table(_run(key, "subtasks.parquet"))

    def put_generator(self, key: str, data: bytes) -> None:
        """Store what further networks of a run are drawn from, as `NetworkGenerator.save` gives it.

        Does nothing once the run has its outcome, for the reason that `put_variant` gives.
        """
        if not self._files.exists(_run(key, "outcome.json")):
            self._files.put(_run(key, _GENERATOR), data)

    def read_generator(self, key: str) -> bytes | None:
        """The stored generator of one run; None when it has none."""
        return self._files.read(_run(key, _GENERATOR))

    def generating_keys(self) -> list[str]:
        """Keys of all runs with a stored generator, sorted."""
        return [key for key in self._files.names("runs") if self._files.exists(_run(key, _GENERATOR))]

    def put_curves(self, key: str, table: pa.Table) -> None:
        """Store the values per epoch of one run."""
        self._put_table(_run(key, "curves.parquet"), table)

    def read_curves(self, key: str) -> pa.Table | None:
        """The values per epoch of one run; None when it has none."""
        return self._read_table(_run(key, "curves.parquet"))

    def _put_table(self, path: str, table: pa.Table) -> None:
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        self._files.put(path, buffer.getvalue())

    def _read_table(self, path: str) -> pa.Table | None:
        data = self._files.read(path)
        if data is None:
            return None
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_table(io.BytesIO(data))
        except pa.ArrowInvalid as error:
            raise StoreProblem(f"{self._files.place(path)}: not a Parquet file ({error}); delete it") from error

    def put_figures(self, key: str, figures: tuple[Figure, ...]) -> None:
        """Store the charts of one run; a run without any has no file."""
        if figures:
            self._files.put(_run(key, "figures.json"), FIGURES.dump_json(figures))

    def read_figures(self, key: str) -> tuple[Figure, ...]:
        """The charts of one run; empty when it has none."""
        path = _run(key, "figures.json")
        data = self._files.read(path)
        if data is None:
            return ()
        try:
            return FIGURES.validate_json(data)
        except ValidationError as error:
            raise StoreProblem(
                f"{self._files.place(path)}: not readable as figures: {first_fault(error)}. "
                "It was cut short or changed from outside; delete it, and the run is shown without figures"
            ) from error

    def add_failure(self, key: str, failure: Failure) -> None:
        """Write down one failed attempt, after those before it."""
        number = len(self._files.names(_run(key, "failures")))
        while not self._files.put_new(_run(key, f"failures/{number:04d}.json"), encode_json(failure)):
            number += 1

    def failures(self, key: str) -> list[Failure]:
        """All failed attempts at a run, oldest first."""
        paths = [_run(key, f"failures/{name}") for name in self._files.names(_run(key, "failures"))]
        found = zip(paths, self._files.read_many(paths), strict=True)
        return [decode_json(Failure, data, self._files.place(path)) for path, data in found if data is not None]

    def put_checkpoint(self, key: str, data: bytes) -> None:
        """Keep the state of an unfinished run; replaces an earlier one."""
        self._files.put(_run(key, "checkpoint/state.bin"), data)

    def read_checkpoint(self, key: str) -> bytes | None:
        """The last state of an unfinished run, or None."""
        return self._files.read(_run(key, "checkpoint/state.bin"))

    def drop_checkpoint(self, key: str) -> None:
        """Forget the state of a run, if there is one."""
        self._files.delete_folder(_run(key, "checkpoint"))

    def study(self, name: str) -> StudyFolder:
        """The folder of one study; it comes into being with the first file put there."""
        return StudyFolder(self._files, safe_name(name), str(self))

    def nightly(self, study: str) -> Shelf:
        """The nights of a nightly study."""
        return Shelf(self._files, f"nightly/{safe_name(study)}")

    def nested(self, folder: str) -> str:
        """Address of a store of its own within this one, with the same options."""
        place, mark, options = self.uri.partition("?")
        return f"{place.rstrip('/')}/{folder}{mark}{options}"

    def study_names(self) -> list[str]:
        """Names of all studies in the store, sorted."""
        return StudyFolder.names(self._files)

    def _labels(self, key: str) -> list[str]:
        return self._files.names(_run(key, "variants"))


def _run(key: str, file: str) -> str:
    return f"runs/{safe_name(key)}/{file}"


def _variant(key: str, label: str, file: str) -> str:
    return _run(key, f"variants/{safe_name(label)}/{file}")


def _reopen(uri: str) -> Store:
    return Store(uri, open_files(uri))
