"""Files of a store: whole files only, written so that nobody ever sees half of one.

On a local disk a file is written under a temporary name in its folder and then linked or renamed, so a killed process
leaves at most a hidden `.part-*` file that no reader looks at. Surviving a power cut is out of scope: nothing is
synced to the disk's platters, which would cost more than a short training. Elsewhere (S3 and the like) one file is one
object, which the service shows only when it is complete.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from orchestrator.errors import StoreFull, StoreProblem

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EROFS, errno.EACCES, errno.EPERM}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}
_PART = ".part-"
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_numbers = count()


class Files(Protocol):
    """A folder of whole files; paths are relative to it and use `/`. Every call raises StoreProblem when it fails."""

    def place(self, path: str) -> str:
        """The file as people would name it, without credentials."""
        ...

    def exists(self, path: str) -> bool: ...

    def read(self, path: str) -> bytes | None:
        """The content, or None when there is no such file."""
        ...

    def read_many(self, paths: Iterable[str]) -> list[bytes | None]: ...

    def put(self, path: str, data: bytes) -> None:
        """Write or replace; missing folders are made. Raises StoreFull when no space is left."""
        ...

    def put_new(self, path: str, data: bytes) -> bool:
        """Write unless it is there; False: it was there and stays as it is. Raises like `put`."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names of the files and folders in a folder, sorted; empty when there is no such folder."""
        ...

    def delete(self, path: str) -> None:
        """Delete one file; nothing happens when it is not there."""
        ...

    def delete_folder(self, folder: str) -> None: ...

    def make(self) -> None:
        """Create the folder itself and find out whether it can be written."""
        ...


def open_files(uri: str) -> Files:
    """The files under a local path or a URI such as `s3://bucket/prefix` (any file system of pyarrow).

    Raises:
        StoreProblem: The URI cannot be understood.
    """
    if "://" not in uri:
        return LocalFiles(Path(uri).expanduser().absolute())
    from pyarrow.fs import FileSystem, LocalFileSystem  # half a second that local stores do not pay for

    try:
        filesystem, root = FileSystem.from_uri(_with_single_puts(_with_endpoint(uri)))
    except (ValueError, OSError) as error:
        raise StoreProblem(
            f"store {shown(uri)}: {error}; give a local folder or a URI such as s3://bucket/prefix"
        ) from error
    if isinstance(filesystem, LocalFileSystem):
        return LocalFiles(Path(root))
    return RemoteFiles(filesystem, root, shown(uri))


def _with_endpoint(uri: str) -> str:
    """An S3 URI at the endpoint that the environment names, as other programs take it; pyarrow does not look there."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint or not uri.startswith("s3://") or "endpoint_override" in uri:
        return uri
    parts = urlsplit(endpoint)
    return f"{uri}{'&' if '?' in uri else '?'}scheme={parts.scheme}&endpoint_override={parts.netloc}"


def _with_single_puts(uri: str) -> str:
    """Have S3 write a small file in one request; pyarrow's default takes three and each costs a round trip."""
    if not uri.startswith("s3://") or "allow_delayed_open" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}allow_delayed_open=true"


def shown(uri: str) -> str:
    """A URI without the credentials and options it may carry; a local path unchanged."""
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def is_safe_name(name: str) -> bool:
    """Whether `safe_name` takes it."""
    return _SAFE_NAME.fullmatch(name) is not None


def safe_name(name: str) -> str:
    """`name` itself, for use as one part of a path.

    Raises:
        ValueError: It holds anything but letters, digits, `_`, `-`, `.`, or starts with `-` or `.`.
    """
    if not is_safe_name(name):
        raise ValueError(f"'{name}' cannot name a file in the store; use letters, digits, `_`, `-` and `.`")
    return name


@contextmanager
def store_problems(place: str) -> Iterator[None]:
    """Turn what the operating system says about one file, inside, into StoreFull or StoreProblem."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise StoreFull(
                f"{place}: {reason}; free some space or move the store to a larger disk, then go on with `pare resume`"
            ) from error
        if error.errno in _DENIED:
            raise StoreProblem(
                f"{place}: {reason}; make it writable for this user or choose another store with --store"
            ) from error
        raise StoreProblem(f"{place}: {reason}; check that the store is reachable") from error


class LocalFiles:
    """Files on a mounted disk. Works on `os` rather than pyarrow.fs, which has no put-if-absent and is slower."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._prefix = f"{root}{os.sep}"

    def place(self, path: str) -> str:
        return self._prefix + path

    def exists(self, path: str) -> bool:
        return os.path.exists(self._prefix + path)

    def read(self, path: str) -> bytes | None:
        final = self._prefix + path
        with store_problems(final):
            try:
                with open(final, "rb", buffering=0) as file:
                    return file.readall()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def read_many(self, paths: Iterable[str]) -> list[bytes | None]:
        return [self.read(path) for path in paths]

    def put(self, path: str, data: bytes) -> None:
        final = self._prefix + path
        with store_problems(final):
            part = _write_part(final, data)
            try:
                os.replace(part, final)
            except OSError:
                os.unlink(part)
                raise

    def put_new(self, path: str, data: bytes) -> bool:
        final = self._prefix + path
        with store_problems(final):
            if os.path.exists(final):
                return False
            part = _write_part(final, data)
            try:
                # A hard link to a name that exists fails, so of two writers one wins and the other hears of it.
                os.link(part, final)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS or os.path.exists(final):
                    raise
                # No hard links here (FAT, some network mounts). Looking first leaves a gap in which two writers may
                # both win; they would write equal results, and a study has one coordinator.
                os.replace(part, final)
                return True
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(part)
            return True

    def names(self, folder: str) -> list[str]:
        place = self._prefix + folder
        with store_problems(place):
            try:
                return sorted(name for name in os.listdir(place) if not name.startswith("."))
            except (FileNotFoundError, NotADirectoryError):
                return []

    def delete(self, path: str) -> None:
        final = self._prefix + path
        with store_problems(final), suppress(FileNotFoundError):
            os.unlink(final)

    def delete_folder(self, folder: str) -> None:
        place = self._prefix + folder
        with store_problems(place), suppress(FileNotFoundError):
            shutil.rmtree(place)

    def make(self) -> None:
        with store_problems(str(self.root)):
            # Asked by writing, because permissions alone do not show a read-only mount (nor bind the superuser).
            os.unlink(_write_part(self._prefix + "probe", b""))


def _write_part(final: str, data: bytes) -> str:
    """Write `data` beside `final` under a hidden name, making folders when missing; on failure nothing is left."""
    folder, _, name = final.rpartition(os.sep)
    part = f"{folder}{os.sep}{_PART}{os.getpid()}-{next(_numbers)}-{name}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        descriptor = os.open(part, flags, 0o666)
    except FileNotFoundError:
        # Cheaper than looking for the folder each time: most files go where others are.
        os.makedirs(folder, exist_ok=True)
        descriptor = os.open(part, flags, 0o666)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
    except BaseException:
        os.unlink(part)
        raise
    return part


class RemoteFiles:
    """Files on any other file system of pyarrow, S3 above all.

    `put_new` looks and then writes one object: two writers at the same instant may both win. That is enough here, for
    only the coordinator that holds a study's lock writes its records, and equal keys mean equal results.
    """

    _OBJECT_STORES = ("s3", "gcs", "abfs")
    _READERS = 16

    def __init__(self, filesystem: Any, root: str, name: str) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")
        self._name = name.rstrip("/")
        self._whole_objects = filesystem.type_name in self._OBJECT_STORES

    def place(self, path: str) -> str:
        return f"{self._name}/{path}"

    def exists(self, path: str) -> bool:
        with store_problems(self.place(path)):
            return bool(self._filesystem.get_file_info(self._at(path)).is_file)

    def read(self, path: str) -> bytes | None:
        with store_problems(self.place(path)):
            try:
                with self._filesystem.open_input_stream(self._at(path)) as file:
                    data: bytes = file.read()
                    return data
            except FileNotFoundError:
                return None

    def read_many(self, paths: Iterable[str]) -> list[bytes | None]:
        # One request at a time would spend its life waiting: 2,000 records at 20 ms each.
        with ThreadPoolExecutor(self._READERS) as pool:
            return list(pool.map(self.read, paths))

    def put(self, path: str, data: bytes) -> None:
        with store_problems(self.place(path)):
            if self._whole_objects:
                self._write(self._at(path), data)
                return
            folder, _, name = self._at(path).rpartition("/")
            part = f"{folder}/{_PART}{os.getpid()}-{next(_numbers)}-{name}"
            self._filesystem.create_dir(folder, recursive=True)
            try:
                self._write(part, data)
                self._filesystem.move(part, self._at(path))
            except OSError:
                with suppress(FileNotFoundError):
                    self._filesystem.delete_file(part)
                raise

    def put_new(self, path: str, data: bytes) -> bool:
        if self.exists(path):
            return False
        self.put(path, data)
        return True

    def names(self, folder: str) -> list[str]:
        from pyarrow.fs import FileSelector

        with store_problems(self.place(folder)):
            found = self._filesystem.get_file_info(FileSelector(self._at(folder), allow_not_found=True))
        return sorted(info.base_name for info in found if not info.base_name.startswith("."))

    def delete(self, path: str) -> None:
        with store_problems(self.place(path)), suppress(FileNotFoundError):
            self._filesystem.delete_file(self._at(path))

    def delete_folder(self, folder: str) -> None:
        with store_problems(self.place(folder)), suppress(FileNotFoundError):
            self._filesystem.delete_dir(self._at(folder))

    def make(self) -> None:
        probe = f"{_PART}{os.getpid()}"
        self.put(probe, b"probe")
        self.delete(probe)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _write(self, place: str, data: bytes) -> None:
        with self._filesystem.open_output_stream(place) as file:
            file.write(data)
