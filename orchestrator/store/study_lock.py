"""The lock of a study: a file that says which process coordinates it.

A lock whose owner died on this machine is taken over at once; one from another machine when its heartbeat is two
minutes old, so machines that share a store must agree on the time to within a minute.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import psutil
from pydantic import BaseModel, ConfigDict

from orchestrator.errors import StoreLocked, StoreProblem
from orchestrator.store.files import Files, LocalFiles
from orchestrator.store.stored_json import decode_json, encode_json

HEARTBEAT_SECONDS = 20.0
STALE_SECONDS = 120.0


class LockOwner(BaseModel):
    """What the lock file says of the process that holds it."""

    model_config = ConfigDict(frozen=True)

    token: str
    """Tells two owners with the same process id apart."""
    owner: str
    host: str
    pid: int
    process_started: float
    """When the process began (Unix seconds): process ids are used again."""
    since: str
    """UTC, ISO 8601."""
    heartbeat: float
    """Unix seconds of the last sign of life."""

    def is_alive(self) -> bool:
        """Whether the owner may still be at work, as far as can be told from here."""
        if self.host != socket.gethostname():
            return time.time() - self.heartbeat < STALE_SECONDS
        try:
            process = psutil.Process(self.pid)
            return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - self.process_started) < 1.0
        except psutil.NoSuchProcess:
            return False


class StudyLock:
    """A held lock; a thread of its own keeps the heartbeat."""

    def __init__(self, files: Files, path: str, me: LockOwner) -> None:
        self._files = files
        self._path = path
        self._me = me
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lock-{me.pid}", daemon=True)
        self._thread.start()

    def touch(self) -> None:
        """Show a sign of life now.

        Raises:
            StoreLocked: Another coordinator has taken the study over meanwhile: stop at once.
        """
        with _alone(self._files, self._path):
            holder = _read(self._files, self._path)
            if holder is None or holder.token != self._me.token:
                raise StoreLocked(
                    f"{self._files.place(self._path)}: this study was taken over by "
                    f"{_named(holder) if holder else 'someone who deleted the lock'} "
                    "after this coordinator showed no life for two minutes; this one must stop"
                )
            self._files.put(self._path, encode_json(self._me.model_copy(update={"heartbeat": time.time()})))

    def release(self) -> None:
        """Give the study free, unless another has taken it over."""
        self._released.set()
        self._thread.join()
        with _alone(self._files, self._path):
            holder = _read(self._files, self._path)
            if holder is not None and holder.token == self._me.token:
                self._files.delete(self._path)

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT_SECONDS):
            try:
                self.touch()
            except StoreLocked:
                return  # the coordinator's own touch() will raise
            except StoreProblem:
                continue  # a store out of reach now may be back before the heartbeat is stale


@contextmanager
def held_lock(files: Files, path: str, *, study: str, owner: str) -> Iterator[StudyLock]:
    """Hold the lock at `path` while inside; released however the block ends.

    Raises:
        StoreLocked: A living owner has it.
    """
    me = LockOwner(
        token=uuid.uuid4().hex,
        owner=owner,
        host=socket.gethostname(),
        pid=os.getpid(),
        process_started=psutil.Process().create_time(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        heartbeat=time.time(),
    )
    with _alone(files, path):
        if not files.put_new(path, encode_json(me)):
            holder = _read(files, path)
            if holder is not None and holder.is_alive():
                raise StoreLocked(
                    f"study '{study}' is being run by {_named(holder)}; "
                    f"wait for it or stop that process. If it is surely gone, delete {files.place(path)}"
                )
            files.put(path, encode_json(me))
    lock = StudyLock(files, path, me)
    try:
        yield lock
    finally:
        lock.release()


def _named(holder: LockOwner) -> str:
    return f"'{holder.owner}' (process {holder.pid} on {holder.host}, since {holder.since})"


def _read(files: Files, path: str) -> LockOwner | None:
    data = files.read(path)
    return None if data is None else decode_json(LockOwner, data, files.place(path))


@contextmanager
def _alone(files: Files, path: str) -> Iterator[None]:
    """Look at a lock and change it in one step: no other process of this machine gets in between.

    On file systems that cannot lock (object stores, some network mounts) two processes that take over the same stale
    lock at the same instant may both succeed; the first heartbeat of the one that lost ends it.
    """
    if not isinstance(files, LocalFiles):
        yield
        return
    folder = os.path.dirname(files.place(path))
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StoreProblem(f"{folder}: {error.strerror}; make it writable for this user") from error
    try:
        with suppress(OSError):  # a mount without locks: see above
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
