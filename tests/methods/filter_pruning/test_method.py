from __future__ import annotations

import pytest
import torch

from methods.contract import SilentMonitor, UnsupportedTask
from methods.dense import Dense
from methods.filter_pruning.config import FilterPruningConfig
from methods.filter_pruning.method import FilterPruning
from methods.morphing.filters import filter_scores, strongest, strongest_first
from methods.morphing.parts import morphing_parts
from methods.scratch.config import ScratchConfig
from methods.scratch.method import Scratch
from methods.training.config import DenseConfig
from methods.training.loop import evaluate
from tests.methods.morphing.networks import fused, inputs
from tests.methods.small_tasks import a_task


def test_the_filters_with_the_largest_norm_stay() -> None:
    network = fused("small_cnn", (1, 8, 8))
    parts = morphing_parts(network.architecture)
    weight = network.nodes["conv1"].weight.detach()
    for criterion, norms in (("l1", weight.abs().flatten(1).sum(1)), ("l2", weight.flatten(1).norm(dim=1))):
        scores = filter_scores(network, parts, criterion=criterion)  # type: ignore[arg-type]
        torch.testing.assert_close(scores["conv1_relu"], norms)
    assert strongest(torch.tensor([1.0, 3.0, 2.0, 3.0]), 2).tolist() == [False, True, False, True]
    assert strongest(torch.ones(3), 2).tolist() == [True, True, False]


def test_putting_the_strongest_first_leaves_the_function_as_it_is() -> None:
    network = fused("resnet20", (3, 16, 16))
    parts = morphing_parts(network.architecture)
    found = strongest_first(network, parts)
    x = inputs(network)
    torch.testing.assert_close(found(x), network(x), rtol=1e-4, atol=1e-4)
    scores = filter_scores(found, parts, criterion="l1")
    assert all(score.tolist() == sorted(score.tolist(), reverse=True) for score in scores.values())


@pytest.mark.parametrize("source", ["digits", "diabetes"])
def test_the_full_width_is_the_trained_network_and_nothing_is_trained(source: str) -> None:
    task = a_task(source, "mlp", epochs=8, widths=[16, 16])
    teacher = Dense(DenseConfig()).fit(task, {}, SilentMonitor()).variants[0].network
    outcome = FilterPruning(FilterPruningConfig(widths=(0.5, 1.0))).fit(task, {"dense": teacher}, SilentMonitor())
    half, full = outcome.variants
    whole = evaluate(teacher, task.validation, task)
    assert evaluate(full.network, task.validation, task) == pytest.approx(whole, abs=1e-6)
    assert half.network.nodes["hidden1"].weight.shape[0] == 8
    assert outcome.epochs == 0


def test_pruning_adds_no_filters() -> None:
    with pytest.raises(ValueError, match="pruning cannot add filters"):
        FilterPruningConfig(widths=(1.0, 1.25))


def test_a_network_trained_for_one_inner_width_has_the_size_of_one_that_morphed() -> None:
    task = a_task("digits", "resnet20", epochs=1, fraction=0.05, validation_share=0.4)
    variant = Scratch(ScratchConfig(inner_width=0.5)).fit(task, {}, SilentMonitor()).variants[0]
    assert variant.network.nodes["stage3_block2_a_conv"].weight.shape == (32, 64, 3, 3)
    assert variant.network.nodes["stage3_block1_a_conv"].weight.shape == (64, 32, 3, 3)
    assert variant.settings["compression_ratio"] == 0.5
    with pytest.raises(ValueError, match="keep_share and inner_width both set the size"):
        ScratchConfig(inner_width=0.5, keep_share=0.2)
    with pytest.raises(UnsupportedTask, match="scratch: network 'resnet20'"):
        Scratch(ScratchConfig(inner_width=0.01)).check(task.info)


def test_a_teacher_may_be_trained_for_fewer_epochs_than_the_task_gives() -> None:
    task = a_task("digits", "mlp", epochs=5, widths=[8])
    assert Dense(DenseConfig(epochs=2)).fit(task, {}, SilentMonitor()).epochs == 2
    with pytest.raises(UnsupportedTask, match="epochs is 6, and the task gives 5"):
        Dense(DenseConfig(epochs=6)).fit(task, {}, SilentMonitor())
