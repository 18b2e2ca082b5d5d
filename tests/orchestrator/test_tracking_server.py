"""`pare ui`: MLflow's own server on a store's database."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import psutil
import pytest

from orchestrator.errors import ServiceMissing, StoreProblem
from orchestrator.tracking_server import DATABASE, free_port, tracking_server


def test_a_store_without_tracking_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(StoreProblem, match="pare sync"), tracking_server(tmp_path):
        pass


def test_two_free_ports_can_be_asked_for() -> None:
    assert all(1024 < free_port() < 65536 for _ in range(2))


@pytest.mark.service
def test_the_server_answers_with_few_processes_and_leaves_none_behind(tmp_path: Path) -> None:
    (tmp_path / DATABASE).touch()  # an empty file is an empty SQLite database
    with tracking_server(tmp_path) as (address, process):
        with urllib.request.urlopen(address, timeout=10) as page:
            assert page.status == 200
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        assert len(family) <= 3
        assert address.startswith("http://127.0.0.1:")
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


@pytest.mark.slow
def test_a_server_that_cannot_start_is_missing_with_the_reason_in_its_log(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_text("no database at all, but long enough to be read as the header of one" * 30)
    with (
        pytest.raises(ServiceMissing, match=r"MLflow's server ended .*\(log: .*mlflow-server.log\)"),
        tracking_server(tmp_path),
    ):
        pass
