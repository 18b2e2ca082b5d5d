"""Runs whose class modules run side by side: from execution to store, tests, files and words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from methods import artefact
from methods.export import FORMATS
from methods.measure import count_nonzeros, count_parameters, predict
from methods.modules.side_by_side import SideBySide, as_network
from methods.modules.subtasks import restricted_accuracy
from methods.networks.graph import Network
from methods.tasks import TaskData, build_task, open_test
from orchestrator.class_modules import export_all, export_composition, libraries
from orchestrator.cli import app
from orchestrator.execution import deployed_network, execute
from orchestrator.export import export_network
from orchestrator.library_results import stored_library
from orchestrator.module_results import COMPOSED_ROW, ModulesResult
from orchestrator.runs import RunResult
from orchestrator.store import Store
from orchestrator.work import Work, WorkerSettings
from tests.orchestrator.decomposed import TASK, digits, known, trained

NAMES = [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def data() -> TaskData:
    return digits()


@pytest.fixture(scope="module", params=[True, False], ids=["heads", "no heads"])
def done(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, data: TaskData
) -> Iterator[tuple[Store, RunResult]]:
    store = Store.open(str(tmp_path_factory.mktemp("decomposed") / "store"))
    with known():
        yield store, trained(store, data, heads=request.param)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def modules_of(result: RunResult) -> ModulesResult:
    assert result.modules is not None
    return result.modules


def test_a_composed_variant_is_counted_as_shared_weights_and_stored_as_such(done: tuple[Store, RunResult]) -> None:
    store, result = done
    source, composed = result.variants
    assert (source.kind, composed.kind) == ("whole", "composed")
    stored = store.read_variant(result.key, "composed")
    modules = artefact.decode(stored.artefact)
    assert isinstance(modules, SideBySide)
    assert composed.sizes.parameters == count_parameters(modules)
    assert composed.sizes.nonzeros == count_nonzeros(modules)
    assert composed.sizes.stored_bytes == len(stored.artefact)
    assert composed.sizes.macs > source.sizes.macs, "ten modules of more than a tenth each"
    assert isinstance(artefact.load_network(stored.weights), SideBySide)
    assert isinstance(deployed_network(store, result.key, "composed"), Network)


def test_the_stored_library_composes_what_was_delivered(done: tuple[Store, RunResult]) -> None:
    store, result = done
    library = stored_library(store, result.key)
    assert (library.composition, modules_of(result).composition) == ("side_by_side", "side_by_side")
    assert modules_of(result).variant == "source"
    delivered = artefact.load_network(store.read_variant(result.key, "composed").weights).eval()
    x = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        assert torch.allclose(library.compose(NAMES)(x), delivered(x), atol=1e-6)
    assert modules_of(result).united_accuracy == pytest.approx(result.variants[1].score, abs=0.02)


def test_the_share_of_convolution_kernels_is_kept_beside_that_of_all_units(done: tuple[Store, RunResult]) -> None:
    store, result = done
    library, modules = stored_library(store, result.key), modules_of(result)
    spatial = [index for index, site in enumerate(library.network.sites) if site.spatial_shape]
    kept = torch.cat([library.masks[index] for index in spatial], dim=1).double().mean(dim=1)
    assert [card.kernels_kept for card in modules.cards] == pytest.approx(kept.tolist())
    assert modules.kernels_kept == pytest.approx(float(kept.mean()))
    [line] = libraries(store)
    assert line.kernels_kept == modules.kernels_kept


def test_results_of_earlier_versions_are_read(done: tuple[Store, RunResult]) -> None:
    _, result = done
    old = json.loads(modules_of(result).model_dump_json())
    del old["kernels_kept"], old["composition"]
    for card in old["cards"]:
        del card["kernels_kept"]
    read = ModulesResult.model_validate(old)
    assert (read.kernels_kept, read.cards[0].kernels_kept, read.composition) == (None, None, "union")
    assert read.module_size == modules_of(result).module_size


def test_test_and_latency_are_of_the_network_that_runs(done: tuple[Store, RunResult], data: TaskData) -> None:
    store, result = done
    settings = WorkerSettings(store.uri)
    measured = execute(Work(result.run, "test"), data, settings, lambda _: False).measured
    assert set(measured) == {"source", "composed", COMPOSED_ROW}
    task = build_task(TASK, data, name="digits", seed=0, device="cpu")
    split = open_test(data, opened_by="test")
    composed = as_network(stored_library(store, result.key).compose(NAMES))
    scores = predict(composed, split, normalization=task.normalization, device="cpu")
    pairs = [restricted_accuracy(scores, split.targets, [a, b]) for a in range(10) for b in range(a + 1, 10)]
    assert measured[COMPOSED_ROW]["subtask_accuracy_2"] == pytest.approx(sum(pairs) / 45)
    assert measured["composed"]["subtask_accuracy_2"] == pytest.approx(sum(pairs) / 45, abs=0.01)
    timed = execute(Work(result.run, "latency"), data, settings, lambda _: False).measured
    assert timed["composed"]["latency_ms_256"] > 0


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_a_composed_variant(done: tuple[Store, RunResult], name: str) -> None:
    store, result = done
    made = export_network(result.key, store=store, variant="composed", format=name)
    assert made.max_abs_difference < 1e-4
    if name == "safetensors":
        assert isinstance(artefact.load_network(made.path.read_bytes()), Network)
    described = json.loads(made.description.read_text())
    assert described["output"]["meaning"] == "scores, one per class: the largest is the answer"
    assert described["output"]["num_outputs"] == 10


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_modules_composed_on_demand(
    done: tuple[Store, RunResult], data: TaskData, name: str
) -> None:
    store, result = done
    made = export_composition(result.key, ["8", "3"], store=store, format=name)
    task = build_task(TASK, data, name="digits", seed=0, device="cpu")
    library = stored_library(store, result.key)
    own = torch.isin(task.validation.targets, torch.tensor([3, 8]))
    scores = predict(
        as_network(library.compose(["3", "8"])), task.validation, normalization=task.normalization, device="cpu"
    )[own]
    right = scores.argmax(dim=1) == (task.validation.targets[own] == 8)
    assert made.accuracy == pytest.approx(float(right.double().mean()), abs=0.03)
    parameters = count_parameters(library.compose(["3", "8"]))
    assert 0.9 * parameters < made.sizes["parameters"] <= parameters, "but for folded normalisation and dead units"


def test_a_module_by_itself_says_what_its_score_means(done: tuple[Store, RunResult]) -> None:
    store, result = done
    made = export_all(result.key, store=store, output=Path("modules"))
    described = json.loads(made[0].export.description.read_text())
    heads = stored_library(store, result.key).heads
    meaning = described["output"]["meaning"]
    assert ("above 0 the module finds the class" in meaning) == (heads is not None)
    assert described["output"]["num_outputs"] == 1


def test_the_commands_show_and_compose_them(done: tuple[Store, RunResult]) -> None:
    store, result = done
    place = ["--store", store.uri]
    shown = CliRunner().invoke(app, ["modules", "show", result.key, *place])
    assert shown.exit_code == 0, shown.output
    assert "10 class modules, side by side, of its network 'source' (kept 0.6)" in shown.stdout
    assert "% of the convolution kernels; two share" in shown.stdout
    assert "their MACs those of all of them" in shown.stdout
    listed = CliRunner().invoke(app, ["modules", "list", *place])
    assert "kernels kept" in listed.stdout
    made = CliRunner().invoke(app, ["modules", "compose", result.key, "--class", "1", "--class", "7", *place])
    assert made.exit_code == 0, made.output
