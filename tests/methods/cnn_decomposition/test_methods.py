"""What GradSplitter and CNNSplitter deliver, and what they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from methods.cnn_decomposition import breeding
from methods.cnn_decomposition.breeding import _thresholds
from methods.cnn_decomposition.cnnsplitter_config import CnnSplitterConfig
from methods.cnn_decomposition.cnnsplitter_method import CnnSplitter
from methods.cnn_decomposition.gradsplitter_config import GradSplitterConfig
from methods.cnn_decomposition.gradsplitter_method import GradSplitter
from methods.cnn_decomposition.layers import maskable_layers
from methods.cnn_decomposition.requirements import source_network
from methods.cnn_decomposition.samples import search_samples
from methods.contract import Outcome, Split, UnsupportedTask
from methods.data.load import load_dataset
from methods.measure import grade, quality
from methods.modules.library import ModuleLibrary
from methods.modules.side_by_side import SideBySide
from methods.networks.graph import Network
from methods.task_spec import DataSpec, NetworkSpec, TaskSpec
from methods.tasks import PreparedTask, build_task, prepare
from methods.training.config import TrainingConfig
from methods.training.loop import train
from tests.methods.small_tasks import Lost, Recorder, a_task, same_weights

QUICK_SPLIT: dict[str, Any] = {"learning_rate": 0.05, "cycles": 1}
QUICK_BREED: dict[str, Any] = {"generations": 3, "population": 12}


@pytest.fixture(scope="module")
def task() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=20, fraction=0.4, validation_share=0.3)


@pytest.fixture(scope="module")
def dense(task: PreparedTask) -> Network:
    return train(task.network(), task, config=TrainingConfig(), epochs=15, monitor=Recorder()).eval()


def _split(task: PreparedTask, dense: Network, monitor: Recorder | None = None, **fields: Any) -> Outcome:
    method = GradSplitter(GradSplitterConfig(**QUICK_SPLIT | fields))
    return method.fit(task, {"dense": dense}, monitor or Recorder())


def _breed(task: PreparedTask, dense: Network, monitor: Recorder | None = None, **fields: Any) -> Outcome:
    method = CnnSplitter(CnnSplitterConfig(**QUICK_BREED | fields))
    return method.fit(task, {"dense": dense}, monitor or Recorder())


BOTH = pytest.mark.parametrize("fit", [_split, _breed], ids=["gradsplitter", "cnnsplitter"])


def _library(outcome: Outcome) -> ModuleLibrary:
    assert outcome.library is not None
    return outcome.library


@BOTH
def test_delivered_are_the_source_its_modules_and_their_library(fit: Any, task: PreparedTask, dense: Network) -> None:
    outcome = fit(task, dense)
    source, composed = outcome.variants
    assert (source.label, source.kind, composed.label, composed.kind) == ("source", "whole", "composed", "composed")
    assert same_weights(source.network, dense)
    assert isinstance(composed.network, SideBySide)
    library = _library(outcome)
    assert library.network is source.network
    assert library.composition == "side_by_side"
    assert (library.heads is not None) == (fit is _split)
    assert 0 < outcome.facts["kernel_retention"] < 1
    assert outcome.facts["accuracy_loss"] == pytest.approx(
        outcome.facts["reference_accuracy"] - outcome.facts["composed_accuracy"]
    )


@BOTH
def test_the_composed_network_has_the_accuracy_that_was_said(fit: Any, task: PreparedTask, dense: Network) -> None:
    outcome = fit(task, dense)
    found = quality(outcome.variants[1].network, task.validation, task).values["accuracy"]
    # The method's own glance is in bfloat16 where the processor multiplies it.
    assert found == pytest.approx(outcome.facts["composed_accuracy"], abs=3.5 / len(task.validation))
    graded = grade(outcome.variants[1].network, task, latency=False)
    assert graded.validation["accuracy"] == pytest.approx(found, abs=2.5 / len(task.validation))


@BOTH
def test_the_trained_network_is_left_alone(fit: Any, task: PreparedTask, dense: Network) -> None:
    before = task.network()
    before.load_state_dict(dense.state_dict())
    fit(task, dense)
    assert same_weights(dense, before)
    assert all(parameter.requires_grad for parameter in dense.parameters())


@BOTH
def test_other_seeds_give_other_modules(fit: Any, task: PreparedTask, dense: Network) -> None:
    one, other = _library(fit(task, dense)), _library(fit(replace(task, seed=9), dense))
    assert any(not torch.equal(a, b) for a, b in zip(one.masks, other.masks, strict=True))


@BOTH
def test_tied_layers_keep_the_same_kernels(fit: Any) -> None:
    spec = TaskSpec(
        data=DataSpec(source="digits", image_shape=(3, 32, 32)),
        network=NetworkSpec(name="rescnn_gradsplitter", arguments={"stages": [4, 6, 6, 8]}),
        epochs=12,
        fraction=0.05,
        validation_share=0.5,
    )
    data = prepare(spec, load_dataset(spec.data, test_share=spec.test_share))
    task = build_task(spec, data, name="digits", seed=0, device="cpu")
    library = _library(fit(task, task.network().eval()))
    by_site = {site.name: mask for site, mask in zip(library.network.sites, library.masks, strict=True)}
    for first, second in (("conv1_relu", "conv3_relu"), ("conv5_relu", "conv7_relu"), ("conv9_relu", "conv11_relu")):
        assert torch.equal(by_site[first], by_site[second])


@BOTH
def test_residual_networks_are_decomposed(fit: Any) -> None:
    task = a_task("digits", "resnet20", epochs=12, fraction=0.1, validation_share=0.5)
    assert len(_library(fit(task, task.network().eval())).masks) == 19


@BOTH
def test_what_serves_no_decomposition_is_refused(fit: Any) -> None:
    method = GradSplitter(GradSplitterConfig()) if fit is _split else CnnSplitter(CnnSplitterConfig())
    with pytest.raises(UnsupportedTask, match="modules serve classes, and this task is a regression"):
        method.check(a_task("diabetes", "mlp", epochs=12).info)
    with pytest.raises(UnsupportedTask, match="network 'mlp' has no convolution"):
        method.check(a_task("iris", "mlp", epochs=12).info)
    info = a_task("digits", "small_cnn", epochs=12, fraction=0.1).info
    with pytest.raises(UnsupportedTask, match="one class, and modules tell classes apart; give it at least two"):
        method.check(replace(info, num_outputs=1))


@BOTH
@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_class_without_samples_is_named(fit: Any, part: str, task: PreparedTask, dense: Network) -> None:
    split: Split = getattr(task, part)
    kept = split.targets != 3
    lacking = replace(task, **{part: Split(split.inputs[kept], split.targets[kept])})
    what = {"train": "training", "validation": "validation"}[part]
    with pytest.raises(ValueError, match=f"class '3' has no {what} sample"):
        fit(lacking, dense)


def test_cycles_that_do_not_fit_the_budget_are_refused(task: PreparedTask, dense: Network) -> None:
    with pytest.raises(
        UnsupportedTask, match=r"3 cycle.* take 26 epochs, and the task has 20; set cycles to at most 2"
    ):
        _split(task, dense, cycles=3)
    with pytest.raises(UnsupportedTask, match=r"take 12 epochs, and the task has 11; lower head_epochs or give"):
        _split(replace(task, epochs=11), dense, cycles=0)


def test_as_many_cycles_as_fit_are_run(task: PreparedTask, dense: Network) -> None:
    assert _split(task, dense, cycles=0).epochs == 19


def test_generations_that_do_not_fit_the_budget_are_refused(task: PreparedTask, dense: Network) -> None:
    with pytest.raises(UnsupportedTask, match=r"20 generations .* count as 21 epochs, and the task has 20"):
        _breed(task, dense, generations=20)


def test_a_sensitive_layer_that_is_not_there_is_named(task: PreparedTask) -> None:
    with pytest.raises(UnsupportedTask, match="names layer 2, and network 'small_cnn' has 2, numbered from 0"):
        CnnSplitter(CnnSplitterConfig(sensitive=(0, 2))).check(task.info)


def test_a_population_without_offspring_is_refused() -> None:
    with pytest.raises(ValidationError, match="leaves no room for offspring"):
        CnnSplitterConfig(population=2, kept_share=0.9)


def test_the_default_population_is_the_papers() -> None:
    config = CnnSplitterConfig()
    assert (config.population, config.num_parents, config.num_kept) == (100, 50, 20)


def test_thresholds_go_with_the_rounds() -> None:
    assert _thresholds(CnnSplitterConfig(), 10) == {2: 0.95, 4: 0.95, 8: 0.85, 10: 0.8}
    five = CnnSplitterConfig(thresholds=(0.95, 0.9, 0.85))
    assert {size: _thresholds(five, 5)[size] for size in (2, 4, 5)} == {2: 0.95, 4: 0.9, 5: 0.85}
    assert _thresholds(five, 2) == {2: 0.95}


@pytest.mark.parametrize("patience", [0, 1])
def test_resuming_a_search_equals_never_having_stopped(task: PreparedTask, dense: Network, patience: int) -> None:
    fields: dict[str, Any] = {"generations": 8, "population": 6, "mutation": 20.0, "patience": patience}
    monitor = Recorder()
    straight = _breed(task, dense, monitor, **fields)
    assert (straight.epochs < 9) == (patience > 0)
    for report in (1, len(monitor.reports) // 2, len(monitor.reports)):
        heard = Recorder(break_at=report)
        with pytest.raises(Lost):
            _breed(task, dense, heard, **fields)
        resumed = _breed(task, dense, Recorder(stored=heard.stored), **fields)
        masks = zip(_library(straight).masks, _library(resumed).masks, strict=True)
        assert all(torch.equal(a, b) for a, b in masks)
        assert resumed.epochs == straight.epochs


def test_what_is_remembered_of_candidates_is_no_more_than_their_logits(task: PreparedTask, dense: Network) -> None:
    method = CnnSplitter(CnnSplitterConfig(population=12))
    samples = search_samples(task, "published")
    source = source_network({"dense": dense}, task)
    ground = method._ground(source, task, samples, method._prepare(source, task, samples, Recorder()))
    _, populations = breeding._begin(ground, method.config, None)
    _, memory = breeding._evaluated(ground, populations, breeding._decoded(ground, populations)[0], {})
    held = {row.untyped_storage().data_ptr(): row.untyped_storage().nbytes() for row in memory.values()}
    assert sum(held.values()) == 2 * len(memory) * len(task.validation)


def test_shifted_ratios_are_the_numbers_that_they_look_like() -> None:
    assert CnnSplitter(CnnSplitterConfig(ratio_shift=-0.3))._ratios(False) == [0.1, 0.2, 0.3, 0.4]
    assert CnnSplitter(CnnSplitterConfig(ratio_shift=0.9))._ratios(True) == [1.0] * 3
    assert CnnSplitter(CnnSplitterConfig(ratio_shift=-0.9))._ratios(True) == [0.05] * 3


def test_a_search_improves_on_its_first_generation(task: PreparedTask, dense: Network) -> None:
    monitor = Recorder()
    outcome = _breed(task, dense, monitor, generations=8, population=30)
    fitness = [monitor.curves[generation]["best_fitness"] for generation in range(9)]
    assert max(fitness[1:]) > fitness[0]
    assert outcome.epochs == 9
    assert outcome.facts["selected_generation"] >= 1


def test_a_search_ends_when_nothing_improves(task: PreparedTask, dense: Network) -> None:
    monitor = Recorder()
    # Without mutations and with one parent's genes everywhere nothing changes after a few generations.
    outcome = _breed(task, dense, monitor, generations=19, population=6, mutation=0.0, parents_share=0.3, patience=2)
    assert outcome.epochs < 20
    assert monitor.reports[-1][0] == 1.0


def test_sensitive_layers_are_found_or_taken_as_given(task: PreparedTask, dense: Network) -> None:
    names = [layer.name for layer in maskable_layers(dense.architecture)]
    given = _breed(task, dense, sensitive=(1,))
    assert given.facts["sensitive_layers"] == [names[1]]
    assert "layer_sensitivity" not in {figure.name for figure in given.figures}
    found = _breed(task, dense)
    assert "layer_sensitivity" in {figure.name for figure in found.figures}
    assert set(_listed(found.facts["sensitive_layers"])) <= set(names)


def _listed(value: Any) -> list[str]:
    assert isinstance(value, list)
    return value


def test_a_network_that_is_sure_of_nothing_is_told(task: PreparedTask) -> None:
    monitor = Recorder()
    _breed(task, task.network().eval(), monitor)
    assert any("0.9 sure of no sample of class 0" in note for note in monitor.notes)


def test_the_shares_of_initial_candidates_can_be_shifted(task: PreparedTask, dense: Network) -> None:
    sizes = [_breed(task, dense, generations=1, ratio_shift=shift).facts["kernel_retention"] for shift in (-0.3, 0.3)]
    assert sizes[0] < sizes[1]


def test_the_source_can_have_a_recipe_of_its_own() -> None:
    config = GradSplitterConfig(source={"learning_rate": 0.01})
    assert GradSplitter(config).prerequisites()[0].config == {"learning_rate": 0.01}
    assert config.changed() == {"source": {"learning_rate": 0.01}}
    assert CnnSplitter(CnnSplitterConfig()).prerequisites()[0].config == {}


@BOTH
def test_figures_show_kernels_and_the_course(fit: Any, task: PreparedTask, dense: Network) -> None:
    names = {figure.name for figure in fit(task, dense).figures}
    assert {"kernels_by_layer", "module_difference", "accuracy_by_retention"} <= names
    assert ("genetic_progress" in names) == (fit is _breed)


def test_published_and_leak_free_searches_differ(task: PreparedTask, dense: Network) -> None:
    published, clean = (_library(_breed(task, dense, samples=which)) for which in ("published", "leak_free"))
    assert any(not torch.equal(a, b) for a, b in zip(published.masks, clean.masks, strict=True))
    assert isinstance(published.settings, Mapping)
    assert published.settings["samples"] == "published"
