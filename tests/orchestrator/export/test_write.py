"""A stored network becomes a file that computes the same, with all that a stranger needs to use it."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from methods import artefact
from methods.data.load import load_dataset
from methods.data.normalise import normalise
from methods.export import FORMATS
from methods.task_spec import DataSpec, NetworkSpec
from methods.tasks import TaskData, prepare
from orchestrator.errors import ExportRefused, RunFailed, ServiceMissing, StoreProblem, UnknownRecord
from orchestrator.execution import deployed_network, execute
from orchestrator.export import export_network
from orchestrator.runs import Failure, Run, RunResult
from orchestrator.store import Store
from orchestrator.work import Work, WorkerSettings
from tests.fakes import a_run, a_task

IMAGES = a_task(fraction=0.1, epochs=2)
TABLE = a_task(data=DataSpec(source="diabetes"), network=NetworkSpec(name="mlp", arguments={"widths": [8]}), epochs=2)


def _data(spec: Any) -> TaskData:
    return prepare(spec, load_dataset(spec.data, test_share=spec.test_share))


def _trained(store: Store, spec: Any, method: str) -> RunResult:
    data = _data(spec)
    run = Run(task_name="task", task=spec, data_fingerprint=data.fingerprint, method=method, seed=0)
    result = execute(Work(run), data, WorkerSettings(store.uri), lambda _: False).result
    assert result is not None
    return result


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult, RunResult]:
    """A store with one run on images and one on a table."""
    place = tmp_path_factory.mktemp("trained") / "store"
    store = Store.open(str(place))
    return place, _trained(store, IMAGES, "magnitude"), _trained(store, TABLE, "dense")


@pytest.fixture
def store(trained: tuple[Path, RunResult, RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A copy of that store of the test's own, beside the current folder."""
    shutil.copytree(trained[0], tmp_path / "store")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Store.open(str(tmp_path / "store"))


@pytest.fixture
def images(trained: tuple[Path, RunResult, RunResult]) -> RunResult:
    return trained[1]


@pytest.fixture
def table(trained: tuple[Path, RunResult, RunResult]) -> RunResult:
    return trained[2]


def _replace_outcome(store: Store, result: RunResult, **changes: Any) -> None:
    """Put another outcome in the place of one, as only an earlier version or a hand from outside would."""
    place = Path(store.uri) / "runs" / result.key / "outcome.json"
    place.unlink()
    assert store.put_outcome(result.model_copy(update=changes))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_written_with_a_description_and_computes_what_evaluation_does(
    kind: str, store: Store, images: RunResult
) -> None:
    if kind == "onnx":
        pytest.importorskip("onnx")
    before = sorted(Path(store.uri).rglob("*"))
    made = export_network(images.key, store=store, format=kind)
    assert made.path == Path(f"{images.key}-pruned{FORMATS[kind].suffix}")
    assert sorted(Path().iterdir()) == [made.path, made.description]
    assert sorted(Path(store.uri).rglob("*")) == before
    written = made.path.read_bytes()
    assert made.num_bytes == len(written)
    assert made.max_abs_difference < 1e-4
    described = json.loads(made.description.read_text())
    data = _data(IMAGES)
    raw = torch.from_numpy(data.validation_inputs[:5].copy())
    # As the description tells a stranger to do it, in plain arithmetic.
    x = raw.float() / 255
    if not described["input"]["normalization_included"]:
        mean, std = (torch.tensor(described["input"]["normalization"][key]) for key in ("mean", "std"))
        x = (x - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
    with torch.no_grad():
        expected = deployed_network(store, images.key, "pruned")(normalise(raw, data.normalization))
        torch.testing.assert_close(FORMATS[kind].read(written)(x), expected, atol=1e-4, rtol=1e-4)


def test_the_description_says_what_goes_in_what_comes_out_and_where_it_is_from(store: Store, images: RunResult) -> None:
    described = json.loads(export_network(images.key, store=store, format="torch").description.read_text())
    (variant,) = images.variants
    assert described["run_key"] == images.key
    assert described["method"] == {"name": "magnitude", "version": images.run.version, "config": {}, "seed": 0}
    assert described["input"]["shape"] == ["batch", 1, 8, 8]
    assert described["input"]["scale"] == "pixels on the 0-1 scale (bytes divided by 255)"
    assert described["output"]["class_names"] == [str(digit) for digit in range(10)]
    assert described["sizes"] == variant.sizes.model_dump()
    assert described["validation"] == variant.validation
    assert described["test"] is None
    assert described["latency"] is None
    assert described["preprocessing"] == images.preprocessing
    assert "host" not in described["made"]


def test_the_artefact_is_the_very_file_of_the_store(store: Store, images: RunResult) -> None:
    made = export_network(images.key, store=store, format="artefact")
    assert made.path.read_bytes() == store.read_variant(images.key, "pruned").artefact


def test_safetensors_hold_plain_dense_tensors_and_the_architecture(store: Store, images: RunResult) -> None:
    import safetensors.torch

    made = export_network(images.key, store=store)
    network = deployed_network(store, images.key, "pruned")
    plain = safetensors.torch.load_file(made.path)
    assert {name: tensor.dtype for name, tensor in plain.items()} == dict.fromkeys(network.state_dict(), torch.float32)
    assert all(torch.equal(plain[name], tensor) for name, tensor in network.state_dict().items())
    assert artefact.load_network(made.path.read_bytes()).architecture == network.architecture


def test_a_regression_on_a_table_takes_features_in_their_own_units(store: Store, table: RunResult) -> None:
    made = export_network(table.key, store=store, output=Path("net.pt2"))
    described = json.loads(made.description.read_text())
    assert (made.format, described["format"]) == ("torch", "torch")
    assert described["input"]["scale"] == "features in the data set's units"
    assert described["output"] == {"meaning": "the value", "num_outputs": 1, "class_names": []}
    data = _data(TABLE)
    raw = torch.from_numpy(data.validation_inputs[:3].copy())
    program = torch.export.load(io.BytesIO(made.path.read_bytes())).module()
    with torch.no_grad():
        expected = deployed_network(store, table.key, "dense")(normalise(raw, data.normalization))
        torch.testing.assert_close(program(raw), expected)


def test_a_run_of_a_version_that_recorded_no_normalization_takes_normalised_inputs_and_says_so(
    store: Store, images: RunResult
) -> None:
    _replace_outcome(store, images, preprocessing=None)
    made = export_network(images.key, store=store, format="torch")
    assert "did not record" in made.input_scale
    described = json.loads(made.description.read_text())["input"]
    assert (described["normalization"], described["normalization_included"]) == (None, False)


def test_an_outcome_from_before_preprocessing_was_recorded_can_be_read(store: Store, images: RunResult) -> None:
    place = Path(store.uri) / "runs" / images.key / "outcome.json"
    stored = json.loads(place.read_text())
    assert set(stored["preprocessing"]["normalization"]) == {"mean", "std"}
    del stored["preprocessing"]
    place.write_text(json.dumps(stored))
    assert store.finished_run(images.key).preprocessing is None


@pytest.mark.parametrize("recorded", [{}, {"normalization": {"mean": [0.5]}}, {"normalization": {"mean": 1, "std": 2}}])
def test_a_damaged_normalization_is_named(recorded: dict[str, Any], store: Store, images: RunResult) -> None:
    _replace_outcome(store, images, preprocessing=recorded)
    with pytest.raises(StoreProblem, match=f"run {images.key}: its recorded normalization is "):
        export_network(images.key, store=store)


def test_latency_is_timed_dense_and_sparse_when_asked_for(store: Store, images: RunResult) -> None:
    made = export_network(images.key, store=store, latency=True)
    timed = json.loads(made.description.read_text())["latency"]
    assert timed == made.latency
    assert set(timed["batches"]) == {"1", "256"}
    for one in timed["batches"].values():
        assert one["dense_ms"] > 0
        assert one["sparse_ms"] is None or 0 < one["sparse_ms"] < one["dense_ms"]
        # At 90 % pruned some layer is a candidate, whichever form was faster here.
        assert {"name", "sparsity", "dense_ms", "sparse_ms", "is_sparse"} == set(one["layers"][0])


def test_a_file_that_computes_something_else_is_not_left_behind(
    store: Store, images: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(data: bytes) -> Any:
        network = artefact.load_network(data).eval()
        with torch.no_grad():
            list(network.parameters())[-1].add_(1.0)
        return network

    monkeypatch.setitem(FORMATS, "safetensors", dataclasses.replace(FORMATS["safetensors"], read=damaged))
    Path("net.safetensors").write_text("what was there before")
    with pytest.raises(RunFailed, match=f"run {images.key}: format safetensors: read back, its outputs differ"):
        export_network(images.key, store=store, output=Path("net.safetensors"), force=True)
    assert [path.name for path in Path().iterdir()] == ["net.safetensors"]
    assert Path("net.safetensors").read_text() == "what was there before"


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda _: b"", lambda _: b"not an artefact"])
def test_a_damaged_artefact_is_named_with_its_mend(damage: Any, store: Store, images: RunResult) -> None:
    place = Path(store.uri) / "runs" / images.key / "variants/pruned/artefact.safetensors.zst"
    place.write_bytes(damage(place.read_bytes()))
    with pytest.raises(
        StoreProblem, match=f"runs/{images.key}: variant 'pruned' cannot be read: .* delete that folder"
    ):
        export_network(images.key, store=store)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("key", ["nonsense", "../store", ""])
def test_an_unknown_run_says_where_keys_are_found(key: str, store: Store) -> None:
    with pytest.raises(UnknownRecord, match=r"no finished run .*; a study's report and results\.parquet name"):
        export_network(key, store=store)


def test_an_unfinished_run_says_why_and_what_finishes_it(store: Store) -> None:
    run = a_run()
    store.put_run(run)
    with pytest.raises(UnknownRecord, match=f"run {run.key} is not finished; `pare resume`"):
        export_network(run.key, store=store)
    store.add_failure(run.key, Failure(kind="diverged", message="the loss is not finite", at="2026-01-01T00:00:00Z"))
    with pytest.raises(UnknownRecord, match="its last attempt failed: the loss is not finite; `pare resume`"):
        export_network(run.key, store=store)


def test_an_unknown_variant_names_those_there_are(store: Store, images: RunResult) -> None:
    with pytest.raises(UnknownRecord, match=f"run {images.key} has no variant 'dense'; it has: pruned"):
        export_network(images.key, store=store, variant="dense")


@pytest.mark.parametrize("there", ["net.pt2", "net.pt2.json"])
def test_what_lies_there_is_replaced_only_when_told_to(there: str, store: Store, images: RunResult) -> None:
    Path(there).write_text("mine")
    with pytest.raises(ExportRefused, match=rf"{there}: is there already; give --force"):
        export_network(images.key, store=store, output=Path("net.pt2"))
    assert [path.name for path in Path().iterdir()] == [there]
    export_network(images.key, store=store, output=Path("net.pt2"), force=True)
    assert sorted(path.name for path in Path().iterdir()) == ["net.pt2", "net.pt2.json"]
    assert Path(there).read_bytes() != b"mine"


def test_without_onnx_nothing_is_begun_and_the_mend_is_named(
    store: Store, images: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name == "onnx" or name.startswith("onnx.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ServiceMissing, match=r'pip install "paredown\[onnx\]"'):
        export_network(images.key, store=store, format="onnx")
    assert list(Path().iterdir()) == []
