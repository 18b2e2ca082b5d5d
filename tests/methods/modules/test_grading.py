"""What a library is worth: against networks that are really cut, and where samples are missing."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import pytest
import torch

from methods.contract import Split
from methods.measure import count_macs, count_parameters, deployed_sizes, grade, predict, quality
from methods.measure.subtasks import graded_subsets, mean_by_size
from methods.modules.grading import composition_quality, grade_library
from methods.modules.library import ModuleLibrary
from methods.modules.side_by_side import as_network
from methods.networks.folding import fold_batch_norm
from methods.surgery import deploy
from methods.tasks import PreparedTask
from tests.methods.modules.libraries import beside
from tests.methods.small_tasks import a_task


@pytest.fixture(scope="module")
def digits() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=1, validation_share=0.2)


def a_library(task: PreparedTask, *, kept: float) -> ModuleLibrary:
    network = task.network()
    generator = torch.Generator().manual_seed(0)
    masks = tuple(torch.rand(10, site.units, generator=generator) < kept for site in network.sites)
    return ModuleLibrary(network, task.info.class_names, masks)


def test_sizes_and_scores_are_those_of_networks_cut_for_them(digits: PreparedTask) -> None:
    library = a_library(digits, kept=0.6)
    grades = grade_library(library, digits)
    for row in range(0, len(grades.subtasks.subsets), 97):
        classes = grades.subtasks.subsets[row].nonzero().flatten().tolist()
        composed = library.compose(classes)
        folded = fold_batch_norm(composed)
        assert int(grades.subtasks.parameters[row]) == count_parameters(folded)
        assert int(grades.subtasks.macs[row]) == count_macs(folded, (1, 8, 8))
        found = composition_quality(composed, classes, digits.validation, digits)
        assert float(grades.subtasks.accuracy[row]) == pytest.approx(found.values["accuracy"])
    assert [sizes["parameters"] for sizes in grades.deployed] == [
        count_parameters(deploy(library.compose([name]))) for name in library.class_names
    ]


def test_a_class_without_validation_samples_leaves_the_others_alone(digits: PreparedTask) -> None:
    others = digits.validation.targets != 7
    task = replace(digits, validation=Split(digits.validation.inputs[others], digits.validation.targets[others]))
    grades = grade_library(a_library(task, kept=0.6), task)
    assert bool(torch.isfinite(grades.subtasks.accuracy).all()), "every pair has samples of one class at least"
    assert grades.cohesion is not None
    assert grades.united.per_class["7"]["recall"] == 0


def test_quality_of_a_composition_counts_the_samples_of_its_classes_alone(digits: PreparedTask) -> None:
    network = a_library(digits, kept=1.1).compose([3, 8])
    found = composition_quality(network, [3, 8], digits.validation, digits)
    own = torch.isin(digits.validation.targets, torch.tensor([3, 8]))
    logits = predict(network, digits.validation, normalization=digits.normalization, device="cpu")[own]
    right = logits.argmax(dim=1) == (digits.validation.targets[own] == 8)
    assert found.num_samples == int(own.sum())
    assert found.values["accuracy"] == pytest.approx(float(right.double().mean()))
    assert set(found.per_class) == {"3", "8"}


def test_whole_networks_and_compositions_are_graded_on_the_same_samples(
    digits: PreparedTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("methods.measure.grade", "methods.modules.grading"):
        monkeypatch.setattr(import_module(place), "SUBTASK_SAMPLES", 5)
    library = a_library(digits, kept=1.1)
    composed = mean_by_size(graded_subsets(10), grade_library(library, digits).subtasks.accuracy)
    whole = grade(library.network, digits, latency=False)
    assert composed == pytest.approx(whole.subtasks, abs=0.02), "float16 storage may turn a prediction or two"
    everything = quality(library.network, digits.validation, digits)
    assert everything.subtasks[10] == pytest.approx(everything.values["accuracy"])
    assert whole.subtasks[10] * 50 == pytest.approx(round(whole.subtasks[10] * 50)), "five samples of ten classes"


@pytest.mark.parametrize("heads", [True, False])
def test_modules_side_by_side_are_graded_as_what_is_composed_of_them(digits: PreparedTask, heads: bool) -> None:
    library = beside(a_library(digits, kept=0.6), heads=heads)
    grades = grade_library(library, digits)
    for row in range(0, len(grades.subtasks.subsets), 211):
        classes = grades.subtasks.subsets[row].nonzero().flatten().tolist()
        composed = library.compose(classes)
        found = composition_quality(as_network(composed), classes, digits.validation, digits)
        assert float(grades.subtasks.accuracy[row]) == pytest.approx(found.values["accuracy"])
        sizes = deployed_sizes(composed)
        assert sizes["parameters"] <= int(grades.subtasks.parameters[row]) <= 1.05 * sizes["parameters"]
        assert sizes["macs"] <= int(grades.subtasks.macs[row]) <= 1.05 * sizes["macs"], "but for dead units"
    assert grades.united.values["accuracy"] == pytest.approx(float(grades.subtasks.accuracy[-1]), abs=0.02)
    modules = [library.compose([name]) for name in library.class_names]
    assert list(grades.deployed) == [deployed_sizes(module) for module in modules]
