"""What `pare doctor` finds on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.doctor import Check, examine


def named(checks: Sequence[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_the_doctor_speaks_json_and_changes_nothing(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--json", "--store", str(tmp_path / "new" / "store")])
    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert result.exit_code == (5 if any(check["status"] == "fail" for check in checks.values()) else 0)
    assert {"python", "packages", "memory", "processors", "bfloat16", "devices", "store", "tracking", "ray"} <= set(
        checks
    )
    assert "torch" in checks["packages"]["found"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_comes_with_its_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0123")
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    (tmp_path / "file").write_text("")
    checks = examine(store=str(tmp_path / "file" / "store"), tracking="http://127.0.0.1:9")
    assert named(checks, "store").status == "fail"
    assert named(checks, "tracking").status == "warn"
    assert "pare sync" in named(checks, "tracking").mend
    assert named(checks, "MLFLOW_RUN_ID").mend == "unset it"
    assert named(checks, "RAY_ADDRESS").status == "warn"
    assert all(check.mend for check in checks if check.status != "ok")


def test_a_finding_is_a_line_and_its_mend_the_next(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--store", str(tmp_path), "--tracking", "sqlite:////nowhere/at/all.db"])
    lines = result.stdout.splitlines()
    at = lines.index("fail tracking: /nowhere/at is no writable folder")
    assert lines[at + 1] == "       mend: create it or give another file"
    assert result.exit_code == 5
