"""Work for a service that comes and goes: nothing is lost, nothing is raised, nothing blocks for ever."""

from __future__ import annotations

import threading
import time

from orchestrator.backlog import Backlog


class Service:
    """A list behind a door that can be shut."""

    def __init__(self) -> None:
        self.is_there = True
        self.connections = 0
        self.entries: list[int] = []

    def connect(self) -> list[int]:
        self.connections += 1
        if not self.is_there:
            raise ConnectionError("nobody answers\n(a long explanation)")
        return self.entries


def test_operations_are_done_in_order_in_another_thread() -> None:
    service = Service()
    backlog = Backlog(service.connect)
    threads: list[int] = []
    for number in range(100):
        backlog.add(
            "append", lambda entries, number=number: (entries.append(number), threads.append(threading.get_ident()))
        )
    assert backlog.drain()
    assert service.entries == list(range(100))
    assert set(threads) != {threading.get_ident()}
    assert len(set(threads)) == service.connections == 1
    assert backlog.problem is None
    backlog.close()


def test_service_that_is_away_gets_everything_when_it_is_back() -> None:
    service = Service()
    service.is_there = False
    backlog = Backlog(service.connect, retry_seconds=60)
    for number in range(3):
        backlog.add("append", lambda entries, number=number: entries.append(number))
    assert not backlog.drain()
    assert backlog.problem == "nobody answers; entries that wait: 3"
    service.is_there = True
    assert backlog.drain()
    assert service.entries == [0, 1, 2]
    assert backlog.problem is None
    backlog.close()


def test_service_that_is_back_is_found_without_asking() -> None:
    service = Service()
    service.is_there = False
    backlog = Backlog(service.connect, retry_seconds=0.01)
    backlog.add("append", lambda entries: entries.append(1))
    assert not backlog.drain()
    service.is_there = True
    deadline = time.monotonic() + 5
    while not service.entries and time.monotonic() < deadline:
        time.sleep(0.005)
    assert service.entries == [1]
    backlog.close()


def test_broken_connection_is_made_anew_and_the_operation_done_again() -> None:
    service = Service()
    backlog = Backlog(service.connect)
    attempts: list[int] = []

    def break_once(entries: list[int]) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("reset by peer")
        entries.append(7)

    backlog.add("seven", break_once)
    assert backlog.drain()
    assert service.entries == [7]
    assert service.connections == 2
    assert backlog.problem is None
    backlog.close()


def test_operation_that_cannot_succeed_is_dropped_and_remembered() -> None:
    service = Service()
    backlog = Backlog(service.connect)

    def refuse(_: list[int]) -> None:
        raise ValueError("names may not hold '@'")

    backlog.add("trial 3", refuse)
    backlog.add("append", lambda entries: entries.append(1))
    assert backlog.drain()
    assert service.entries == [1]
    assert backlog.problem == "trial 3: names may not hold '@'"
    backlog.close()


def test_a_service_that_hangs_does_not_hold_up_the_caller() -> None:
    release = threading.Event()
    backlog = Backlog(lambda: None)
    backlog.add("hang", lambda _: release.wait(10))
    start = time.monotonic()
    assert not backlog.drain(patience_seconds=0.1)
    assert time.monotonic() - start < 1
    release.set()
    assert backlog.drain()
    backlog.close()


def test_what_waits_when_it_is_closed_is_counted_as_a_problem() -> None:
    service = Service()
    service.is_there = False
    backlog = Backlog(service.connect, retry_seconds=60)
    backlog.add("append", lambda entries: entries.append(1))
    assert not backlog.drain()
    backlog.close()
    assert backlog.problem == "nobody answers; entries that wait: 1"
    assert service.entries == []
