"""The plain schedule: what it tells the monitor, and that stopping and going on leaves no trace."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from methods.contract import StoppedEarly
from methods.networks.graph import Network
from methods.tasks import PreparedTask
from methods.training.config import TrainingConfig
from methods.training.loop import Phase, evaluate, train
from methods.training.masks import apply_masks, magnitude_masks, masked_gradients, prunable_weights
from tests.methods.small_tasks import Lost, Recorder, a_task, same_weights

CONFIG = TrainingConfig(learning_rate=0.05)


@pytest.fixture(scope="module")
def digits() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=6, fraction=0.15, augmentation="crop_flip")


@pytest.fixture(scope="module")
def iris() -> PreparedTask:
    return a_task("iris", "mlp", widths=[8], epochs=6, batch_size=32)


def _train(task: PreparedTask, monitor: Recorder, **fields: Any) -> Network:
    settings: dict[str, Any] = {"config": CONFIG, "epochs": task.epochs} | fields
    return train(task.network(), task, monitor=monitor, **settings)


def test_resuming_after_any_epoch_equals_never_having_stopped(digits: PreparedTask) -> None:
    straight_monitor = Recorder()
    straight = _train(digits, straight_monitor)
    for break_at in (1, 3, 5, 6):
        lost = Recorder(break_at=break_at)
        with pytest.raises(Lost):
            _train(digits, lost)
        resumed_monitor = Recorder(stored=lost.stored)
        resumed = _train(digits, resumed_monitor)
        assert same_weights(resumed, straight)
        assert lost.reports + resumed_monitor.reports == straight_monitor.reports
        assert lost.curves | resumed_monitor.curves == straight_monitor.curves


def test_a_request_to_stop_passes_through(iris: PreparedTask) -> None:
    with pytest.raises(StoppedEarly):
        _train(iris, Recorder(break_at=2, error=StoppedEarly))


def test_every_epoch_has_a_curve_and_the_rate_steps_down(iris: PreparedTask) -> None:
    monitor = Recorder()
    _train(iris, monitor)
    assert list(monitor.curves) == list(range(6))
    assert [values["learning_rate"] for values in monitor.curves.values()] == pytest.approx(
        [0.05, 0.05, 0.05, 0.005, 0.005, 0.0005]
    )
    assert all({"train_loss", "train_accuracy", "val_accuracy"} <= set(values) for values in monitor.curves.values())


def test_the_rate_of_a_cosine_falls_every_epoch_from_its_full_height(iris: PreparedTask) -> None:
    monitor = Recorder()
    _train(iris, monitor, config=TrainingConfig(learning_rate=0.05, schedule="cosine"))
    rates = [values["learning_rate"] for values in monitor.curves.values()]
    assert rates == pytest.approx([0.05, 0.046651, 0.0375, 0.025, 0.0125, 0.003349], abs=1e-6)


def test_a_size_that_training_decides_is_reported_and_kept_as_a_curve(iris: PreparedTask) -> None:
    monitor = Recorder()
    sizes = iter([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    _train(iris, monitor, size=lambda _: next(sizes))
    assert [size for _, _, size in monitor.reports] == [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert [values["size"] for values in monitor.curves.values()] == [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]


def test_a_phase_counts_on_and_reports_its_part_of_the_run(iris: PreparedTask) -> None:
    monitor = Recorder()
    phase = Phase(name="second", first_epoch=10, progress=(0.4, 1.0), size=0.25)
    network = _train(iris, monitor, phase=phase)
    assert list(monitor.curves) == list(range(10, 16))
    assert [progress for progress, _, _ in monitor.reports] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert {size for _, _, size in monitor.reports} == {0.25}
    assert monitor.reports[-1][1] == evaluate(network, iris.validation, iris)


def test_phases_of_one_run_see_the_samples_in_other_orders(iris: PreparedTask) -> None:
    first, second = (_train(iris, Recorder(), phase=Phase(first_epoch=epoch)) for epoch in (0, 6))
    assert not same_weights(first, second)


@pytest.mark.parametrize(("epochs", "reports"), [(20, 20), (45, 15), (7, 7), (1, 1)])
def test_long_schedules_are_validated_about_twenty_times_and_always_at_the_end(
    iris: PreparedTask, epochs: int, reports: int
) -> None:
    monitor = Recorder()
    _train(iris, monitor, epochs=epochs)
    assert len(monitor.reports) == reports
    assert monitor.reports[-1][0] == 1.0
    assert sum("val_accuracy" in values for values in monitor.curves.values()) == reports


def test_no_epochs_change_nothing(iris: PreparedTask) -> None:
    monitor = Recorder()
    assert same_weights(_train(iris, monitor, epochs=0), iris.network())
    assert not monitor.reports


def test_a_checkpoint_of_another_phase_is_not_taken_up(iris: PreparedTask) -> None:
    first = Recorder()
    _train(iris, first, phase=Phase(name="first"))
    second = Recorder(stored=first.stored)
    assert same_weights(_train(iris, second, phase=Phase(name="second")), _train(iris, Recorder()))
    assert len(second.reports) == 6


def test_what_a_method_carries_comes_back_with_its_checkpoint(iris: PreparedTask) -> None:
    monitor = Recorder()
    _train(iris, monitor, carry={"masks": [1, 2]})
    stored = monitor.resume()
    assert stored is not None
    assert stored["carry"] == {"masks": [1, 2]}


def test_removed_weights_stay_exactly_zero_under_momentum_and_weight_decay(digits: PreparedTask) -> None:
    network = digits.network()
    weights = prunable_weights(network)
    masks = magnitude_masks(weights, pruning_rate=0.7)
    apply_masks(weights, masks)
    before = copy.deepcopy(network)
    train(
        network,
        digits,
        config=CONFIG,
        epochs=2,
        monitor=Recorder(),
        after_backward=masked_gradients(weights, masks),
    )
    for weight, mask, old in zip(weights, masks, prunable_weights(before), strict=True):
        assert float(weight.detach()[~mask].abs().max()) == 0
        assert not bool((weight[mask] == old[mask]).all())


def test_what_would_be_delivered_is_reported_and_the_network_in_training_goes_to_the_curves(
    iris: PreparedTask,
) -> None:
    monitor = Recorder()
    untrained = iris.network()
    network = _train(iris, monitor, delivered=lambda _: untrained)
    constant = evaluate(untrained, iris.validation, iris)
    assert {accuracy for _, accuracy, _ in monitor.reports} == {constant}
    assert monitor.curves[5]["delivered_accuracy"] == constant
    assert monitor.curves[5]["val_accuracy"] == evaluate(network, iris.validation, iris) != constant
