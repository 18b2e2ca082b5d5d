"""What a coordinator and its workers exchange: work, reports, endings. Crosses process borders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from orchestrator.runs import Failure, Run, RunResult

if TYPE_CHECKING:
    from methods.tasks import TaskData


@dataclass(frozen=True)
class Work:
    """One piece of work for one worker."""

    run: Run
    kind: Literal["fit", "test", "latency"] = "fit"
    """`fit` trains and grades; `test` opens the locked split for a finished run; `latency` times its networks."""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.run.key}"


@dataclass(frozen=True)
class Report:
    """How far a running fit is."""

    key: str
    progress: float
    accuracy: float
    size: float


@dataclass(frozen=True)
class Completion:
    """How a piece of work ended."""

    work: Work
    status: Literal["finished", "stopped_early", "failed"]
    seconds: float
    """Time on the worker."""
    result: RunResult | None = None
    """Of a finished fit."""
    measured: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Of a finished test or latency measurement: variant -> name -> value."""
    failure: Failure | None = None
    last_report: Report | None = None
    """Of a fit that was stopped early."""


Judge = Callable[[Report], bool]
"""Hears every report; True asks the run to stop."""


@dataclass(frozen=True)
class WorkerSettings:
    """All that a worker needs to know besides its work; crosses process borders."""

    store_uri: str
    device: str = "cpu"
    threads: int = 1
    checkpoint_seconds: float = 30.0
    """Least time between two checkpoints of a run; 0 writes every one a method offers."""


Execute = Callable[[Work, "TaskData", WorkerSettings, Judge], Completion]
"""What a worker does with its work; `orchestrator.execution.execute` unless a test or benchmark says otherwise."""
