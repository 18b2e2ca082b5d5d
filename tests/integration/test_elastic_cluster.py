"""A study on a real cluster whose nodes come and go: none at first, one, another that joins late and is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from orchestrator.store import Store
from tests.integration.cluster import Cluster, end, ray_cluster

pytestmark = pytest.mark.service

STUDY = """study: elastic
tasks: {digits: {data: digits, network: small_cnn, epochs: 120, fraction: 0.5}}
methods:
  dense: {search: none}
  magnitude: {search: {pruning_rate: {options: [0.8, 0.82, 0.84, 0.86, 0.9, 0.95]}}}
seeds: [0, 1]
search: {trials: 6, confirm: all, early_stopping: none, sampler: random}
resources: {cpus: 1}
executor: ray
tracking: none
"""
_PATIENCE_SECONDS = 120.0


def _until(what: str, holds: Callable[[], bool], *, seconds: float = _PATIENCE_SECONDS) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s: {what}"
        time.sleep(0.2)
    return time.monotonic() - began


def _workers(node: subprocess.Popen[bytes], *, busy: bool = False) -> int:
    """Workers of ours on a node; those that train alone with `busy`."""
    found = 0
    for child in psutil.Process(node.pid).children(recursive=True):
        try:
            name = (child.cmdline() or [""])[0]
        except psutil.Error:
            continue
        found += name == "ray::_Worker.run" if busy else name.startswith("ray::_Worker")
    return found


def _run(cluster: Cluster, study: Path, store: Path, said: Path) -> subprocess.Popen[bytes]:
    with said.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "run", str(study), "--store", str(store)],
            env=os.environ | cluster.environment | {"RAY_ADDRESS": cluster.gcs},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def test_nodes_that_join_are_used_and_one_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    study, place, said = tmp_path / "elastic.yaml", tmp_path / "store", tmp_path / "said.txt"
    study.write_text(STUDY)
    with ray_cluster(cpus=0) as cluster:
        run = _run(cluster, study, place, said)
        try:
            _until("it says why nothing runs", lambda: "no node has as much" in said.read_text())
            first = cluster.join(cpus=1)
            _until("a worker on the first node", lambda: _workers(first) == 1)
            store = Store.open(str(place))
            _until("a first result", lambda: bool(store.finished_keys()))
            second = cluster.join(cpus=2)
            _until("workers on the node that joined late", lambda: _workers(second) == 2, seconds=60)
            _until("both of them train", lambda: _workers(second, busy=True) == 2, seconds=60)
            before = set(store.finished_keys())
            end(second, with_signal=signal.SIGKILL)
            assert run.wait(300) == 0, said.read_text()
        finally:
            run.kill()
            run.wait(10)
    records = store.study("elastic").records()
    assert {record.status for record in records} == {"finished"}
    assert len(records) == len({record.id for record in records}) == 7 + 14
    assert before <= set(store.finished_keys())
    assert store.study("elastic").read_test() is not None
    died = [failure for record in records for failure in store.failures(record.run.key)]
    assert {failure.kind for failure in died} == {"worker_died"}
    assert 1 <= len(died) <= 3
