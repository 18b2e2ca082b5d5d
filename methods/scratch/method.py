"""A plain network of the pruned size, trained from scratch: what pruning must beat to be worth its trouble."""

from __future__ import annotations

from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, Variant
from methods.networks.graph import Network
from methods.scratch.config import ScratchConfig
from methods.training.loop import Phase, train
from methods.training.targets import in_standard_units, to_raw_units

_BISECTIONS = 24
"""Halvings of the interval of widths: 2^-24 is far below one unit of any layer."""


class Scratch:
    """Finds the width whose network has the wanted share of the dense parameters; trains it for the whole budget."""

    name = "scratch"
    version = 1
    Config = ScratchConfig

    def __init__(self, config: ScratchConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return ()

    def check(self, info: TaskInfo) -> None:
        """Every task will do."""

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        del given
        width = nearest_width(task, keep_share=self.config.keep_share)
        network = task.network(width=width)
        share = _count(network) / _count(task.network())
        if not 0.5 <= share / self.config.keep_share <= 2:
            monitor.note(
                f"scratch: the network nearest to a share of {self.config.keep_share:g} of the dense parameters "
                f"holds {share:.4g}"
            )
        train(
            network,
            in_standard_units(task),
            config=self.config,
            epochs=task.epochs,
            monitor=monitor,
            phase=Phase(name="scratch", size=share),
        )
        settings = {"width": width, "keep_share": share}
        variant = Variant("scratch", kind="whole", network=to_raw_units(network, task), settings=settings)
        return Outcome(variants=(variant,), epochs=task.epochs, facts=settings)


def nearest_width(task: Task, *, keep_share: float) -> float:
    """The width in (0, 1] whose network comes nearest to `keep_share` of the dense parameters.

    Several widths round to the same units per layer; which of them is returned depends on the architecture alone.
    """
    target = keep_share * _count(task.network())
    low, high = 0.0, 1.0
    counts = {1.0: _count(task.network())}
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        counts[middle] = _count(task.network(width=middle))
        low, high = (middle, high) if counts[middle] < target else (low, middle)
    # Of equally near widths the largest: the one closest to where the bisection came from.
    return max(counts, key=lambda width: (-abs(counts[width] - target), width))


def _count(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
