from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from methods.contract import SilentMonitor, Split
from methods.dense import Dense
from methods.measure import predict
from methods.training.config import DenseConfig
from methods.training.loop import evaluate
from methods.training.targets import in_standard_units, to_raw_units, to_standard_units
from tests.methods.small_tasks import a_task, same_weights


def test_training_targets_have_mean_0_and_deviation_1_and_validation_follows_them() -> None:
    task = a_task("diabetes", "mlp", epochs=1)
    standard = in_standard_units(task)
    assert standard.train.targets.mean().item() == pytest.approx(0, abs=1e-5)
    assert standard.train.targets.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    mean, deviation = task.train.targets.mean(), task.train.targets.std(correction=0)
    assert torch.allclose(standard.validation.targets * deviation + mean, task.validation.targets, atol=1e-3)
    assert same_weights(standard.network(), task.network())


def test_standard_units_change_nothing_of_a_task_but_its_targets() -> None:
    task = replace(a_task("diabetes", "mlp", epochs=1), class_weights=torch.tensor([1.0]))
    standard = in_standard_units(task)
    for name in ("info", "normalization", "augmentation", "epochs", "batch_size", "seed", "device", "precision"):
        assert getattr(standard, name) == getattr(task, name), name
    assert standard.class_weights is task.class_weights


def test_raw_units_predict_raw_targets_with_the_same_r2() -> None:
    task = a_task("diabetes", "mlp", epochs=1)
    network = task.network()
    before = evaluate(network, task.validation, in_standard_units(task))
    standard = evaluate(network, in_standard_units(task).validation, task)
    assert evaluate(to_raw_units(network, task), task.validation, task) == pytest.approx(standard, abs=1e-4)
    assert before != pytest.approx(standard, abs=1e-4), "untouched, the network does not speak in raw units"


def test_standard_units_undo_raw_units() -> None:
    task = a_task("diabetes", "mlp", epochs=1)
    network = task.network()
    back = to_standard_units(to_raw_units(copy.deepcopy(network), task), task)
    for one, other in zip(network.parameters(), back.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_classification_is_left_alone() -> None:
    task = a_task("iris", "mlp", epochs=1)
    network = task.network()
    assert in_standard_units(task) is task
    assert same_weights(to_raw_units(copy.deepcopy(network), task), network)


def test_equal_targets_divide_by_one() -> None:
    task = a_task("diabetes", "mlp", epochs=1)
    equal = replace(task, train=Split(task.train.inputs, torch.full_like(task.train.targets, 5.0)))
    assert in_standard_units(equal).train.targets.abs().max() == 0


def test_a_regression_trained_at_the_default_rate_explains_some_of_the_variance() -> None:
    task = a_task("diabetes", "mlp", widths=[16], epochs=20, batch_size=32)
    outcome = Dense(DenseConfig(learning_rate=0.01)).fit(task, {}, SilentMonitor())
    network = outcome.variants[0].network
    predicted = predict(network, task.validation, normalization=task.normalization, device="cpu")
    assert 50 < float(predicted.mean()) < 300, "raw units: disease progression is 25 to 346"
    assert evaluate(network, task.validation, task) > 0.2
