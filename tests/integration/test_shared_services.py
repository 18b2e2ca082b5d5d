"""A study whose results, trials and tracking lie in services that machines share: S3, PostgreSQL, MLflow's server."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestrator import run_study
from orchestrator.errors import ServiceMissing
from orchestrator.progress import CellProgress, SilentProgress
from orchestrator.search import optuna_parts
from orchestrator.spec import Study
from orchestrator.spec.study_file import parse_study
from orchestrator.store import Store
from orchestrator.tracking_server import free_port
from tests.integration.services import Postgres, postgres, s3_endpoint

pytestmark = pytest.mark.service

STUDY = """study: {name}
tasks: {{digits: {{data: digits, network: small_cnn, epochs: {epochs}, fraction: 0.1}}}}
methods: {{dense: {{search: none}}, magnitude: {{search: {{pruning_rate: [0.8, 0.95]}}}}}}
seeds: [0, 1]
search: {{trials: 3, confirm: 1, early_stopping: none}}
executor: inline
"""


@dataclass(frozen=True)
class Services:
    postgres: Postgres
    search: str
    tracking: str
    tracked: str
    """MLflow's database."""


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with pytest.MonkeyPatch.context() as patch, postgres() as server, s3_endpoint() as endpoint:
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            patch.setenv(name, value)
        _make_bucket("results")
        tracked = server.database("mlflow")
        with _mlflow(tracked) as address:
            yield Services(server, server.database("optuna"), address, tracked)


def _make_bucket(name: str) -> None:
    import boto3

    boto3.client("s3").create_bucket(Bucket=name)


@contextmanager
def _mlflow(database: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", database, "--artifacts-destination", "s3://results/mlflow"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 90
        while True:
            assert process.poll() is None, "MLflow's server ended by itself"
            with suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            assert time.monotonic() < deadline, "MLflow's server does not answer"
            time.sleep(0.3)
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


@pytest.fixture
def shared(services: Services, monkeypatch: pytest.MonkeyPatch) -> Services:
    """With the addresses in the environment, as the nodes of a cluster have them."""
    monkeypatch.setenv("PAREDOWN_STORE", "s3://results/pare")
    monkeypatch.setenv("PAREDOWN_TRACKING", services.tracking)
    monkeypatch.setenv("PAREDOWN_SEARCH", services.search)
    return services


def _study(name: str, *, epochs: int = 2) -> Study:
    return parse_study(STUDY.format(name=name, epochs=epochs), file=f"{name}.yaml")


def test_everything_lies_where_the_environment_says_and_is_found_there_again(
    shared: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = _study("shared")
    assert (study.store, study.tracking, study.search.database) == ("s3://results/pare", shared.tracking, shared.search)
    first = run_study(study)
    assert (first.status, first.failed, first.tracking_problem) == ("finished", 0, "")
    store = Store.open(study.store)
    data = store.study("shared").read_file("results.parquet")
    assert data is not None
    rows = pq.read_table(io.BytesIO(data)).to_pylist()
    assert {row["method"] for row in rows} == {"dense", "magnitude"}
    assert all(row["test_score"] is not None for row in rows if row["phase"] == "confirm")
    assert store.study("shared").read_file("search.journal") is None
    assert list(tmp_path.iterdir()) == [], "nothing lies beside"

    from mlflow import MlflowClient

    client = MlflowClient(shared.tracking)
    experiment = client.get_experiment_by_name("shared")
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'run'")
    assert len(runs) == len(store.study("shared").records())
    (parent,) = client.search_runs([experiment.experiment_id], "tags.kind = 'execution'")
    assert "report.html" in {one.path for one in client.list_artifacts(parent.info.run_id)}
    again = run_study(study)
    assert (again.finished, again.cached) == (0, 0), "a closed study trains nothing"


def test_studies_and_stores_that_share_a_database_do_not_mix(shared: Services, tmp_path: Path) -> None:
    here = _study("mixed").with_changes(store=str(tmp_path / "a"), tracking="none")
    other = here.with_changes(store=str(tmp_path / "b"))
    summaries = [run_study(one) for one in (here, other)]
    assert [summary.status for summary in summaries] == ["finished", "finished"]
    trials = []
    for one in (here, other):
        records = Store.open(one.store).study("mixed").records()
        trials.append(sorted((r.method, r.trial, r.run.key) for r in records if r.phase == "search"))
    assert trials[0] == trials[1], "the same proposals, each store from its own first trial on"
    from sqlalchemy import create_engine, text

    engine = create_engine(shared.search)
    with engine.connect() as connection:
        names = connection.execute(text("select study_name from studies")).scalars().all()
    engine.dispose()
    assert sum(name.endswith("/mixed/digits/magnitude") for name in names) == 2


def test_a_database_that_is_restarted_meanwhile_costs_nothing_but_time(shared: Services, tmp_path: Path) -> None:
    away: list[float] = []

    class Restarting(SilentProgress):
        def cell_progress(self, progress: CellProgress) -> None:
            if progress.done >= 1 and not away:
                away.append(time.monotonic())
                shared.postgres.stop()
                threading.Timer(3.0, shared.postgres.start).start()

    study = _study("restarted", epochs=40).with_changes(store=str(tmp_path / "store"), tracking="none")
    summary = run_study(study, observer=Restarting())
    assert away
    assert (summary.status, summary.failed) == ("finished", 0)
    records = Store.open(study.store).study("restarted").records()
    trials = [record.trial for record in records if (record.phase, record.method) == ("search", "magnitude")]
    assert sorted(trials) == [0, 1, 2]


def test_a_database_that_stays_away_is_told_with_its_mend(
    shared: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna_parts, "_PATIENCE_SECONDS", 1.0)

    class Stopping(SilentProgress):
        stopped = False

        def cell_progress(self, progress: CellProgress) -> None:
            if progress.done >= 1 and not self.stopped:
                self.stopped = True
                shared.postgres.stop()

    study = _study("away", epochs=40).with_changes(store=str(tmp_path / "store"), tracking="none")
    try:
        with pytest.raises(ServiceMissing, match=r"has been away for 1 s.*`pare resume` goes on"):
            run_study(study, observer=Stopping())
    finally:
        shared.postgres.start()
    before = len(Store.open(study.store).finished_keys())
    assert before >= 1
    assert run_study(study).status == "finished"
