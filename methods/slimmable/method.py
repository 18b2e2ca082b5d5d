"""Slimmable networks: one network trained at many widths at once, each a slice of the full one.

Source: Yu and Huang, "Universally Slimmable Networks and Improved Training Techniques", ICCV 2019.
"""

from __future__ import annotations

from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, UnsupportedTask, Variant
from methods.morphing.config import TrainedWidths
from methods.morphing.delivering import width_label, width_settings
from methods.morphing.parts import Part, morphing_parts, units_at
from methods.networks.graph import Network
from methods.slimmable.config import SlimmableConfig
from methods.slimmable.sandwich import Sandwich
from methods.training.targets import in_standard_units, to_raw_units


class Slimmable:
    """Trains from scratch by the sandwich rule; batch normalisation is calibrated for each delivered width."""

    name = "slimmable"
    version = 1
    Config = SlimmableConfig

    def __init__(self, config: SlimmableConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return ()

    def check(self, info: TaskInfo) -> None:
        """Refuse networks without layers whose width can change by itself."""
        checked_parts(info, self.config, method=self.name)

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        """See `Method.fit`."""
        del given
        parts = checked_parts(task.info, self.config, method=self.name)
        training = Sandwich(task.network(), parts, in_standard_units(task), self.config)
        training.follow(task.epochs, monitor)
        variants = [
            variant_of(to_raw_units(training.at(width), task), width, self.config) for width in self.config.widths
        ]
        return Outcome(variants=tuple(variants), epochs=task.epochs)


def checked_parts(info: TaskInfo, config: TrainedWidths, *, method: str) -> tuple[Part, ...]:
    """The parts that morph.

    Raises:
        UnsupportedTask: There are none, or a width leaves a layer no unit.
    """
    try:
        parts = morphing_parts(info.architecture, blocks=config.blocks)
        for width in (config.lowest_width, *config.widths):
            units_at(parts, width)
    except ValueError as error:
        raise UnsupportedTask(f"{method}: network '{info.network}': {error}") from error
    return parts


def variant_of(network: Network, width: float, config: TrainedWidths) -> Variant:
    """One width as delivered."""
    settings = width_settings(width, trained=(config.lowest_width, config.highest_width))
    return Variant(width_label(width), kind="whole", network=network, settings=settings)
