from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from methods.data.normalise import normalise
from methods.grasp.config import GraspConfig
from methods.grasp.gradient_flow import removal_scores
from methods.grasp.method import Grasp
from methods.tasks import PreparedTask
from methods.training.masks import apply_masks, kept_share, prunable_weights
from tests.methods.small_tasks import a_task, a_task_with_dropout, same_weights


@pytest.fixture(scope="module")
def digits() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=1, fraction=0.5)


def _masks(task: PreparedTask, **fields: Any) -> list[Tensor]:
    return Grasp(GraspConfig(**fields))._masks(task.network(), task)


def _gradient_flow(task: PreparedTask, masks: list[Tensor]) -> float:
    """Squared norm of the gradient on a thousand training samples, at the temperature of the scoring."""
    network = task.network().train()
    weights = prunable_weights(network)
    apply_masks(weights, masks)
    logits = network(normalise(task.train.inputs[:1000], task.normalization))
    gradients = torch.autograd.grad(F.cross_entropy(logits / 200, task.train.targets[:1000]), weights)
    return sum(float(gradient.square().sum()) for gradient in gradients)


@pytest.mark.parametrize("network", ["mlp", "small_cnn"])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_more_gradient_flows_than_with_weights_left_by_chance_or_by_the_opposite_sign(
    network: str, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = a_task("digits", network, epochs=1, fraction=0.5)
    chosen = _masks(task, pruning_rate=rate, fresh_classifier=False)
    generator = torch.Generator().manual_seed(0)
    chance = [torch.rand(mask.shape, generator=generator) >= rate for mask in chosen]
    monkeypatch.setattr(
        "methods.grasp.method.removal_scores",
        lambda losses, weights: [-score for score in removal_scores(losses, weights)],
    )
    opposite = _masks(task, pruning_rate=rate, fresh_classifier=False)
    assert _gradient_flow(task, chosen) > 3 * _gradient_flow(task, chance)
    assert _gradient_flow(task, chosen) > 50 * _gradient_flow(task, opposite)


def test_scoring_goes_without_dropout() -> None:
    task = a_task_with_dropout(epochs=1, fraction=0.2)
    one, same = (Grasp(GraspConfig())._masks(task.network(), task) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(one, same, strict=True))


def test_scoring_leaves_network_and_statistics_as_they_were(digits: PreparedTask) -> None:
    network = digits.network()
    before = copy.deepcopy(network)
    Grasp(GraspConfig())._masks(network, digits)
    assert same_weights(network, before)


def test_each_setting_of_the_scoring_counts(digits: PreparedTask) -> None:
    default = _masks(digits)
    for fields in ({"samples_per_class": 5}, {"temperature": 1.0}, {"fresh_classifier": False}):
        other = _masks(digits, **fields)
        assert not all(torch.equal(*pair) for pair in zip(default, other, strict=True)), fields


@pytest.mark.parametrize("samples", [1, 2, 10_000])
def test_few_and_many_samples_will_do(samples: int) -> None:
    task = a_task("iris", "mlp", widths=[8], epochs=1)
    assert kept_share(_masks(task, samples_per_class=samples, pruning_rate=0.5)) == 0.5


def test_a_regression_is_scored_at_its_own_scale_whatever_the_temperature() -> None:
    task = a_task("diabetes", "mlp", widths=[8], epochs=1)
    one, other = _masks(task), _masks(task, temperature=1.0)
    assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))
