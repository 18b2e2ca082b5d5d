"""When which part begins to morph, and at which learning rate it is trained. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from methods.morphing.config import GrowthConfig
from methods.morphing.parts import Part


@dataclass(frozen=True)
class ScheduledStep:
    """Epochs with so many morphing parts."""

    first_part: int
    """The first of those that begin to morph here."""
    parts: int
    """How many morph, from the first on."""
    stage: int
    """Of the last of them."""
    first_epoch: int
    """Counted over the run, from 0."""
    last_epoch: int
    """The first one that is of the next step."""
    warms_up: bool


def growth_steps(parts: Sequence[Part], budget: int, *, config: GrowthConfig) -> list[ScheduledStep]:
    """The steps of one run: part after part in order of computation, or all at once.

    Args:
        parts: All that shall morph.
        budget: Epochs of the task.

    Raises:
        ValueError: They do not fit the budget; the message says what would.
    """
    stops = [len(parts)] if config.one_shot else list(range(1, len(parts) + 1))
    needed = len(stops) * max(1, config.block_epochs)
    if needed > budget:
        raise ValueError(
            f"{len(stops)} growth steps of {max(1, config.block_epochs)} epochs take {needed}, and the task has "
            f"{budget}; give the task at least {needed} epochs, lower block_epochs, or set one_shot or `blocks: last`"
        )
    total = len(stops) * config.block_epochs or budget
    ends = [round(total * (number + 1) / len(stops)) for number in range(len(stops))]
    starts = [0, *ends[:-1]]
    return [
        ScheduledStep(
            first_part=0 if number == 0 else stops[number - 1],
            parts=stop,
            stage=parts[stop - 1].stage,
            first_epoch=starts[number],
            last_epoch=ends[number],
            warms_up=number == 0,
        )
        for number, stop in enumerate(stops)
    ]


def rate_at(step: ScheduledStep, epoch: int, *, config: GrowthConfig) -> float:
    """The share of every learning rate in an epoch of the run.

    A linear rise in the first growth step, then half a cosine to the floor; or steps of a tenth at a half and three
    quarters.
    """
    length, place = step.last_epoch - step.first_epoch, epoch - step.first_epoch
    if config.schedule == "step":
        return 0.1 ** sum(place >= math.ceil(length * share) for share in (0.5, 0.75))
    rising = int(config.warmup_share * length) if step.warms_up else 0
    if place < rising:
        return (place + 1) / (rising + 1)
    fallen = (place - rising) / (length - rising)
    return config.cosine_floor + (1 - config.cosine_floor) * 0.5 * (1 + math.cos(math.pi * fallen))
