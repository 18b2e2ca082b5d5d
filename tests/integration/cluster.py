"""A Ray cluster of processes of its own, with a token, on free ports of loopback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.tracking_server import free_port

_START_SECONDS = 90.0
_TOKEN = Path.home() / ".ray" / "auth_token"


@dataclass
class Cluster:
    """Its head; further nodes may join."""

    address: str
    """Of the job API."""
    gcs: str
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs."""
        return {
            "RAY_AUTH_MODE": "token",
            "RAY_API_SERVER_ADDRESS": self.address,
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def join(self, *, cpus: int) -> subprocess.Popen[bytes]:
        """A further node; kill its group to lose it."""
        node = _ray(self, f"--address={self.gcs}", f"--num-cpus={cpus}")
        self.nodes.append(node)
        return node


@contextmanager
def ray_cluster(*, cpus: int = 2) -> Iterator[Cluster]:
    """A head that answers, ended on leaving."""
    port, dashboard = free_port(), free_port()
    _require_token()
    cluster = Cluster(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{port}")
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # sockets' paths must be short
    head = _ray(
        cluster,
        *("--head", "--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={folder}", f"--num-cpus={cpus}"),
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", "--object-store-memory=200000000"),
        *(f"--dashboard-agent-listen-port={free_port()}", f"--ray-client-server-port={free_port()}"),
    )
    cluster.nodes.append(head)
    try:
        _until_it_answers(cluster, head)
        yield cluster
    finally:
        for node in reversed(cluster.nodes):
            end(node)
        shutil.rmtree(folder, ignore_errors=True)


def end(node: subprocess.Popen[bytes], *, with_signal: int = signal.SIGTERM) -> None:
    """End a node and everything it started."""
    with suppress(ProcessLookupError):
        os.killpg(node.pid, with_signal)
    with suppress(subprocess.TimeoutExpired):
        node.wait(5)
    with suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGKILL)
    node.wait(10)


def _require_token() -> None:
    """The user's own, made if need be: Ray reads it once in each process, so all clusters of the tests share it."""
    if not _TOKEN.is_file():
        subprocess.run([_program(), "get-auth-token", "--generate"], check=True, capture_output=True)
        _TOKEN.chmod(0o600)


def _program() -> str:
    return str(Path(sys.executable).with_name("ray"))


def _ray(cluster: Cluster, *words: str) -> subprocess.Popen[bytes]:
    environment = os.environ | cluster.environment | {"PAREDOWN_PYTHON": sys.executable}
    environment.pop("RAY_ADDRESS", None)
    return subprocess.Popen(
        [_program(), "start", "--block", "--disable-usage-stats", *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _until_it_answers(cluster: Cluster, head: subprocess.Popen[bytes]) -> None:
    headers = {"Authorization": f"Bearer {_TOKEN.read_text().strip()}"}
    request = urllib.request.Request(f"{cluster.address}/api/version", headers=headers)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert head.poll() is None, "the head ended by itself"
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(request, timeout=2):
            return
        time.sleep(0.3)
    raise AssertionError(f"no answer from {cluster.address} within {_START_SECONDS:g} s")
