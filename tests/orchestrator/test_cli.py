"""The command `pare`: what it prints, where, and how it exits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from orchestrator.cli import app
from orchestrator.comparison import read_results
from orchestrator.runs import Record, Run
from orchestrator.spec.study_file import parse_study
from orchestrator.store import Store

STUDY = """\
study: tiny
question: Does it run?
tasks:
  iris: {data: iris, network: {name: mlp, widths: [8]}, epochs: 2}
methods:
  dense: {search: none}
  magnitude: {search: {pruning_rate: [0.8, 0.9]}}
seeds: [0, 1]
search: {trials: 2, confirm: 1}
executor: inline
tracking: none
"""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(STUDY)
    return path


def pare(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def started(
    *arguments: str, code: str = "from orchestrator.cli import main; main()"
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with the time it took on stdout of the test."""
    begun = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment)
    print(f"pare {' '.join(arguments)}: {time.monotonic() - begun:.2f} s")
    return ended


def test_help_names_every_command_and_every_exit_code() -> None:
    ended = started("--help")
    assert ended.returncode == 0
    for command in ("validate", "plan", "run", "resume", "status", "report", "export", "sync", "ui", "doctor"):
        assert f"  {command} " in ended.stdout
    for code in ("0 done", "1 the study", "2 wrong", "3 data", "4 store", "5 a package", "130"):
        assert code in " ".join(ended.stdout.split())


def test_validate_needs_no_torch(study_file: Path) -> None:
    code = (
        "import atexit, sys; from orchestrator.cli import main; "
        "atexit.register(lambda: print(sorted({'torch', 'ray', 'optuna', 'mlflow', 'pyarrow'} & set(sys.modules)))); "
        "main()"
    )
    ended = started("validate", str(study_file), code=code)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [f"{study_file}: ok: 2 cells, 3 trials, 2 seeds", "[]"]


def test_validate_shows_the_faults_of_all_files_and_exits_with_2(study_file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(STUDY.replace("epochs: 2", "epochs: 0").replace("[0, 1]", "[0, 0]"))
    result = pare("validate", study_file, bad, tmp_path / "none.yaml")
    assert result.exit_code == 2
    assert result.stdout.splitlines() == [f"{study_file}: ok: 2 cells, 3 trials, 2 seeds"]
    shown = [line.split(": ")[:2] for line in result.stderr.splitlines()]
    assert shown == [
        [f"{bad}:4", "tasks.iris.epochs"],
        [f"{bad}:8", "seeds"],
        [f"{tmp_path / 'none.yaml'}:1", "file"],
    ]


def test_validate_speaks_json(study_file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(STUDY.replace("epochs: 2", "epochs: 0"))
    good, wrong = json.loads(pare("validate", study_file, bad, "--json").stdout)
    assert good["valid"]
    assert good["cells"] == ["iris/dense", "iris/magnitude"]
    assert not wrong["valid"]
    assert wrong["faults"][0]["line"] == 4


def test_what_this_machine_lacks_is_a_warning_when_validating_and_a_fault_when_planning(
    study_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    study_file.write_text(STUDY + "resources: {gpus: 1}\n")
    warned = pare("validate", study_file)
    assert warned.exit_code == 0
    assert f"{study_file}:12: resources.gpus: 1 asked, none found" in warned.stderr
    refused = pare("plan", study_file)
    assert refused.exit_code == 2
    assert f"{study_file}:12: resources.gpus: 1 asked, none found" in refused.stderr


def test_a_fault_is_a_message_and_no_traceback(study_file: Path) -> None:
    study_file.write_text(STUDY.replace("dense:", "dens:"))
    ended = started("run", str(study_file))
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"{study_file}:6: methods.dens: unknown method 'dens'")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "value", "piece"),
    [("--executor", "slurm", "ray://host:port"), ("--tracking", "mlflow", "sqlite"), ("--store", "gs://x", "s3://")],
)
def test_a_wrong_option_says_what_would_do(study_file: Path, option: str, value: str, piece: str) -> None:
    result = pare("run", study_file, option, value)
    assert result.exit_code == 2
    assert option in result.stderr
    assert piece in result.stderr


@pytest.mark.parametrize(
    "command", [("status",), ("status", "tiny"), ("report", "tiny"), ("sync", "tiny"), ("resume", "tiny")]
)
def test_where_there_is_no_store_none_is_made(command: tuple[str, ...], tmp_path: Path) -> None:
    result = pare(*command)
    assert result.exit_code == 4
    assert "--store" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_study_that_the_store_does_not_hold_names_those_it_holds(tmp_path: Path) -> None:
    Store.open(str(tmp_path / "pare-results")).study("tiny").put_spec(STUDY)
    result = pare("resume", "tinny")
    assert result.exit_code == 4
    assert "no study 'tinny'" in result.stderr
    assert "tiny" in result.stderr


def test_status_counts_the_ledger_of_each_cell(tmp_path: Path) -> None:
    folder = Store.open(str(tmp_path / "pare-results")).study("tiny")
    folder.put_spec(STUDY)
    task = parse_study(STUDY, file="tiny.yaml").tasks["iris"]
    for trial, ending in enumerate(("finished", "failed")):
        run = Run(task_name="iris", task=task, data_fingerprint="0" * 20, method="magnitude", seed=trial)
        folder.put_record(
            Record.model_validate(
                {
                    **{"study": "tiny", "task_name": "iris", "method": "magnitude", "trial": trial, "seed": 0},
                    **{"phase": "search", "run": run, "status": ending, "device_seconds": 30.0},
                }
            )
        )
    (one,) = json.loads(pare("status", "--json").stdout)
    assert (one["study"], one["tested"], one["device_seconds"]) == ("tiny", False, 60.0)
    counts = {"searched": 2, "confirmed": 0, "stopped_early": 0, "failed": 1, "cached": 0, "trials": 2}
    assert one["cells"][1] == {"task": "iris", "method": "magnitude", **counts}
    assert one["cells"][0]["searched"] == 0
    shown = pare("status", "tiny").stdout
    assert "tiny: not complete; 1 min 00 s of device time" in shown
    assert "Does it run?" in shown
    assert ["iris", "magnitude", "2/2", "1"] in [line.split() for line in shown.splitlines()]


def test_an_interrupt_exits_with_130(study_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt(path)

    monkeypatch.setattr("orchestrator.spec.study_file.load_study", interrupted)
    result = pare("validate", study_file)
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_plan_tells_runs_and_time_and_leaves_nothing_trained(study_file: Path) -> None:
    found = json.loads(pare("plan", study_file, "--json").stdout)
    assert (found["search_runs"], found["confirm_runs"]) == (3, 2)
    assert 0 < found["seconds_low"] < found["seconds_high"]
    shown = pare("plan", study_file)
    assert shown.exit_code == 0
    assert "3 search, 2 confirmation" in shown.stdout


def test_run_prints_the_comparison_and_goes_on_where_it_stopped(study_file: Path, tmp_path: Path) -> None:
    first = pare("run", study_file)
    assert first.exit_code == 0, first.output
    assert "search iris/magnitude: 2/2 runs" in first.stderr
    assert "tiny: finished after" in first.stdout
    report = next(line for line in first.stdout.splitlines() if line.startswith("report: "))
    assert Path(report.removeprefix("report: ")).is_file()
    again = pare("resume", "tiny", "--store", tmp_path / "pare-results")
    assert again.exit_code == 0, again.output
    (one,) = json.loads(pare("status", "--json").stdout)
    assert one["tested"]
    assert [cell["failed"] for cell in one["cells"]] == [0, 0]
    _exports(tmp_path)


def _exports(tmp_path: Path) -> None:
    """A network of that study becomes a file, with the figures of the study's test."""
    table = read_results(Store.open("pare-results"), "tiny").to_pylist()
    row = next(row for row in table if row["method"] == "magnitude" and row["headline"] and row["test_score"])
    made = pare("export", row["run_key"], "--output", tmp_path / "net.pt2")
    assert made.exit_code == 0, made.output
    shown = made.stdout.splitlines()
    assert shown[0] == f"{tmp_path / 'net.pt2'}: {(tmp_path / 'net.pt2').stat().st_size:,} bytes, format torch"
    assert f"variant '{row['variant']}' of run {row['run_key']}: the run's only one" in shown
    assert any(line.startswith("verified: read back, its logits on 8 random samples differ") for line in shown)
    assert "takes: float32, features in the data set's units" in shown
    described = json.loads((tmp_path / "net.pt2.json").read_text())
    assert described["test"]["accuracy"] == row["test_accuracy"]
    assert described["sizes"]["nonzeros"] == row["nonzeros"]

    again = pare("export", row["run_key"], "--output", tmp_path / "net.pt2")
    assert (again.exit_code, again.stdout) == (2, "")
    assert "net.pt2: is there already; give --force" in again.stderr
    arguments = ("--output", tmp_path / "net.pt2", "--variant", row["variant"], "--force", "--latency")
    found = json.loads(pare("export", row["run_key"], *arguments, "--json").stdout)
    assert (found["path"], found["variant"], found["chosen"]) == (str(tmp_path / "net.pt2"), row["variant"], "as asked")
    assert set(found["latency"]["batches"]) == {"1", "256"}
    assert "batch 256 on this CPU: " in pare("export", row["run_key"], *arguments).stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "piece"),
    [
        (("nonsense",), 4, "no finished run nonsense"),
        (("nonsense", "--format", "pickle"), 2, "no format 'pickle'; known: safetensors, artefact, torch, onnx"),
        (("nonsense", "--store", "elsewhere"), 4, "give the --store"),
    ],
)
def test_an_export_that_cannot_be_made_is_a_message(
    arguments: tuple[str, ...], exit_code: int, piece: str, tmp_path: Path
) -> None:
    Store.open(str(tmp_path / "pare-results")).study("tiny").put_spec(STUDY)
    result = pare("export", *arguments)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert piece in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_export_without_its_package_exits_with_5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(str(tmp_path / "pare-results")).study("tiny").put_spec(STUDY)
    for name in [name for name in sys.modules if name == "onnx" or name.startswith("onnx.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = pare("export", "nonsense", "--format", "onnx")
    assert result.exit_code == 5
    assert 'pip install "paredown[onnx]"' in result.stderr


def test_the_package_offers_its_three_functions_without_loading_them() -> None:
    code = (
        "import sys, orchestrator; print(sorted(name for name in sys.modules if name.startswith('orchestrator.'))); "
        "print(orchestrator.load_study.__module__); orchestrator.nothing"
    )
    ended = started(code=code)
    assert ended.stdout.splitlines() == ["[]", "orchestrator.spec.study_file"]
    assert "has no attribute 'nothing'" in ended.stderr
