"""What the coordinator asks of whoever runs work: take some, say what happened, close."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from orchestrator.work import Completion, Judge, Report, Work


def let_all_go_on(report: Report) -> bool:
    """The judge of an executor that nobody gave another."""
    del report
    return False


Tell = Callable[[str], None]
"""Hears in a sentence what a user should know."""


def say_nothing(text: str) -> None:
    """What an executor says to nobody."""
    del text


class Executor(Protocol):
    """A place where work runs. Not thread-safe: one coordinator owns it."""

    judge: Judge
    """Hears every report, in this process, from inside `wait`; its owner may put another in its place."""

    @property
    def slots(self) -> int:
        """How many pieces of work run at a time; on a cluster it may change with every `wait`, but never to 0."""
        ...

    def submit(self, work: Work) -> None:
        """Take a piece of work; returns at once. Never more than `slots` at a time."""
        ...

    def wait(self, timeout_seconds: float) -> list[Completion]:
        """Block until something ended or the time is over."""
        ...

    def close(self) -> None:
        """End all workers and running work; safe to call twice."""
        ...
