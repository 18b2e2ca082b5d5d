"""A modular run from training to store, test sheet and back: real execution on real digits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from methods.activation_driven.method import ActivationDriven
from methods.contract import Given, Monitor, Outcome, Task
from methods.data.load import load_dataset
from methods.measure import count_parameters, predict
from methods.modules.dependence import dependence
from methods.modules.metrics import modularity
from methods.modules.subtasks import restricted_accuracy
from methods.surgery import deploy
from methods.tasks import TaskData, build_task, open_test, prepare
from orchestrator.errors import StoreProblem, UnknownRecord
from orchestrator.execution import execute
from orchestrator.library_results import stored_library
from orchestrator.module_results import COMPOSED_ROW, ModulesResult
from orchestrator.runs import Run, RunResult
from orchestrator.store import Store
from orchestrator.work import Completion, Work, WorkerSettings
from tests.fakes import a_task

TASK = a_task(epochs=3, validation_share=0.2)


@pytest.fixture(scope="module")
def data() -> TaskData:
    return prepare(TASK, load_dataset(TASK.data, test_share=TASK.test_share))


def run_of(data: TaskData, method: str, **config: Any) -> Run:
    return Run(task_name="digits", task=TASK, data_fingerprint=data.fingerprint, method=method, config=config, seed=0)


def do(store: Store, run: Run, data: TaskData, kind: Any = "fit") -> Completion:
    return execute(Work(run, kind), data, WorkerSettings(store.uri), lambda _: False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: TaskData) -> tuple[Store, RunResult]:
    store = Store.open(str(tmp_path_factory.mktemp("modular") / "store"))
    result = do(store, run_of(data, "activation_driven", gamma=1.0), data).result
    assert result is not None
    return store, result


def modules_of(result: RunResult) -> ModulesResult:
    assert result.modules is not None
    return result.modules


def test_cards_are_counted_on_networks_that_are_cut(trained: tuple[Store, RunResult]) -> None:
    store, result = trained
    library = stored_library(store, result.key)
    modules = modules_of(result)
    whole = count_parameters(library.network)
    shares = [count_parameters(library.compose([card.class_name])) / whole for card in modules.cards]
    assert modules.module_size == pytest.approx(sum(shares) / 10)
    assert modules.overlap < modules.module_size < 1
    for card, share in zip(modules.cards, shares, strict=True):
        # Deployed: batch normalisation is folded in, so a little less than counted in training.
        assert card.sizes.parameters / whole == pytest.approx(share, abs=0.03)


def test_scores_of_a_module_are_its_class_s_in_the_union(trained: tuple[Store, RunResult]) -> None:
    _, result = trained
    union = next(variant for variant in result.variants if variant.label == "union")
    for card in modules_of(result).cards:
        assert {"precision": card.precision, "recall": card.recall, "f1": card.f1} == union.per_class[card.class_name]


def test_compositions_are_worth_what_networks_cut_for_them_are(
    trained: tuple[Store, RunResult], data: TaskData
) -> None:
    store, result = trained
    library = stored_library(store, result.key)
    task = build_task(TASK, data, name="digits", seed=0, device="cpu")
    table = store.read_subtasks(result.key)
    assert table is not None
    rows = table.to_pylist()
    assert len(rows) == 1013
    assert [row["classes"] for row in rows[:2]] == [["0", "1"], ["0", "2"]]
    dense = result.variants[0].reference_sizes.parameters
    for row in rows[::101]:
        composed = library.compose(row["classes"])
        own = torch.isin(task.validation.targets, torch.tensor(library.indices(row["classes"])))
        logits = predict(composed, task.validation, normalization=task.normalization, device="cpu")[own]
        labels = torch.searchsorted(torch.tensor(library.indices(row["classes"])), task.validation.targets[own])
        assert row["val_accuracy"] == pytest.approx(float((logits.argmax(dim=1) == labels).double().mean()))
        deployed = count_parameters(deploy(composed))
        assert deployed <= round(row["parameters_ratio"] * dense) <= 1.02 * deployed, "but for dead units"


def test_means_by_number_of_classes_are_those_of_the_table(trained: tuple[Store, RunResult]) -> None:
    store, result = trained
    table = store.read_subtasks(result.key)
    assert table is not None
    for one in modules_of(result).subtasks:
        own = [row for row in table.to_pylist() if row["num_classes"] == one.num_classes]
        assert one.subsets == len(own)
        assert one.accuracy == pytest.approx(sum(row["val_accuracy"] for row in own) / len(own))
        assert one.macs_ratio == pytest.approx(sum(row["macs_ratio"] for row in own) / len(own))
    union = next(variant for variant in result.variants if variant.label == "union")
    assert modules_of(result).subtasks[-1].accuracy == pytest.approx(union.score, abs=0.005)


def test_pairs_of_classes_tell_their_risk_and_what_composing_them_lost(
    trained: tuple[Store, RunResult], data: TaskData
) -> None:
    store, result = trained
    library = stored_library(store, result.key)
    task = build_task(TASK, data, name="digits", seed=0, device="cpu")
    table = store.read_subtasks(result.key)
    assert table is not None
    composed = {tuple(row["classes"]): row["val_accuracy"] for row in table.to_pylist()}
    whole = predict(library.network, task.validation, normalization=task.normalization, device="cpu")
    found = dependence(
        library,
        task.validation,
        whole_NK=whole,
        coupling_KK=modularity(library).coupling,
        normalization=task.normalization,
        device="cpu",
    )
    pairs = modules_of(result).pairs
    assert len(pairs) == 20
    assert [pair.risk for pair in pairs] == sorted((pair.risk for pair in pairs), reverse=True)
    for pair in pairs:
        i, j = library.indices(pair.classes)
        assert (pair.risk, pair.confusion, pair.coupling) == pytest.approx(
            (float(found.risk[i, j]), float(found.confusion[i, j]), float(found.coupling[i, j])), abs=2e-3
        ), "but for rounding to float16"
        cut = restricted_accuracy(whole, task.validation.targets, (i, j))
        assert pair.lost == pytest.approx(cut - composed[pair.classes], abs=0.02)
    foretold = modules_of(result).foretold
    assert foretold is None or -1 <= foretold <= 1
    assert "interference_of_classes" in {figure.name for figure in store.read_figures(result.key)}


def test_every_whole_network_is_graded_on_sub_tasks_too(trained: tuple[Store, RunResult], data: TaskData) -> None:
    store, result = trained
    task = build_task(TASK, data, name="digits", seed=0, device="cpu")
    whole = result.variants[0]
    assert list(whole.subtasks) == [str(count) for count in range(2, 11)]
    assert whole.subtasks["10"] == pytest.approx(whole.score)
    logits = predict(
        stored_library(store, result.key).network.eval(),
        task.validation,
        normalization=task.normalization,
        device="cpu",
    )
    pairs = [restricted_accuracy(logits, task.validation.targets, [a, b]) for a in range(10) for b in range(a + 1, 10)]
    assert whole.subtasks["2"] == pytest.approx(sum(pairs) / 45, abs=1e-3)


def test_the_test_split_is_asked_for_compositions_too(trained: tuple[Store, RunResult], data: TaskData) -> None:
    store, result = trained
    measured = do(store, result.run, data, "test").measured
    assert set(measured) == {"whole", "union", COMPOSED_ROW}
    task = build_task(TASK, data, name="digits", seed=0, device="cpu")
    split = open_test(data, opened_by="test")
    union = stored_library(store, result.key).compose([str(digit) for digit in range(10)])
    logits = predict(union, split, normalization=task.normalization, device="cpu")
    accuracy = float((logits.argmax(dim=1) == split.targets).double().mean())
    assert measured[COMPOSED_ROW]["subtask_accuracy_10"] == pytest.approx(accuracy)
    assert measured["union"]["subtask_accuracy_10"] == pytest.approx(measured["union"]["accuracy"])


def test_charts_of_sub_tasks_stand_before_those_of_the_method(trained: tuple[Store, RunResult]) -> None:
    store, result = trained
    assert [figure.name for figure in store.read_figures(result.key)][:4] == [
        "accuracy_by_subtask",
        "size_by_subtask",
        "interference_of_classes",
        "size_by_threshold",
    ]


def test_a_truncated_library_is_named_with_its_mend(trained: tuple[Store, RunResult]) -> None:
    store, result = trained
    path = Path(store.uri) / "runs" / result.key / "modules.safetensors"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(StoreProblem, match=r"class modules cannot be read .*delete that folder"):
            stored_library(store, result.key)
    finally:
        path.write_bytes(whole)


def test_a_library_that_is_gone_is_named_with_its_mend(trained: tuple[Store, RunResult]) -> None:
    store, result = trained
    path = Path(store.uri) / "runs" / result.key / "modules.safetensors"
    moved = path.rename(path.with_suffix(".away"))
    try:
        with pytest.raises(StoreProblem, match=r"modules.safetensors is missing; delete that folder"):
            stored_library(store, result.key)
    finally:
        moved.rename(path)


def test_a_library_beside_other_weights_is_refused(trained: tuple[Store, RunResult], data: TaskData) -> None:
    store, result = trained
    other = do(store, run_of(data, "activation_driven", gamma=2.0), data).result
    assert other is not None
    path = Path(store.uri) / "runs" / result.key / "modules.safetensors"
    own = path.read_bytes()
    try:
        path.write_bytes(store.read_modules(other.key))
        with pytest.raises(StoreProblem, match="cannot be read"):
            stored_library(store, result.key)
    finally:
        path.write_bytes(own)


def test_a_run_without_modules_says_so(trained: tuple[Store, RunResult], data: TaskData) -> None:
    store, _ = trained
    dense = do(store, run_of(data, "dense"), data).result
    assert dense is not None
    assert dense.modules is None
    with pytest.raises(UnknownRecord, match="has no class modules"):
        stored_library(store, dense.key)


def test_a_library_of_a_network_that_is_not_delivered_fails_the_run(
    tmp_path: Path, data: TaskData, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = ActivationDriven.fit

    def without_whole(self: ActivationDriven, task: Task, given: Given, monitor: Monitor) -> Outcome:
        outcome = fit(self, task, given, monitor)
        return Outcome(outcome.variants[1:], outcome.epochs, library=outcome.library)

    monkeypatch.setattr(ActivationDriven, "fit", without_whole)
    completion = do(Store.open(str(tmp_path / "store")), run_of(data, "activation_driven"), data)
    assert completion.failure is not None
    assert "none of the delivered variants" in completion.failure.message


def test_a_figure_that_takes_the_name_of_one_of_ours_fails_the_run(
    tmp_path: Path, data: TaskData, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = ActivationDriven.fit

    def renamed(self: ActivationDriven, task: Task, given: Given, monitor: Monitor) -> Outcome:
        outcome = fit(self, task, given, monitor)
        taken = outcome.figures[0].model_copy(update={"name": "accuracy_by_subtask"})
        return replace(outcome, figures=(taken,))

    monkeypatch.setattr(ActivationDriven, "fit", renamed)
    completion = do(Store.open(str(tmp_path / "store")), run_of(data, "activation_driven"), data)
    assert completion.failure is not None
    assert "two figures 'accuracy_by_subtask'" in completion.failure.message
