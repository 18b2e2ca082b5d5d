"""`pare morph`: from a finished run's generator to a file for one width, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from methods.artefact import load_network
from methods.registry import method_class
from orchestrator import morph
from orchestrator.cli import app
from orchestrator.errors import ExportRefused, StoreProblem, UnknownRecord
from orchestrator.morphing import stored_generator
from orchestrator.store import Store

STUDY = """\
study: morphing
tasks:
  digits: {data: digits, network: resnet20, epochs: 5, fraction: 0.1, validation_share: 0.3}
methods:
  dense: {search: none}
  metamorphic:
    set:
      {hidden: 16, layers: 2, num_frequencies: 3, draws: 2, widths: [0.5, 1.0], drop_probability: 0.2,
       gate_learning_rate: 0.01}
    search: none
  filter_pruning: {set: {widths: [0.5, 1.0]}, search: none}
  individual: {method: scratch, search: {inner_width: {options: [0.5, 1.25]}}}
seeds: [0]
search: {trials: 2, confirm: all, early_stopping: none}
executor: inline
tracking: none
"""


def pare(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store in which the study has run."""
    folder = tmp_path_factory.mktemp("morphing")
    (folder / "morphing.yaml").write_text(STUDY)
    ended = pare("run", folder / "morphing.yaml", "--store", folder / "pare-results")
    assert ended.exit_code == 0, ended.output
    return folder


@pytest.fixture
def store(place: Path) -> Store:
    return Store.open(str(place / "pare-results"), read_only=True)


@pytest.fixture
def key(store: Store) -> str:
    (found,) = store.generating_keys()
    return found


@pytest.fixture(autouse=True)
def here(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pare-results").symlink_to(place / "pare-results")


def test_a_width_becomes_a_file_with_its_accuracy_and_sizes(key: str, store: Store) -> None:
    made = pare("morph", key, "--width", "0.4", "--out", "narrow.safetensors")
    assert made.exit_code == 0, made.output
    shown = made.stdout.splitlines()
    described = json.loads(Path("narrow.safetensors.json").read_text())
    accuracy, sizes, dense = described["validation"]["accuracy"], described["sizes"], described["dense_sizes"]
    assert shown[0] == "width 0.4, compression ratio 0.6"
    assert shown[1] == f"accuracy: {accuracy:.4f} on 40 validation samples"
    share = sizes["parameters"] / dense["parameters"]
    assert shown[2] == f"parameters: {sizes['parameters']:,}, {share:.1%} of the dense network's"
    result = store.finished_run(key)
    assert result.generator is not None
    own = f"{result.generator.parameters:,} parameters, {result.generator.stored_bytes:,} bytes"
    assert shown[6] == f"the generator itself: {own}; the network does not need it"
    assert "width 0.4 was not trained: training saw 0.5 to 1" in made.stderr
    assert described["generator"]["parameters"] == result.generator.parameters
    network = load_network(Path("narrow.safetensors").read_bytes())
    assert network.nodes["stage3_block2_a_conv"].weight.shape[0] == 26
    again = json.loads(pare("morph", key, "--width", "0.4", "--out", "twin.safetensors", "--json").stdout)
    assert (again["accuracy"], again["sizes"]) == (accuracy, sizes)


def test_a_width_that_was_delivered_is_drawn_again_as_it_was(key: str, store: Store) -> None:
    made = morph(key, store=store, width=0.5)
    result = store.finished_run(key)
    variant = next(one for one in result.variants if one.label == "width_0.5")
    assert made.accuracy == variant.validation["accuracy"]
    assert made.sizes == variant.sizes.model_dump()
    assert made.notes == ()
    assert made.export.path.name == f"{key}-width-0.5.safetensors"


def test_depth_is_given_by_stage_or_once_for_all(key: str, store: Store) -> None:
    whole = morph(key, store=store, width=1.0)
    short = morph(key, store=store, width=1.0, depth=[2], output=Path("short.safetensors"))
    assert short.settings["depth"] == "2-2-2"
    assert short.sizes["macs"] < whole.sizes["macs"]
    listed = pare("morph", key, "--width", "1", "--depth", "2,3,3", "--out", "listed.safetensors")
    assert listed.stdout.startswith("width 1, depth 2-3-3, compression ratio 0")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--width", "0"], 2, "width 0: give a share of the full width above 0 and at most 2; training saw 0.5 to 1"),
        (["--width=-0.5"], 2, "width -0.5: give a share"),
        (["--width", "nan"], 2, "width nan: give a share"),
        (["--width", "2.5"], 2, "width 2.5: give a share"),
        (["--width", "0.01"], 2, "width 0.01 leaves a layer of 16 units none; give a width above 1/32"),
        (["--width", "1", "--depth", "4"], 2, "depth [4, 4, 4]: give one number of blocks for each of the 3 stages"),
        (["--width", "1", "--depth", "2,2"], 2, "depth [2, 2]: give one number"),
        (["--width", "1", "--depth", "two"], 2, "'two' is no list of whole numbers"),
    ],
)
def test_what_nobody_can_draw_is_refused_and_leaves_nothing(
    key: str, arguments: list[str], code: int, said: str
) -> None:
    refused = pare("morph", key, *arguments, "--out", "none.safetensors")
    assert refused.exit_code == code, refused.output
    assert said in " ".join(refused.stderr.split())
    assert not Path("none.safetensors").exists()


def test_a_file_that_lies_there_stays_unless_told(key: str, store: Store) -> None:
    Path("mine.safetensors").write_text("mine")
    with pytest.raises(ExportRefused):
        morph(key, store=store, width=1.0, output=Path("mine.safetensors"))
    assert Path("mine.safetensors").read_text() == "mine"


def test_a_run_without_a_generator_is_refused_with_those_that_have_one(place: Path, key: str, store: Store) -> None:
    rows = pq.read_table(place / "pare-results/studies/morphing/results.parquet").to_pylist()
    dense = next(row["run_key"] for row in rows if row["method"] == "dense")
    with pytest.raises(UnknownRecord, match=f"of 'dense' has no generator; runs that have: {key}"):
        morph(dense, store=store, width=0.5)


def test_the_results_table_shows_the_generator_s_size(place: Path, key: str, store: Store) -> None:
    rows = pq.read_table(place / "pare-results/studies/morphing/results.parquet").to_pylist()
    result = store.finished_run(key)
    assert result.generator is not None
    found = {row["method"]: row["generator_parameters"] for row in rows}
    assert found["metamorphic"] == result.generator.parameters
    assert found["dense"] is None


@pytest.mark.parametrize("damage", ["gone", "foreign"])
def test_a_generator_file_that_is_gone_or_of_another_network_is_named(
    place: Path, key: str, store: Store, damage: str
) -> None:
    file = place / "pare-results" / "runs" / key / "generator.safetensors.zst"
    kept = file.read_bytes()
    try:
        if damage == "gone":
            file.unlink()
        else:
            # Sound by itself, but not what the run's outcome speaks of.
            generator = stored_generator(store, store.finished_run(key))
            changed = method_class("metamorphic").load_generator(kept)  # type: ignore[attr-defined]
            changed.source.networks.last_bias.data.add_(1.0)
            assert generator.save() == kept
            file.write_bytes(changed.save())
        with pytest.raises(StoreProblem, match=r"missing; delete|of another network; delete that folder"):
            morph(key, store=store, width=0.5)
    finally:
        file.write_bytes(kept)


def test_the_report_shows_accuracy_at_any_width(place: Path) -> None:
    folder = place / "pare-results/studies/morphing"
    page = (folder / "report.html").read_text()
    assert "Accuracy at any width" in page
    assert "widths seen in training" in page
    assert (folder / "accuracy_by_width.png").read_bytes().startswith(b"\x89PNG")
