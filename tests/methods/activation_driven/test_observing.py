"""A pass over samples: each once, whatever the batches, and a fair part of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from methods.activation_driven.losses import activation_losses
from methods.activation_driven.modularize import activation_rates
from methods.activation_driven.observing import observe, sample_of
from methods.contract import Split
from methods.data.normalise import normalise
from methods.tasks import PreparedTask
from tests.methods.small_tasks import a_task


@pytest.fixture(scope="module")
def digits() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=1, fraction=0.2, batch_size=32)


def _part(split: Split, count: int) -> Split:
    return Split(split.inputs[:count], split.targets[:count])


@pytest.mark.parametrize("count", [97, 128, 129])
def test_every_sample_counts_once_also_one_that_would_be_a_batch_of_its_own(digits: PreparedTask, count: int) -> None:
    network, part = digits.network(), _part(digits.train, count)
    seen = observe(network, part, digits, spatial_share=0.0, augmentation="none", seed=3)
    with torch.no_grad():
        run = network.eval().run(normalise(part.inputs, digits.normalization), record=True)
    exact = activation_rates(list(run.activations.values()), part.targets, num_classes=10)
    for found, wanted in zip(seen.rates, exact, strict=True):
        assert float((found - wanted).abs().max()) < 0.11, "one sample of a class at most, by rounding at zero"
        assert float((found - wanted).abs().mean()) < 1e-3


def test_losses_of_one_whole_batch_are_those_of_its_activations(digits: PreparedTask) -> None:
    task = replace(digits, batch_size=1000)
    network = task.network().eval()
    seen = observe(network, task.train, task, spatial_share=0.0, augmentation="none", seed=0)
    with torch.no_grad():
        run = network.run(normalise(task.train.inputs, task.normalization), record=True)
    wanted = activation_losses(list(run.activations.values()), task.train.targets)
    assert (seen.affinity, seen.dispersion, seen.compactness) == pytest.approx(list(map(float, wanted)), rel=1e-4)


def test_a_sample_has_every_class_alike_and_is_the_same_each_time(digits: PreparedTask) -> None:
    part = sample_of(digits.train, num_classes=10, most=50, seed=1)
    assert torch.bincount(part.targets).tolist() == [5] * 10
    again = sample_of(digits.train, num_classes=10, most=50, seed=1)
    assert torch.equal(part.inputs, again.inputs)
    everything = sample_of(digits.train, num_classes=10, most=10_000, seed=1)
    assert len(everything) == len(digits.train)
