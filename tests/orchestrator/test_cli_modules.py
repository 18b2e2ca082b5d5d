"""`pare modules`: from a finished study to a file for two of its classes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from orchestrator.cli import app

STUDY = """\
study: modular
tasks:
  digits: {data: digits, network: small_cnn, epochs: 3}
methods:
  dense: {search: none}
  activation_driven: {set: {gamma: 1.0}, search: none}
seeds: [0]
executor: inline
tracking: none
"""


def pare(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store in which the study has run."""
    folder = tmp_path_factory.mktemp("modular")
    (folder / "modular.yaml").write_text(STUDY)
    ended = pare("run", folder / "modular.yaml", "--store", folder / "pare-results")
    assert ended.exit_code == 0, ended.output
    return folder


@pytest.fixture(autouse=True)
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


@pytest.fixture
def key() -> str:
    (line,) = json.loads(pare("modules", "list", "--json").stdout)
    return str(line["run_key"])


def test_the_list_names_the_run_with_its_settings(key: str) -> None:
    shown = pare("modules", "list").stdout.splitlines()
    assert shown[0].split()[:4] == ["run", "task", "method", "settings"]
    assert shown[1].startswith(f"{key}  digits  activation_driven  gamma 1.0")
    assert "mean share of the whole network's parameters" in shown[2]


def test_a_run_is_shown_with_a_card_for_each_class_and_a_line_for_each_size(key: str) -> None:
    shown = pare("modules", "show", key).stdout
    assert f"{key}: 10 class modules of its network 'whole' (threshold 0.9" in shown
    lines = [line.split() for line in shown.splitlines()]
    assert [line[0] for line in lines if len(line) == 9 and line[0].isdigit()] == [str(digit) for digit in range(10)]
    assert next(line[:2] for line in lines if len(line) == 5 and line[0].isdigit()) == ["2", "45"]
    stored = json.loads(pare("modules", "show", key, "--json").stdout)
    assert len(stored["cards"]) == 10
    assert [one["subsets"] for one in stored["subtasks"]] == [45, 120, 210, 252, 210, 120, 45, 10, 1]


def test_two_classes_become_a_file_with_its_accuracy_and_size(key: str) -> None:
    made = pare("modules", "compose", key, "--class", "3", "--class", "8", "--output", "two.onnx")
    assert made.exit_code == 0, made.output
    shown = made.stdout.splitlines()
    assert shown[0] == "composition of 3, 8"
    described = json.loads(Path("two.onnx.json").read_text())
    accuracy, samples = described["validation"]["accuracy"], described["validation_samples"]
    assert shown[1] == f"accuracy: {accuracy:.4f} on {samples} validation samples of these classes"
    share = described["sizes"]["parameters"] / described["dense_sizes"]["parameters"]
    assert shown[2] == f"parameters: {described['sizes']['parameters']:,}, {share:.1%} of the dense network's"
    assert 0 < share < 1
    again = json.loads(
        pare(
            "modules", "compose", key, "--class", "8", "--class", "3", "--output", "two.onnx", "--force", "--json"
        ).stdout
    )
    assert again["classes"] == ["3", "8"]
    assert again["accuracy"] == accuracy


def test_every_module_becomes_a_file(key: str) -> None:
    made = pare("modules", "export", key, "--format", "artefact", "--output", "all")
    assert made.exit_code == 0, made.output
    assert len([path for path in Path("all").iterdir() if path.suffix == ".json"]) == 10
    assert "module of 0" in made.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "piece"),
    [
        (("compose", "KEY", "--class", "cat"), 2, "unknown class 'cat'; there are: 0, 1"),
        (("compose", "KEY", "--class", "1", "--class", "1"), 2, "class '1' is named twice"),
        (("compose", "KEY"), 2, "Missing option '--class'"),
        (("compose", "nonsense", "--class", "1"), 4, "no finished run nonsense"),
        (("show", "nonsense"), 4, "no finished run nonsense"),
        (("list", "--store", "elsewhere"), 4, "give the --store"),
    ],
)
def test_what_cannot_be_made_is_a_message(key: str, arguments: tuple[str, ...], exit_code: int, piece: str) -> None:
    result = pare("modules", *(key if argument == "KEY" else argument for argument in arguments))
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert piece in result.stderr


def test_a_truncated_library_is_a_message_and_the_rest_of_the_run_stays(key: str) -> None:
    path = Path("pare-results") / "runs" / key / "modules.safetensors"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:100])
        result = pare("modules", "compose", key, "--class", "1", "--class", "2", "--output", "broken.onnx")
        assert (result.exit_code, result.stdout) == (4, "")
        assert "class modules cannot be read" in result.stderr
        assert "`pare resume` trains the run again" in result.stderr
        assert not Path("broken.onnx").exists()
        assert pare("export", key, "--variant", "whole", "--output", "whole.onnx", "--force").exit_code == 0
    finally:
        path.write_bytes(whole)


def test_a_store_without_modular_runs_says_what_would_have_them(tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text(STUDY.replace("modular", "plain").replace("  activation_driven", "  # none"))
    pare("run", tmp_path / "plain.yaml", "--store", tmp_path / "store")
    shown = pare("modules", "list", "--store", tmp_path / "store").stdout
    assert "no run with class modules" in shown
    assert "activation_driven" in shown
