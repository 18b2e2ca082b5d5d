"""A study as a user runs it, on a local cluster: stopped, resumed, robbed of a worker. Nothing lost, nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from orchestrator.store import Store
from tests.integration.studies import study_text

pytestmark = pytest.mark.service

NAME = "small"
_PARE = """
import signal
from orchestrator.cli import main

# A test run in the background of a script inherits that Ctrl-C is ignored; a user's terminal does not.
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


def _pare(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`pare ...` in a process group of its own, as a shell would start it."""
    return subprocess.Popen(
        [sys.executable, "-c", _PARE, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )


def _finished(folder: Path) -> dict[str, float]:
    """Key -> time of writing of every stored result."""
    return {path.parent.name: path.stat().st_mtime for path in (folder / "store" / "runs").glob("*/outcome.json")}


def _wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            raise AssertionError(f"pare ended with {process.returncode}: {process.communicate()[0]}")
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def _busy_workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Actors that are training: Ray writes what a worker does into its command line."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):
            if child.cmdline()[:1] == ["ray::_Worker.run"]:
                found.append(child)
    return found


def _write_study(folder: Path) -> Path:
    path = folder / "small.yaml"
    path.write_text(study_text(folder / "store", name=NAME, executor="ray", tracking="none"))
    return path


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_study_goes_on_where_it_was(how: signal.Signals, tmp_path: Path) -> None:
    study = _write_study(tmp_path)
    process = _pare(tmp_path, "run", str(study))
    _wait_until(lambda: len(_finished(tmp_path)) >= 3, process)
    process.send_signal(how)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "resume" in output
    before = _finished(tmp_path)
    assert before

    again = _pare(tmp_path, "resume", NAME, "--store", "store")
    output, _ = again.communicate(timeout=200)
    assert again.returncode == 0, output
    after = _finished(tmp_path)
    assert {key: after[key] for key in before} == before, "a finished run was run again"
    records = Store.open(str(tmp_path / "store")).study(NAME).records()
    assert max(Counter(record.id for record in records).values()) == 1
    assert {record.status for record in records} == {"finished"}
    assert sum(record.phase == "search" for record in records) == 7
    assert (tmp_path / "store" / "studies" / NAME / "report.html").exists()


def test_a_study_outlives_its_workers(tmp_path: Path) -> None:
    process = _pare(tmp_path, "run", str(_write_study(tmp_path)))
    for finished in (1, 3):

        def kill_one(wanted: int = finished) -> bool:
            # Found and killed in one go: a moment later the worker may be between two runs.
            busy = _busy_workers(process) if len(_finished(tmp_path)) >= wanted else []
            for worker in busy[:1]:
                with suppress(psutil.Error):
                    worker.send_signal(signal.SIGKILL)
                    return True
            return False

        _wait_until(kill_one, process)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    store = Store.open(str(tmp_path / "store"))
    failures = [failure for run in (tmp_path / "store" / "runs").iterdir() for failure in store.failures(run.name)]
    assert {failure.kind for failure in failures} == {"worker_died"}
    assert all(record.status == "finished" for record in store.study(NAME).records())
