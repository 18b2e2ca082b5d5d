"""When and how many weights RigL replaces; pure numbers.

Source: Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

PAPER_STEPS = 32_000
"""Of the paper's schedule on ImageNet. On CIFAR-10 it takes 97,656, with the same 100 steps between updates."""
LEAST_INTERVAL = 10
"""A scaled interval stays above this, because a grown weight starts at zero and needs steps to be no longer among the
smallest, and because the weights rest in each update. [ours]"""


@dataclass(frozen=True)
class UpdateSchedule:
    """Updates in every step that is a multiple of `interval`, the first included, and below `end`."""

    interval: int
    end: int
    drop_fraction: float

    def is_due(self, step: int) -> bool:
        return step < self.end and step % self.interval == 0

    def replaced_share(self, step: int) -> float:
        """Share of a layer's living weights to replace: alpha / 2 (1 + cos(pi t / T_end))."""
        return self.drop_fraction / 2 * (1 + math.cos(math.pi * step / self.end))

    @property
    def count(self) -> int:
        """Of all updates."""
        return math.ceil(self.end / self.interval)


def plan_updates(steps: int, *, update_interval: int, end_share: float, drop_fraction: float) -> UpdateSchedule:
    """The paper's schedule on a budget of so many steps.

    On 32,000 steps or more the interval is taken as it is. Fewer steps scale it, so that there are as many updates,
    but not below `LEAST_INTERVAL` (or the interval itself where that is smaller). [ours]
    """
    scaled = min(update_interval, round(update_interval * steps / PAPER_STEPS))
    interval = max(scaled, min(LEAST_INTERVAL, update_interval))
    return UpdateSchedule(interval=interval, end=max(1, round(end_share * steps)), drop_fraction=drop_fraction)
