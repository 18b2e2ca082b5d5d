"""The probe foretells the time of an epoch and leaves nothing behind."""

from __future__ import annotations

import time

import pytest
import torch

from methods.tasks import PreparedTask
from methods.training.config import TrainingConfig
from methods.training.learner import Learner
from methods.training.loop import train_epoch
from methods.training.probe import seconds_per_epoch
from tests.methods.small_tasks import a_task, same_weights


@pytest.fixture(scope="module")
def digits() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=1)


def _epoch_seconds(task: PreparedTask) -> float:
    config = TrainingConfig()
    learner = Learner(task.network(), momentum=config.momentum, weight_decay=config.weight_decay, seed=0)
    started = time.perf_counter()
    train_epoch(learner, task, learning_rate=0.01)
    return time.perf_counter() - started


def test_the_time_foretold_is_near_that_of_a_real_epoch(digits: PreparedTask) -> None:
    _epoch_seconds(digits)  # the first epoch of a process pays for warming up
    foretold, real = seconds_per_epoch(digits), min(_epoch_seconds(digits) for _ in range(3))
    # Wide, because others work on this machine too.
    assert real / 4 < foretold < real * 4


def test_an_epoch_shorter_than_the_measurement_is_taken_whole() -> None:
    task = a_task("iris", "mlp", widths=[4], epochs=1)
    assert 0 < seconds_per_epoch(task) < 1


def test_a_regression_task_has_a_time_too() -> None:
    assert seconds_per_epoch(a_task("diabetes", "mlp", widths=[8], epochs=1)) > 0


def test_probing_changes_neither_the_task_nor_the_global_random_state(digits: PreparedTask) -> None:
    before = digits.network(), digits.train.inputs.clone(), torch.random.get_rng_state()
    seconds_per_epoch(digits)
    assert same_weights(digits.network(), before[0])
    assert torch.equal(digits.train.inputs, before[1])
    assert torch.equal(torch.random.get_rng_state(), before[2])
