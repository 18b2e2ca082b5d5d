from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from methods.gradual_magnitude.config import GradualMagnitudeConfig
from methods.gradual_magnitude.method import GradualMagnitude
from methods.gradual_magnitude.ramp import pruning_steps
from methods.tasks import PreparedTask
from methods.training.batches import num_batches
from methods.training.masks import kept_share
from tests.methods.small_tasks import Lost, Recorder, a_task, same_weights


class _Masks(Recorder):
    """Remembers the masks and the weights of every checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[list[Tensor]] = []
        self.steps: list[int] = []

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        self.masks.append(state["carry"]["masks"])
        self.steps.append(state["carry"]["step"])
        super().checkpoint(state)


@pytest.fixture(scope="module")
def digits() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=10, fraction=0.2)


def test_sparsity_follows_the_ramp_and_no_weight_comes_back(digits: PreparedTask) -> None:
    monitor = _Masks()
    GradualMagnitude(GradualMagnitudeConfig(pruning_rate=0.95)).fit(digits, {}, monitor)
    per_epoch = num_batches(len(digits.train), batch_size=digits.batch_size)
    assert monitor.steps == [per_epoch * epoch for epoch in range(1, 11)]
    ramp = pruning_steps(10 * per_epoch, begin_share=0.2, end_share=0.75, updates=55, pruning_rate=0.95)
    for step, masks in zip(monitor.steps, monitor.masks, strict=True):
        reached = max((sparsity for at, sparsity in ramp.items() if at < step), default=0.0)
        assert 1 - kept_share(masks) == pytest.approx(reached, abs=1e-3)
    for earlier, later in zip(monitor.masks, monitor.masks[1:], strict=False):
        assert not any(bool((new & ~old).any()) for old, new in zip(earlier, later, strict=True))
    assert kept_share(monitor.masks[1]) == 1.0, "dense until the ramp begins"
    assert all(torch.equal(*pair) for pair in zip(monitor.masks[7], monitor.masks[9], strict=True)), "then frozen"


def test_before_the_end_of_the_ramp_the_pruned_accuracy_is_reported_not_the_dense_one(digits: PreparedTask) -> None:
    monitor = Recorder()
    GradualMagnitude(GradualMagnitudeConfig(pruning_rate=0.97)).fit(digits, {}, monitor)
    assert [report[1] for report in monitor.reports] == [
        values["delivered_accuracy"] for values in monitor.curves.values()
    ]
    assert monitor.curves[1]["delivered_accuracy"] < monitor.curves[1]["val_accuracy"]
    assert monitor.curves[9]["delivered_accuracy"] == monitor.curves[9]["val_accuracy"]


@pytest.mark.parametrize("break_at", [1, 4, 6, 9])
def test_resuming_within_the_ramp_leaves_no_trace(digits: PreparedTask, break_at: int) -> None:
    method = GradualMagnitude(GradualMagnitudeConfig())
    straight = method.fit(digits, {}, Recorder())
    lost = Recorder(break_at=break_at)
    with pytest.raises(Lost):
        method.fit(digits, {}, lost)
    resumed = method.fit(digits, {}, Recorder(stored=lost.stored))
    assert same_weights(straight.variants[0].network, resumed.variants[0].network)
    assert straight.facts == resumed.facts


def test_a_ramp_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"begin_share 0\.8 is not below end_share 0\.75"):
        GradualMagnitudeConfig(begin_share=0.8)
