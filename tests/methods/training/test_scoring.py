"""The few samples that weights are scored with."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from methods.contract import Split
from methods.data.normalise import normalise
from methods.training.scoring import balanced_samples, random_samples, scoring_loss
from tests.methods.small_tasks import a_task


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


SPLIT = Split(torch.arange(12.0).unsqueeze(1), torch.tensor([0, 1, 2, 2, 2, 2, 2, 2, 2, 0, 1, 0]))


def test_random_samples_are_drawn_once_each_with_their_targets() -> None:
    drawn = random_samples(SPLIT, count=5, generator=_generator())
    places = drawn.inputs.squeeze(1).long()
    assert len(set(places.tolist())) == len(drawn) == 5
    assert torch.equal(drawn.targets, SPLIT.targets[places])
    assert len(random_samples(SPLIT, count=99, generator=_generator())) == 12


def test_balanced_samples_hold_as_many_of_each_class_or_all_it_has() -> None:
    drawn = balanced_samples(SPLIT, per_class=3, generator=_generator())
    assert torch.bincount(drawn.targets).tolist() == [3, 2, 3]
    assert torch.equal(drawn.targets, SPLIT.targets[drawn.inputs.squeeze(1).long()])
    orders = {
        tuple(balanced_samples(SPLIT, per_class=3, generator=_generator(seed)).targets.tolist()) for seed in (0, 1)
    }
    assert len(orders) == 2
    assert all(list(order) != sorted(order) for order in orders), "classes are mixed, so that each half has them all"


def test_the_loss_is_the_task_s_own_at_the_temperature() -> None:
    digits = a_task("digits", "small_cnn", epochs=1, fraction=0.1)
    samples = random_samples(digits.train, count=20, generator=_generator())
    network = digits.network().eval()
    logits = network(normalise(samples.inputs, digits.normalization))
    found = scoring_loss(network, samples, digits, temperature=200.0)
    assert found.item() == pytest.approx(F.cross_entropy(logits / 200, samples.targets).item(), rel=1e-5)
    diabetes = a_task("diabetes", "mlp", widths=[8], epochs=1)
    samples = random_samples(diabetes.train, count=20, generator=_generator())
    network = diabetes.network()
    predicted = network(normalise(samples.inputs, diabetes.normalization)).squeeze(1)
    assert scoring_loss(network, samples, diabetes).item() == pytest.approx(
        (predicted - samples.targets).square().mean().item(), rel=1e-5
    )
