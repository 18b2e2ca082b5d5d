"""What the methods that end with a share of the weights removed have in common."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from methods.contract import Outcome
from methods.networks.graph import Network
from methods.registry import config_class, method_class
from methods.tasks import PreparedTask
from methods.training.loop import evaluate
from methods.training.masks import prunable_weights
from tests.methods.small_tasks import Recorder, a_task

LEFT_OUT = {"magnitude": 1, "gradual_magnitude": 1, "snip": 0, "grasp": 0, "rigl": 0}
"""Weights removed beyond floor(rate * n): a strict threshold takes one more."""

every_control = pytest.mark.parametrize("name", list(LEFT_OUT))


@pytest.fixture(scope="module")
def digits() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=5, fraction=0.2)


@pytest.fixture(scope="module")
def diabetes() -> PreparedTask:
    return a_task("diabetes", "mlp", widths=[32], epochs=30, batch_size=32)


def _fit(name: str, task: PreparedTask, monitor: Recorder, **fields: Any) -> Outcome:
    return method_class(name)(config_class(name)(**fields)).fit(task, {}, monitor)


def _left(network: Network) -> tuple[int, int]:
    flat = torch.cat([weight.detach().flatten() for weight in prunable_weights(network)])
    assert not bool(torch.signbit(flat[flat == 0]).any()), "negative zeros do not compress like the others"
    return int((flat != 0).sum()), flat.numel()


@every_control
@pytest.mark.parametrize("rate", [0.0, 0.9, 0.98])
def test_as_many_weights_are_left_as_the_rate_says(name: str, rate: float, digits: PreparedTask) -> None:
    monitor = Recorder()
    outcome = _fit(name, digits, monitor, pruning_rate=rate)
    (variant,) = outcome.variants
    left, total = _left(variant.network)
    wanted = total - math.floor(rate * total) - LEFT_OUT[name]
    if name == "rigl":
        # Grown weights start at zero, and behind a dead unit they stay there.
        assert 0.95 * wanted <= left <= wanted
    else:
        assert left == wanted
    assert outcome.facts["sparsity"] == variant.settings["sparsity"] == pytest.approx(1 - wanted / total)
    assert variant.settings["pruning_rate"] == rate
    assert monitor.reports[-1][2] == pytest.approx(wanted / total)
    assert outcome.epochs == digits.epochs


@every_control
@pytest.mark.parametrize("optimizer", [{}, {"optimizer": "adam", "learning_rate": 0.003}], ids=["sgd", "adam"])
def test_a_regression_is_pruned_and_still_speaks_in_raw_units(
    name: str, optimizer: dict[str, Any], diabetes: PreparedTask
) -> None:
    outcome = _fit(name, diabetes, Recorder(), **({"learning_rate": 0.01, "pruning_rate": 0.5} | optimizer))
    network = outcome.variants[0].network
    left, total = _left(network)
    assert left <= total - math.floor(0.5 * total)
    assert evaluate(network, diabetes.validation, diabetes) > 0.15


@every_control
def test_layers_that_lose_all_their_weights_are_noted(name: str, diabetes: PreparedTask) -> None:
    """One weight is left for two layers of together 352."""
    monitor = Recorder()
    outcome = _fit(name, diabetes, monitor, pruning_rate=(351 - LEFT_OUT[name] + 0.5) / 352)
    assert [int(weight.count_nonzero()) for weight in prunable_weights(outcome.variants[0].network)] in ([1, 0], [0, 1])
    assert [note.split(" in ")[0] for note in monitor.notes] == [f"{name}: no weight is left"]


@every_control
def test_the_smallest_budget_will_do_or_is_refused_with_the_mend(name: str) -> None:
    task = a_task("iris", "mlp", widths=[8], epochs=1, batch_size=64)
    if name == "magnitude":
        with pytest.raises(ValueError, match="at least 2 epochs"):
            _fit(name, task, Recorder())
        return
    left, total = _left(_fit(name, task, Recorder()).variants[0].network)
    assert left <= total - math.floor(0.9 * total) - LEFT_OUT[name]


@pytest.mark.parametrize("name", ["snip", "grasp", "rigl"])
def test_another_seed_leaves_other_weights(name: str) -> None:
    zeros = []
    for seed in (0, 1):
        task = a_task("iris", "mlp", widths=[16], epochs=1, seed=seed)
        zeros.append(prunable_weights(_fit(name, task, Recorder()).variants[0].network)[0] == 0)
    assert not torch.equal(*zeros)
