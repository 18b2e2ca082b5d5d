"""Work for a service that may be away: done in order by a thread of its own, kept while the service is gone."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Service = TypeVar("Service")


class Backlog(Generic[Service]):
    """A queue of operations on a service, none of whose errors ever reaches the caller.

    When connecting fails, the service is away: operations wait and are tried again later. An operation that fails
    twice on a service that does answer is at fault itself: it is dropped and remembered in `problem`.

    Args:
        connect: Makes the service; called in the thread, again after every error.
        retry_seconds: Pause between two attempts to connect.
    """

    def __init__(self, connect: Callable[[], Service], *, retry_seconds: float = 15.0) -> None:
        self._connect = connect
        self._retry_seconds = retry_seconds
        self._changed = threading.Condition()
        self._waiting: deque[tuple[str, Callable[[Service], None]]] = deque()
        self._done = 0
        self._failed_connections = 0
        self._away = ""
        self._dropped = ""
        self._hurry = False
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def problem(self) -> str | None:
        """Why the service does not hold all it was given; None when it does, or soon will."""
        with self._changed:
            if self._waiting and (self._away or self._closed):
                return f"{self._away or 'it did not answer in time'}; entries that wait: {len(self._waiting)}"
            return self._dropped or None

    def add(self, what: str, operation: Callable[[Service], None]) -> None:
        """Append an operation; returns at once. `what` names it in an error."""
        with self._changed:
            self._waiting.append((what, operation))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="backlog", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def drain(self, *, patience_seconds: float = 60.0) -> bool:
        """Wait until all is done.

        Returns:
            False when the service is away or nothing got done for `patience_seconds`; what is left stays queued.
        """
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            while self._waiting:
                before = self._done, self._failed_connections
                moved = self._changed.wait_for(
                    lambda: (self._done, self._failed_connections) != before,  # noqa: B023 - used at once
                    timeout=patience_seconds,
                )
                if not moved or self._failed_connections != before[1]:
                    return False
            return True

    def close(self) -> None:
        """End the thread after the operation it is in; what waits is not done any more, and `problem` says so."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _work(self) -> None:
        service: Service | None = None
        tried_before = False
        while (entry := self._next()) is not None:
            what, operation = entry
            # An outside service fails in too many ways to name them (its own errors, those of its database, of the
            # network, of the disk), and none of them may end a study that has trained for hours.
            try:
                if service is None:
                    service = self._connect()
            except Exception as error:
                self._wait_for_service(error)
                tried_before = False
                continue
            try:
                operation(service)
            except Exception as error:
                service = None
                if not tried_before:
                    # Perhaps only the connection broke: once more on a new one.
                    tried_before = True
                    continue
                self._dropped = f"{what}: {_first_line(error)}"
            tried_before = False
            self._finish_one()

    def _next(self) -> tuple[str, Callable[[Service], None]] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return None if self._closed else self._waiting[0]

    def _finish_one(self) -> None:
        with self._changed:
            self._waiting.popleft()
            self._away = ""
            self._done += 1
            self._changed.notify_all()

    def _wait_for_service(self, error: Exception) -> None:
        with self._changed:
            self._away = _first_line(error)
            self._failed_connections += 1
            self._hurry = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._hurry or self._closed, timeout=self._retry_seconds)
            self._hurry = False


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
