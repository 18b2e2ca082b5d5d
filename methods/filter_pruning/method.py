"""Filters of a trained network removed by their norm, without any training after: the control of metamorphic networks.

Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, which retrains afterwards; left out as in the
comparisons of Neural Metamorphosis (Yang and Wang, ECCV 2024, arXiv 2410.11878).
"""

from __future__ import annotations

from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, UnsupportedTask, Variant
from methods.filter_pruning.config import FilterPruningConfig
from methods.morphing.delivering import width_label, width_settings
from methods.morphing.filters import filter_scores, strongest
from methods.morphing.parts import Part, morphing_parts, units_at
from methods.morphing.teacher import TEACHER, teacher_network
from methods.surgery import extract
from methods.training.loop import evaluate


class FilterPruning:
    """Cuts the study's dense network to several widths, each from the trained weights."""

    name = "filter_pruning"
    version = 1
    Config = FilterPruningConfig

    def __init__(self, config: FilterPruningConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return (Prerequisite(TEACHER, self.config.source.changed()),)

    def check(self, info: TaskInfo) -> None:
        """Refuse networks without layers whose width can change by itself."""
        self._units(info)

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        """See `Method.fit`; no epoch is spent.

        Raises:
            ValueError: There is no trained network, or it has learned nothing.
        """
        units = self._units(task.info)
        network = teacher_network(given, task, method=self.name)
        scores = filter_scores(network, self._parts(task.info), criterion=self.config.criterion, seed=task.seed)
        variants = []
        full = sum(parameter.numel() for parameter in network.parameters())
        for number, width in enumerate(self.config.widths, start=1):
            cut = extract(network, {site: strongest(scores[site], count) for site, count in units[width].items()})
            settings = width_settings(width, trained=None)
            variants.append(Variant(width_label(width), kind="whole", network=cut, settings=settings))
            size = sum(parameter.numel() for parameter in cut.parameters()) / full
            accuracy = evaluate(cut, task.validation, task)
            monitor.report(number / len(self.config.widths), max(0.0, accuracy), size)
        return Outcome(variants=tuple(variants), epochs=0, facts={"criterion": self.config.criterion})

    def _parts(self, info: TaskInfo) -> tuple[Part, ...]:
        return morphing_parts(info.architecture, blocks=self.config.blocks)

    def _units(self, info: TaskInfo) -> dict[float, dict[str, int]]:
        """Units of each site by width."""
        try:
            parts = self._parts(info)
            return {width: units_at(parts, width) for width in self.config.widths}
        except ValueError as error:
            raise UnsupportedTask(f"filter_pruning: network '{info.network}': {error}") from error
