"""Real services for tests, on loopback and free ports: PostgreSQL, and an endpoint that speaks S3."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.tracking_server import free_port

_START_SECONDS = 60.0


@dataclass
class Postgres:
    """A server that trusts everybody on loopback."""

    port: int
    folder: Path
    binaries: Path
    user: str | None
    """Of the system, which the server runs as; None: ours."""

    def database(self, name: str) -> str:
        """A new database; its URL."""
        self.run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "tester", name)
        return f"postgresql://tester@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c fsync=off"
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-o", options, "-l", f"{self.folder}/log", "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-m", "fast", "-w", "stop")

    def run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [str(self.binaries / program), *words],
            user=self.user,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=_START_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server of its own with an empty cluster of databases; the test is skipped where none is installed."""
    binaries = _postgres_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server: apt install postgresql")
    # As root the server refuses to run.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    if user:
        shutil.chown(folder, user)
    server = Postgres(free_port(), folder, binaries, user)
    try:
        server.run("initdb", "-D", f"{folder}/data", "-U", "tester", "--auth=trust", "--no-sync")
        server.start()
        try:
            yield server
        finally:
            with suppress(AssertionError):  # a test may have stopped it
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_binaries() -> Path | None:
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).resolve().parent
    # Debian keeps them out of the path.
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@contextmanager
def s3_endpoint() -> Iterator[str]:
    """The address of an S3 emulator."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            assert process.poll() is None, "the S3 emulator ended by itself: pip install 'moto[server]'"
            with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{address}/moto-api/", timeout=2):
                break
            assert time.monotonic() < deadline, "the S3 emulator does not answer"
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(10)
