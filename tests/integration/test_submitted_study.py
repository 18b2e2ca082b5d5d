"""A study sent to a real cluster with a token: sent once, watched, stopped and gone on with, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.store import Store
from tests.integration.cluster import Cluster, ray_cluster

pytestmark = pytest.mark.service

STUDY = """study: {name}
tasks: {{digits: {{data: digits, network: small_cnn, epochs: {epochs}, fraction: 0.1}}}}
methods: {{dense: {{search: none}}, magnitude: {{search: {{pruning_rate: [0.8, 0.95]}}}}}}
seeds: [0, 1]
search: {{trials: 2, confirm: 1, early_stopping: none, sampler: random}}
tracking: none
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ray_cluster() as running:
        yield running


Pare = Callable[..., Result]


@pytest.fixture
def pare(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Pare:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)

    def call(*words: object) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words])

    return call


def _git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with a short and a long study."""
    root = tmp_path / "tree"
    root.mkdir()
    _git(root, "init", "-q")
    (root / "short.yaml").write_text(STUDY.format(name="short", epochs=2))
    (root / "long.yaml").write_text(STUDY.format(name="long", epochs=4000))
    _git(root, "add", "-A")
    _git(root, "commit", "-qm", "studies")
    return root


def test_a_study_is_sent_watched_and_found_again(pare: Pare, tree: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    sent = pare("submit", tree / "short.yaml", "--store", store)
    assert sent.exit_code == 0, sent.output
    job = sent.stdout.partition(":")[0]
    assert f"{job}: submitted to http://127.0.0.1" in sent.stdout
    again = json.loads(pare("submit", tree / "short.yaml", "--store", store, "--json").stdout)
    assert (again["id"], again["new"]) == (job, False)
    waited = pare("wait", "short", "--json")
    assert waited.exit_code == 0, pare("logs", job).output
    ended = json.loads(waited.stdout)
    assert (ended["status"], ended["study"], ended["exit_code"]) == ("succeeded", "short", 0)
    assert len(ended["version"]) == 12
    logs = pare("logs", "short", "--follow")
    assert "short: finished after" in logs.stdout, logs.output
    assert "short: finished after" in pare("logs", job).stdout
    status = pare("status", "short", "--store", store)
    assert status.exit_code == 0
    assert f"job {job}: succeeded" in status.output
    records = Store.open(str(store)).study("short").records()
    assert {record.status for record in records} == {"finished"}
    assert (
        f"{job}: was submitted before and is succeeded" in pare("submit", tree / "short.yaml", "--store", store).stdout
    )
    assert "has succeeded already" in pare("cancel", job).stdout


def test_a_cancelled_study_keeps_what_is_finished_and_goes_on_when_sent_again(
    pare: Pare, tree: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    first = json.loads(pare("submit", tree / "long.yaml", "--store", store, "--json").stdout)
    deadline = time.monotonic() + 90
    while not (store / "runs").is_dir() and time.monotonic() < deadline:
        time.sleep(0.2)
    over = pare("wait", "long", "--timeout", 0)
    assert over.exit_code == 124
    assert "asked to stop" in pare("cancel", "long").stdout
    ended = pare("wait", first["id"], "--timeout", 60)
    assert (ended.exit_code, "stopped" in ended.stdout) == (130, True), ended.output
    assert "interrupted; finished runs are kept" in pare("logs", first["id"]).stdout
    folder = Store.open(str(store)).study("long")
    assert folder.read_test() is None
    with folder.lock("another"):
        pass  # nobody holds it any more
    second = json.loads(pare("submit", tree / "long.yaml", "--store", store, "--json").stdout)
    assert second["new"]
    assert second["id"] == first["id"].replace(".1", ".2")
    pare("cancel", second["id"])
    assert pare("wait", second["id"], "--timeout", 60).exit_code == 130


def test_what_cannot_be_sent_is_refused_with_its_mend(pare: Pare, tree: Path, tmp_path: Path) -> None:
    shared = tmp_path / "store"
    nowhere = pare("submit", tree / "short.yaml")
    assert (nowhere.exit_code, "a folder of its own on each node" in nowhere.output) == (2, True)
    (tree / "new.txt").write_text("x")
    dirty = pare("submit", tree / "short.yaml", "--store", shared)
    assert (dirty.exit_code, "new.txt is not as in the last commit" in dirty.output) == (2, True)
    (tree / "new.txt").write_bytes(b"x" * 2_000_000)
    large = pare("submit", tree / "short.yaml", "--store", shared, "--dirty", "--most-megabytes", 1)
    assert (large.exit_code, "new.txt (2.0 MB)" in large.output) == (2, True)
    (tmp_path / "bare.yaml").write_text(STUDY.format(name="bare", epochs=2))
    bare = pare("submit", tmp_path / "bare.yaml", "--store", shared)
    assert (bare.exit_code, "--no-tree" in bare.output) == (2, True)
    assert pare("logs", "nobody").exit_code == 4
    # In a process of its own, as Ray reads the token once.
    environment = os.environ | {"RAY_AUTH_TOKEN": "wrong-token-wrong-token-wrong-token"}
    command = [sys.executable, "-m", "orchestrator", "logs", "nobody"]
    stranger = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (stranger.returncode, "have its token" in stranger.stderr) == (5, True), stranger.stderr
    gone = pare("submit", tree / "short.yaml", "--store", shared, "--dirty", "--address", "http://127.0.0.1:9")
    assert (gone.exit_code, "no cluster answers at http://127.0.0.1:9" in gone.output) == (5, True)


def test_without_the_cluster_the_store_answers(pare: Pare, tree: Path, tmp_path: Path) -> None:
    del tree
    store = Store.open(str(tmp_path / "store"))
    store.study("short").put_spec(STUDY.format(name="short", epochs=2))
    status = pare("status", "short", "--store", store.uri, "--address", "http://127.0.0.1:9")
    assert status.exit_code == 0
    assert "from the store alone" in status.output
    assert "digits" in status.output
