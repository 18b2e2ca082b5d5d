"""What a watcher of a study sees."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from orchestrator.progress import CellProgress, PlainProgress, RichProgress, SilentProgress, duration, watching


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def progress(done: int, *, method: str = "dense") -> CellProgress:
    best = {0.1: 0.93, 0.05: None, 0.25: 0.95}
    return CellProgress("digits", method, done, 8, stopped_early=1, failed=2, running=3, best=best)


def test_a_plain_line_tells_all_that_is_known_of_a_cell() -> None:
    stream = io.StringIO()
    watcher = PlainProgress(stream)
    watcher.phase("search")
    watcher.seconds_left(75.0)
    watcher.cell_progress(progress(5))
    assert stream.getvalue().splitlines() == [
        "== search",
        "search digits/dense: 5/8 runs, 1 stopped early, 2 failed, 3 running; "
        "best 0.9300 at 0.1x, 0.9500 at 0.25x, 1 min 15 s left",
    ]


def test_plain_lines_are_few_but_never_lack_the_last() -> None:
    stream, clock = io.StringIO(), Clock()
    watcher = PlainProgress(stream, every_seconds=5, clock=clock)
    watcher.phase("search")
    for done in range(9):
        clock.now += 1
        watcher.cell_progress(progress(done))
        watcher.cell_progress(progress(done))
    shown = [line.split(": ")[1].split(" ")[0] for line in stream.getvalue().splitlines()[1:]]
    assert shown == ["1/8", "6/8", "8/8"]


def test_each_cell_has_its_own_pace_and_each_phase_begins_anew() -> None:
    stream = io.StringIO()
    watcher = PlainProgress(stream, clock=Clock())
    watcher.phase("search")
    watcher.cell_progress(progress(1))
    watcher.cell_progress(progress(1, method="magnitude"))
    watcher.phase("confirm")
    watcher.cell_progress(progress(1))
    starts = [line.split(":")[0] for line in stream.getvalue().splitlines()]
    assert starts == [
        "== search",
        "search digits/dense",
        "search digits/magnitude",
        "== confirm",
        "confirm digits/dense",
    ]


def test_the_live_table_has_a_row_per_cell_and_a_column_per_size_budget() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    watcher = RichProgress(console)
    try:
        watcher.phase("search")
        watcher.seconds_left(4000)
        watcher.cell_progress(progress(5))
        watcher.cell_progress(progress(6))
        watcher.message("[bold]a run failed")
        shown = Console(width=120, file=io.StringIO())
        with shown.capture() as captured:
            shown.print(watcher.table())
    finally:
        watcher.close()
    lines = captured.get().splitlines()
    assert "search" in lines[0]
    assert "1 h 06 min left" in lines[0]
    assert [heading in lines[1] for heading in ("best at 0.05x", "best at 0.1x", "best at 0.25x")] == [True] * 3
    assert lines[2].split() == ["digits", "dense", "6/8", "3", "1", "2", "-", "0.9300", "0.9500"]
    assert len(lines) == 3
    assert "[bold]a run failed" in console.file.getvalue()  # type: ignore[attr-defined]


def test_output_that_is_no_terminal_gets_plain_lines() -> None:
    stream = io.StringIO()
    with watching(stream) as watcher:
        assert isinstance(watcher, PlainProgress)
        watcher.message("hello")
    assert stream.getvalue() == "hello\n"


def test_a_watcher_may_be_closed_twice() -> None:
    for watcher in (SilentProgress(), PlainProgress(io.StringIO()), RichProgress(Console(file=io.StringIO()))):
        watcher.close()
        watcher.close()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3599.7, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_durations_are_short(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
