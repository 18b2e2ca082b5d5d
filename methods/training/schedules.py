"""Learning rates by epoch. An epoch is 0-based within its schedule; one schedule serves one phase of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Schedule = Callable[[int], float]
"""Epoch, 0-based -> learning rate of that whole epoch."""


def step_schedule(epochs: int, *, learning_rate: float, milestones: Sequence[float], decay: float) -> Schedule:
    """A constant rate, multiplied by `decay` at each milestone.

    Args:
        epochs: Length of the schedule.
        learning_rate: The rate of epoch 0.
        milestones: Shares of the schedule in (0, 1); 0.5 of 160 epochs drops the rate before epoch 80.
        decay: Factor in (0, 1].
    """
    # Rounded first: 0.7 * 10 is 7.000000000000001 in binary and would drop the rate one epoch late.
    drops = [math.ceil(round(share * epochs, 9)) for share in milestones]

    def rate(epoch: int) -> float:
        return learning_rate * decay ** sum(epoch >= drop for drop in drops)

    return rate


def cosine_schedule(epochs: int, *, learning_rate: float) -> Schedule:
    """Half a cosine from `learning_rate` in epoch 0 towards 0 after the last."""

    def rate(epoch: int) -> float:
        return learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))

    return rate
