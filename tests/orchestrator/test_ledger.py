"""The ledger keeps what ended how and what it cost; what finished stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import StoreProblem
from orchestrator.ledger import Ledger
from orchestrator.runs import Record
from orchestrator.store import Store
from orchestrator.store.study_folder import StudyFolder
from tests.fakes import a_run


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return Store.open(str(tmp_path)).study("small")


def _record(trial: int = 0, **changes: Any) -> Record:
    fields: dict[str, Any] = {"status": "finished", "device_seconds": 2.0, "phase": "search"}
    run = a_run()
    return Record(
        study="small", task_name="digits", method="magnitude", trial=trial, seed=0, run=run, **(fields | changes)
    )


def test_a_finished_line_stays_whatever_comes_later(folder: StudyFolder) -> None:
    ledger = Ledger(folder)
    first = ledger.add(_record())
    assert ledger.add(_record(status="failed", reason="late")) == first
    assert ledger.add(_record(cached=True, device_seconds=0.0)) == first
    assert folder.records() == [first]
    assert ledger.device_seconds == 2.0


def test_a_failed_line_gives_way_and_its_cost_stays(folder: StudyFolder) -> None:
    ledger = Ledger(folder)
    ledger.add(_record(status="failed", reason="ValueError: no"))
    ledger.add(_record(device_seconds=3.0))
    [line] = folder.records()
    assert (line.status, line.reason, line.device_seconds) == ("finished", "", 5.0)
    assert ledger.device_seconds == 5.0
    assert ledger.counts("search", "digits/magnitude") == {"finished": 1, "failed": 0}


def test_a_new_ledger_of_the_same_study_has_the_same_totals(folder: StudyFolder) -> None:
    ledger = Ledger(folder)
    for trial in range(4):
        ledger.add(_record(trial, device_seconds=float(trial)))
    ledger.add(_record(4, status="stopped_early", device_seconds=1.0))
    ledger.add(_record(5, status="failed", device_seconds=1.0))
    ledger.add(_record(1, phase="confirm", cached=True, device_seconds=0.0))
    again = Ledger(folder)
    for one in (ledger, again):
        assert len(one) == 7
        assert one.device_seconds == 8.0
        assert one.counts("search", "digits/magnitude") == {"finished": 4, "stopped_early": 1, "failed": 1}
        assert one.counts("confirm", "digits/magnitude").total() == 1
        assert one.counts("search", "digits/dense").total() == 0
    assert sorted(again.records, key=lambda r: r.id) == sorted(ledger.records, key=lambda r: r.id)


def test_the_mean_time_is_that_of_finished_runs_that_were_paid_for(folder: StudyFolder) -> None:
    ledger = Ledger(folder)
    assert ledger.mean_run_seconds == 0.0
    ledger.add(_record(0, device_seconds=2.0))
    ledger.add(_record(1, device_seconds=4.0))
    ledger.add(_record(2, device_seconds=0.0, cached=True))
    ledger.add(_record(3, device_seconds=90.0, status="failed"))
    assert ledger.mean_run_seconds == 3.0


def test_a_line_that_cannot_be_written_does_not_count(folder: StudyFolder, tmp_path: Path) -> None:
    ledger = Ledger(folder)
    ledger.add(_record())
    (tmp_path / "studies" / "small" / "records").rename(tmp_path / "away")
    (tmp_path / "studies" / "small" / "records").write_text("in the way")
    with pytest.raises(StoreProblem):
        ledger.add(_record(1))
    assert len(ledger) == 1
    assert ledger.device_seconds == 2.0
