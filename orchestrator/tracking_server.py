"""Starts MLflow's own server on a store's database, for `pare ui`. It only spawns the server; it imports no MLflow."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator.errors import ServiceMissing, StoreProblem

DATABASE = "mlflow.db"
"""Where `tracking: sqlite` keeps everything, inside the store."""
ARTIFACTS = "mlflow-artifacts"

_HOST = "127.0.0.1"
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def tracking_server(store: Path, *, port: int | None = None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the server while inside.

    Args:
        store: Local store folder with an `mlflow.db`.
        port: None: any free one.

    Yields:
        The address of its page for training runs, answering, and its process.

    Raises:
        StoreProblem: Nothing was tracked in this store.
        ServiceMissing: The server does not start; carries the end of its log.
    """
    database = store.absolute() / DATABASE
    if not database.is_file():
        raise StoreProblem(
            f"{database}: not there, nothing was tracked here; `pare sync NAME --store {store}` fills it"
        )
    port = port or free_port()
    address = f"http://{_HOST}:{port}"
    log = store.absolute() / "mlflow-server.log"
    with log.open("wb") as log_file:
        process = subprocess.Popen(
            _command(database, port),
            env=_environment(),
            stdout=log_file,
            stderr=subprocess.STDOUT,
            # A session of its own: Ctrl-C reaches us alone, and stopping reaches all of its processes.
            start_new_session=True,
        )
    try:
        _wait_until_it_answers(process, address, log)
        # Its pages open for language-model traces unless told otherwise.
        yield f"{address}/#/experiments?workflowType=machine_learning", process
    finally:
        _stop(process)


def _command(database: Path, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", f"sqlite:///{database}"),
        *("--artifacts-destination", str(database.parent / ARTIFACTS)),
        *("--host", _HOST, "--port", str(port)),
        # The default, four workers and a job runner, is 15 processes and slower.
        *("--workers", "1"),
    ]


def _environment() -> dict[str, str]:
    return {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def _wait_until_it_answers(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    # A proxy from the environment has no business between two processes of one machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with direct.open(f"{address}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    ended = "did not answer" if process.poll() is None else f"ended with code {process.returncode}"
    raise ServiceMissing(f"MLflow's server {ended}: {''.join(last) or 'it said nothing'} (log: {log})")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and whatever processes it started."""
    for stop_signal in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, stop_signal)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
