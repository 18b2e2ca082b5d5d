from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch

from methods.contract import Outcome, Prerequisite, UnsupportedTask
from methods.dense import Dense
from methods.magnitude.config import MagnitudeConfig
from methods.magnitude.method import Magnitude
from methods.networks.graph import Network
from methods.tasks import PreparedTask
from methods.training.config import DenseConfig
from methods.training.loop import evaluate
from methods.training.masks import prunable_weights
from tests.methods.small_tasks import Lost, Recorder, a_task, same_weights


@pytest.fixture(scope="module")
def digits() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=7, fraction=0.3)


@pytest.fixture(scope="module")
def dense(digits: PreparedTask) -> Network:
    return Dense(DenseConfig()).fit(digits, {}, Recorder()).variants[0].network


def _fit(task: PreparedTask, monitor: Recorder, given: Any = None, **fields: Any) -> Outcome:
    return Magnitude(MagnitudeConfig(**fields)).fit(task, given or {}, monitor)


def _left(network: Network) -> tuple[int, int]:
    flat = torch.cat([weight.detach().flatten() for weight in prunable_weights(network)])
    return int((flat != 0).sum()), flat.numel()


@pytest.mark.parametrize("rate", [0.0, 0.9, 0.97])
def test_as_many_weights_are_left_as_the_rate_says(digits: PreparedTask, rate: float) -> None:
    monitor = Recorder()
    outcome = _fit(digits, monitor, pruning_rate=rate)
    left, total = _left(outcome.variants[0].network)
    assert left == total - math.floor(rate * total) - 1
    assert outcome.facts["sparsity"] == pytest.approx(1 - left / total)
    assert monitor.reports[-1][2] == pytest.approx(left / total)


def test_training_and_fine_tuning_share_the_budget_of_the_task(digits: PreparedTask) -> None:
    monitor = Recorder()
    outcome = _fit(digits, monitor)
    assert (outcome.facts["dense_epochs"], outcome.facts["finetune_epochs"]) == (3, 4)
    assert outcome.epochs == digits.epochs
    assert list(monitor.curves) == list(range(7))
    rates = [values["learning_rate"] for values in monitor.curves.values()]
    assert rates[0] == rates[3] == 0.1, "fine-tuning begins again at the full rate"


def test_before_pruning_the_pruned_accuracy_is_reported_not_the_dense_one(digits: PreparedTask) -> None:
    monitor = Recorder()
    _fit(digits, monitor, pruning_rate=0.97)
    last_dense = monitor.curves[2]
    assert monitor.reports[2][1] == last_dense["delivered_accuracy"] < last_dense["val_accuracy"]


def test_a_trained_dense_network_is_taken_up_and_left_as_it_was(digits: PreparedTask, dense: Network) -> None:
    method = Magnitude(MagnitudeConfig(start="dense"))
    assert method.prerequisites() == (Prerequisite("dense"),)
    before = copy.deepcopy(dense)
    monitor = Recorder()
    outcome = method.fit(digits, {"dense": dense}, monitor)
    assert same_weights(before, dense)
    assert outcome.epochs == 4
    assert [progress for progress, _, _ in monitor.reports] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    # Four epochs on few digits: processors that round otherwise ended between 0.8 and 0.9; chance is 0.1.
    assert evaluate(outcome.variants[0].network, digits.validation, digits) > 0.6


def test_its_own_start_needs_no_other_run() -> None:
    assert Magnitude(MagnitudeConfig()).prerequisites() == ()


@pytest.mark.parametrize("start", ["own", "dense"])
@pytest.mark.parametrize("break_at", [1, 3, 4, 6])
def test_resuming_equals_never_having_stopped(digits: PreparedTask, dense: Network, start: str, break_at: int) -> None:
    straight = _fit(digits, Recorder(), {"dense": dense}, start=start)
    lost = Recorder(break_at=min(break_at, 4 if start == "dense" else 7))
    with pytest.raises(Lost):
        _fit(digits, lost, {"dense": dense}, start=start)
    resumed = _fit(digits, Recorder(stored=lost.stored), {"dense": dense}, start=start)
    assert same_weights(straight.variants[0].network, resumed.variants[0].network)
    assert straight.facts == resumed.facts


def test_a_regression_is_pruned_and_still_speaks_in_raw_units() -> None:
    task = a_task("diabetes", "mlp", widths=[32], epochs=30, batch_size=32)
    dense = Dense(DenseConfig(learning_rate=0.01)).fit(task, {}, Recorder()).variants[0].network
    for start in ("own", "dense"):
        monitor = Recorder()
        outcome = _fit(task, monitor, {"dense": dense}, start=start, learning_rate=0.01, pruning_rate=0.5)
        assert evaluate(outcome.variants[0].network, task.validation, task) > 0.15
        assert not monitor.notes


def test_a_layer_that_loses_all_its_weights_is_noted() -> None:
    task = a_task("diabetes", "mlp", widths=[32], epochs=2, batch_size=32)
    monitor = Recorder()
    _fit(task, monitor, pruning_rate=0.98)
    assert "no weight is left in nodes.classifier" in monitor.notes[0]


def test_a_budget_too_small_for_both_phases_is_refused_with_the_mend() -> None:
    task = a_task("iris", "mlp", epochs=1)
    with pytest.raises(UnsupportedTask, match="at least 2 epochs"):
        _fit(task, Recorder())
