"""Slimmable networks without batch normalisation: what `metamorphic` does, over sliced weights instead of generated.

Ours, as a control: it has the same trained network, gates, growth, losses and widths, so that what is left between the
two is the generator.
"""

from __future__ import annotations

import torch

from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, UnsupportedTask
from methods.morphing.filters import strongest_first
from methods.morphing.growing import grow_network
from methods.morphing.morph import assembled
from methods.morphing.schedule import growth_steps
from methods.morphing.teacher import TEACHER, teacher_network
from methods.morphing.tensors import own_tensors
from methods.slimmable.config import SlimmableGatedConfig
from methods.slimmable.method import checked_parts, variant_of
from methods.slimmable.slicing import SlicedWeights


class SlimmableGated:
    """Trains slices of the study's dense network, its units in descending order of their L1 norm, block by block."""

    name = "slimmable_gated"
    version = 1
    Config = SlimmableGatedConfig

    def __init__(self, config: SlimmableGatedConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return (Prerequisite(TEACHER, self.config.source.changed()),)

    def check(self, info: TaskInfo) -> None:
        """Refuse regressions, and networks without layers whose width can change by itself."""
        if info.kind == "regression":
            raise UnsupportedTask(
                "slimmable_gated: its losses are those of a classification, and this task is a regression; use "
                "slimmable"
            )
        checked_parts(info, self.config, method=self.name)

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        """See `Method.fit`.

        Raises:
            UnsupportedTask: The growth steps do not fit the task's epochs.
            ValueError: There is no trained network, or it has learned nothing.
        """
        config = self.config
        parts = checked_parts(task.info, config, method=self.name)
        try:
            steps = growth_steps(parts, task.epochs, config=config)
        except ValueError as error:
            raise UnsupportedTask(f"slimmable_gated: {error}") from error
        skeleton = strongest_first(teacher_network(given, task, method=self.name), parts)
        source = SlicedWeights(parts, own_tensors(skeleton, parts))
        grown = grow_network(skeleton, parts, source, task, config=config, steps=steps, monitor=monitor)
        unused = torch.Generator(device=task.device)
        made = grown.source.tensors(config.widths, generator=unused)
        variants = [
            variant_of(assembled(grown.skeleton, parts, tensors, width=width, gates=grown.gates), width, config)
            for width, tensors in zip(config.widths, made, strict=True)
        ]
        return Outcome(variants=tuple(variants), epochs=float(steps[-1].last_epoch))
