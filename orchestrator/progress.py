"""What a running study tells the one who watches: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class CellProgress:
    """How far one cell (task x method) is in the present phase."""

    task: str
    method: str
    """The method's label in the study."""
    done: int
    """Runs that have ended, however they did."""
    total: int
    stopped_early: int = 0
    failed: int = 0
    running: int = 0
    best: Mapping[float, float | None] = field(default_factory=dict)
    """Size budget, as a share of the dense size -> best validation score within it so far; None: nothing so small."""

    @property
    def name(self) -> str:
        return f"{self.task}/{self.method}"


class Observer(Protocol):
    """Hears of a study's progress. Calls are cheap, come from one thread, and never raise."""

    def phase(self, name: str) -> None:
        """A phase begins, e.g. `search`; cells heard of before count from zero again."""
        ...

    def cell_progress(self, progress: CellProgress) -> None: ...

    def seconds_left(self, seconds: float | None) -> None:
        """Estimate until the study's end; None while there is none."""
        ...

    def message(self, text: str) -> None:
        """One sentence that should stay visible, e.g. that a run failed and is tried again."""
        ...

    def close(self) -> None:
        """The study has ended: give the terminal back. May be called again."""
        ...


class SilentProgress:
    """Shows nothing; for tests and notebooks."""

    def phase(self, name: str) -> None:
        del name

    def cell_progress(self, progress: CellProgress) -> None:
        del progress

    def seconds_left(self, seconds: float | None) -> None:
        del seconds

    def message(self, text: str) -> None:
        del text

    def close(self) -> None:
        pass


class PlainProgress:
    """One line whenever a cell has gone on, at most one per cell in `every_seconds`, and always its last."""

    def __init__(
        self, stream: TextIO, *, every_seconds: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._every_seconds = every_seconds
        self._clock = clock
        self._phase = ""
        self._shown: dict[str, tuple[int, float]] = {}
        """Cell -> ended runs at its last line, and when that was."""
        self._seconds_left: float | None = None

    def phase(self, name: str) -> None:
        self._phase = name
        self._seconds_left = None
        self._shown = {}
        self._write(f"== {name}")

    def cell_progress(self, progress: CellProgress) -> None:
        done, at = self._shown.get(progress.name, (0, float("-inf")))
        now = self._clock()
        is_last = progress.done == progress.total
        if progress.done == done or not (is_last or now - at >= self._every_seconds):
            return
        self._shown[progress.name] = progress.done, now
        left = "" if self._seconds_left is None else f", {duration(self._seconds_left)} left"
        self._write(f"{self._phase} {progress.name}: {summary(progress)}{left}")

    def seconds_left(self, seconds: float | None) -> None:
        self._seconds_left = seconds

    def message(self, text: str) -> None:
        self._write(text)

    def close(self) -> None:
        pass

    def _write(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class RichProgress:
    """A table with a row per cell that renews itself; messages scroll above it. Takes the terminal until closed."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._started = clock()
        self._phase = "starting"
        self._cells: dict[str, CellProgress] = {}
        self._seconds_left: float | None = None
        self._live = Live(console=console, refresh_per_second=4, transient=True, get_renderable=self.table)
        self._live.start()

    def phase(self, name: str) -> None:
        self._phase = name
        self._seconds_left = None
        self._cells = {}

    def cell_progress(self, progress: CellProgress) -> None:
        # A new mapping, because the drawing thread may be going through the old one.
        self._cells = self._cells | {progress.name: progress}

    def seconds_left(self, seconds: float | None) -> None:
        self._seconds_left = seconds

    def message(self, text: str) -> None:
        self._console.print(Text(text))

    def close(self) -> None:
        self._live.stop()

    def table(self) -> Group:
        """The table as it stands now."""
        cells = list(self._cells.values())
        budgets = sorted({budget for cell in cells for budget in cell.best})
        table = Table(box=None, pad_edge=False)
        for heading in ("task", "method"):
            table.add_column(heading)
        for heading in ("runs", "now", "stopped", "failed", *(f"best at {budget:.3g}x" for budget in budgets)):
            table.add_column(heading, justify="right")
        for cell in cells:
            best = ["-" if (score := cell.best.get(budget)) is None else f"{score:.4f}" for budget in budgets]
            counts = [str(count or "") for count in (cell.running, cell.stopped_early)]
            failed = Text(str(cell.failed or ""), style="red")
            table.add_row(Text(cell.task), Text(cell.method), f"{cell.done}/{cell.total}", *counts, failed, *best)
        left = "" if self._seconds_left is None else f", about {duration(self._seconds_left)} left"
        elapsed = duration(self._clock() - self._started)
        return Group(Text(f"{self._phase}: {elapsed}{left}", style="bold"), table)


@contextmanager
def watching(stream: TextIO) -> Iterator[Observer]:
    """The observer that suits the stream: a live table on a terminal, plain lines elsewhere."""
    observer: Observer = RichProgress(Console(file=stream)) if stream.isatty() else PlainProgress(stream)
    try:
        yield observer
    finally:
        observer.close()


def summary(progress: CellProgress) -> str:
    """`5/8 runs, 1 stopped early, 2 running; best 0.91 at 0.05x, 0.93 at 0.1x`."""
    parts = [f"{progress.done}/{progress.total} runs"]
    for count, what in (
        (progress.stopped_early, "stopped early"),
        (progress.failed, "failed"),
        (progress.running, "running"),
    ):
        if count:
            parts.append(f"{count} {what}")
    best = [f"{score:.4f} at {budget:.3g}x" for budget, score in sorted(progress.best.items()) if score is not None]
    return ", ".join(parts) + (f"; best {', '.join(best)}" if best else "")


def duration(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
