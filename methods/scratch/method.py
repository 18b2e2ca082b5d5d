"""A plain network of the pruned size, trained from scratch: what pruning must beat to be worth its trouble."""

from __future__ import annotations

from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, UnsupportedTask, Variant
from methods.json_value import Json
from methods.morphing.delivering import width_settings
from methods.morphing.parts import morphing_parts, units_at
from methods.networks.graph import Network
from methods.scratch.config import ScratchConfig
from methods.training.loop import Phase, spent_epochs, train
from methods.training.targets import in_standard_units, to_raw_units

_BISECTIONS = 24
"""Halvings of the interval of widths: 2^-24 is far below one unit of any layer."""


class Scratch:
    """Finds the width whose network has the wanted share of the dense parameters; trains it for the whole budget.

    With `inner_width` it trains the network that a metamorphic or slimmable one has at that width.
    """

    name = "scratch"
    version = 1
    Config = ScratchConfig

    def __init__(self, config: ScratchConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return ()

    def check(self, info: TaskInfo) -> None:
        """Every task will do, but for `inner_width`, which needs layers whose width can change by itself."""
        if self.config.inner_width is not None:
            _inner_units(info, self.config)

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        del given
        epochs = spent_epochs(self.config, task, method=self.name)
        network, settings = self._narrow(task, monitor)
        train(
            network,
            in_standard_units(task),
            config=self.config,
            epochs=epochs,
            monitor=monitor,
            phase=Phase(name="scratch", size=min(1.0, _share(network, task))),
        )
        variant = Variant("scratch", kind="whole", network=to_raw_units(network, task), settings=settings)
        return Outcome(variants=(variant,), epochs=epochs, facts=settings)

    def _narrow(self, task: Task, monitor: Monitor) -> tuple[Network, dict[str, Json]]:
        """A fresh network of the wanted size, and what is to be said of it."""
        if self.config.inner_width is not None:
            network = task.network(units=_inner_units(task.info, self.config))
            width = width_settings(self.config.inner_width, trained=None)
            return network, {**width, "keep_share": _share(network, task)}
        width_of_all = nearest_width(task, keep_share=self.config.keep_share)
        network = task.network(width=width_of_all)
        share = _share(network, task)
        if not 0.5 <= share / self.config.keep_share <= 2:
            monitor.note(
                f"scratch: the network nearest to a share of {self.config.keep_share:g} of the dense parameters "
                f"holds {share:.4g}"
            )
        return network, {"width": width_of_all, "keep_share": share}


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


def _share(network: Network, task: Task) -> float:
    """Parameters as a share of the dense network's."""
    return _count(network) / _count(task.network())


def _inner_units(info: TaskInfo, config: ScratchConfig) -> dict[str, int]:
    assert config.inner_width is not None
    try:
        return units_at(morphing_parts(info.architecture, blocks=config.blocks), config.inner_width)
    except ValueError as error:
        raise UnsupportedTask(f"scratch: network '{info.network}': {error}") from error
