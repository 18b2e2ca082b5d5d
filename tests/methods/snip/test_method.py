from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from methods.contract import Normalization
from methods.snip.config import SnipConfig
from methods.snip.method import Snip
from methods.tasks import PreparedTask
from methods.training.masks import kept_share, prunable_weights
from tests.methods.small_tasks import Lost, Recorder, a_task, a_task_with_dropout, same_weights


@pytest.fixture(scope="module")
def digits() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=2, fraction=0.3)


def test_scoring_goes_without_dropout() -> None:
    task = a_task_with_dropout(epochs=1, fraction=0.2)
    one, same = (Snip(SnipConfig())._masks(task.network(), task) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(one, same, strict=True))


def test_scoring_leaves_network_and_statistics_as_they_were(digits: PreparedTask) -> None:
    network = digits.network()
    before = copy.deepcopy(network)
    Snip(SnipConfig())._masks(network, digits)
    assert same_weights(network, before)


def test_pixels_that_no_sample_lights_lose_their_weights_first() -> None:
    """Their gradient is zero, however large the weights are."""
    task = a_task("digits", "mlp", widths=[16], epochs=1)
    network = task.network()
    constant = task.train.inputs.flatten(1).float().std(dim=0) == 0
    assert bool(constant.any())
    with torch.no_grad():
        network.nodes["hidden1"].get_parameter("weight")[:, constant] = 100.0
    masks = Snip(SnipConfig(pruning_rate=0.5, samples=1000))._masks(network, _black(task))
    assert not bool(masks[0][:, constant].any())


def _black(task: PreparedTask) -> PreparedTask:
    """The task normalised so that a black pixel is zero."""
    return replace(task, normalization=Normalization(mean=(0.0,), std=(1.0,)))


def test_the_number_of_samples_counts_and_may_exceed_the_set(digits: PreparedTask) -> None:
    def masks(samples: int) -> list[torch.Tensor]:
        return Snip(SnipConfig(samples=samples))._masks(digits.network(), digits)

    assert not all(torch.equal(*pair) for pair in zip(masks(16), masks(128), strict=True))
    assert kept_share(masks(100_000)) == pytest.approx(0.1, abs=1e-4)


def test_what_was_chosen_is_what_is_trained(digits: PreparedTask) -> None:
    method = Snip(SnipConfig(pruning_rate=0.8))
    chosen = method._masks(digits.network(), digits)
    network = method.fit(digits, {}, Recorder()).variants[0].network
    for weight, mask in zip(prunable_weights(network), chosen, strict=True):
        assert torch.equal(weight != 0, mask)


def test_an_emptied_layer_is_told_once_though_the_run_was_resumed() -> None:
    task = a_task("digits", "mlp", widths=[64, 64], epochs=4, fraction=0.3)
    method = Snip(SnipConfig(pruning_rate=0.9995))
    lost = Recorder(break_at=2)
    with pytest.raises(Lost):
        method.fit(task, {}, lost)
    assert sum("no weight is left" in note for note in lost.notes) == 1
    resumed = Recorder(stored=lost.stored)
    method.fit(task, {}, resumed)
    assert not any("no weight is left" in note for note in resumed.notes), "the checkpoint's notes have it"
