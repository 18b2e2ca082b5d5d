"""Metamorphic networks: small coordinate networks generate the weights of one network at any width, without retraining.

Source: Sommariva, Calderara, Porrello, "How to Train Your Metamorphic Deep Neural Network", 2025, arXiv 2505.05510, of
which abstract and public code were at hand, and its base, Yang and Wang, "Neural Metamorphosis", ECCV 2024, arXiv
2410.11878, which is `blocks: last` without gate, copies and accumulation.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, UnsupportedTask, Variant
from methods.figures import Line, LineChart
from methods.metamorphic.config import MetamorphicConfig
from methods.metamorphic.drawing import MetamorphicGenerator, load_generator
from methods.metamorphic.permutation import smoothed
from methods.metamorphic.prefit import prefit
from methods.metamorphic.weight_source import GeneratedWeights
from methods.morphing.delivering import width_label
from methods.morphing.growing import grow_network
from methods.morphing.importance import block_importance
from methods.morphing.parts import Part, morphing_parts, units_at
from methods.morphing.schedule import ScheduledStep, growth_steps
from methods.morphing.teacher import TEACHER, teacher_network
from methods.morphing.tensors import own_tensors
from methods.networks.graph import Network
from methods.training.precision import task_precision

_PREFIT_STEPS = 500
_WIDE = 256
"""Hidden units from which bfloat16 pays: at 128 casting costs what the products gain."""


@dataclass(frozen=True)
class _Start:
    """The trained network as the generator is to find it."""

    skeleton: Network
    facts: dict[str, float]
    orders: tuple[tuple[int, ...] | None, ...] = ()


class Metamorphic:
    """Trains a generator on the study's dense network and delivers networks of many widths drawn from it.

    The generator itself is in the outcome, for any other width. While it trains, accuracy and size of the least trained
    width are reported.
    """

    name = "metamorphic"
    version = 1
    Config = MetamorphicConfig

    def __init__(self, config: MetamorphicConfig) -> None:
        self.config = config

    load_generator = staticmethod(load_generator)

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return (Prerequisite(TEACHER, self.config.source.changed()),)

    def check(self, info: TaskInfo) -> None:
        """Refuse regressions, and networks none of whose blocks can change its width."""
        if info.kind == "regression":
            raise UnsupportedTask(
                "metamorphic: its losses are those of a classification, and this task is a regression; use "
                "hypersparse, magnitude, odf2nna or scratch"
            )
        try:
            parts = morphing_parts(info.architecture, blocks=self.config.blocks)
            for width in (self.config.lowest_width, *self.config.widths):
                units_at(parts, width)
        except ValueError as error:
            raise UnsupportedTask(f"metamorphic: network '{info.network}': {error}") from error

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        """See `Method.fit`.

        Raises:
            UnsupportedTask: The growth steps do not fit the task's epochs.
            ValueError: There is no trained network, or it has learned nothing.
        """
        config = self.config
        try:
            parts = morphing_parts(task.info.architecture, blocks=config.blocks)
            steps = growth_steps(parts, task.epochs, config=config)
        except ValueError as error:
            raise UnsupportedTask(f"metamorphic: {error}") from error
        start = self._start(teacher_network(given, task, method=self.name))
        dtype = task_precision(task) if config.hidden >= _WIDE else torch.float32
        source = GeneratedWeights(parts, config=config, seed=task.seed, dtype=dtype)
        targets = [tensor.clone() for tensor in own_tensors(start.skeleton, parts)]

        def prepare(stop: int) -> None:
            first = next(step.first_part for step in steps if step.parts == stop)
            self._prefit(source, parts[:stop], targets, first_part=first, seed=task.seed)

        grown = grow_network(
            start.skeleton,
            parts,
            source,
            task,
            config=config,
            steps=steps,
            monitor=monitor,
            prepare=prepare,
            draws=min(config.draws, 4),
        )
        assert isinstance(grown.source, GeneratedWeights)
        generator = MetamorphicGenerator(
            skeleton=grown.skeleton.eval(),
            config=config,
            source=grown.source,
            gates=grown.gates,
            importance=torch.zeros(len(parts)),
            seed=task.seed,
            orders=start.orders,
        )
        generator = self._weighed(generator, task)
        return Outcome(
            variants=tuple(self._variants(generator, task.device)),
            epochs=_spent(steps),
            facts={
                **start.facts,
                "generator_parameters": generator.parameters,
                "morphing_blocks": len(parts),
                "growth_steps": len(steps),
            },
            figures=_gates_figure(parts, grown.gates),
            generator=generator,
        )

    def _start(self, teacher: Network) -> _Start:
        if not self.config.permute:
            return _Start(teacher, {})
        found = smoothed(teacher)
        facts = {"total_variation_before": found.variation_before, "total_variation": found.variation_after}
        return _Start(found.network, facts, found.orders)

    def _prefit(
        self, source: GeneratedWeights, parts: tuple[Part, ...], targets: list[Tensor], *, first_part: int, seed: int
    ) -> None:
        config = self.config
        steps = config.prefit_steps
        if steps is None:
            hidden = config.gate == "skipinit" and config.gate_start == 0 and all(part.total for part in parts)
            steps = 0 if hidden else _PREFIT_STEPS
        tensors = [2 * len(part.layers) for part in parts]
        prefit(
            source,
            parts,
            targets[: sum(tensors)],
            first=sum(tensors[:first_part]),
            steps=steps,
            learning_rate=config.prefit_learning_rate,
            lowest_width=config.lowest_width,
            seed=seed,
        )

    def _weighed(self, generator: MetamorphicGenerator, task: Task) -> MetamorphicGenerator:
        """With the importance of its blocks, where some may be left out."""
        if not generator.blocks:
            return generator
        network = copy.deepcopy(generator.draw(1.0).network).to(task.device)
        importance = block_importance(network, generator.parts, task.train, normalization=task.normalization)
        return replace(generator, importance=importance)

    def _variants(self, generator: MetamorphicGenerator, device: str) -> list[Variant]:
        variants = []
        for width in self.config.widths:
            drawn = generator.draw(width)
            network = drawn.network.to(device)
            variants.append(Variant(width_label(width), kind="whole", network=network, settings=drawn.settings))
        for share in self.config.depths:
            depth = _depth(generator, share)
            drawn = generator.draw(1.0, depth=depth)
            label = f"{width_label(1.0)}_depth_{drawn.settings['depth']}"
            variants.append(Variant(label, kind="whole", network=drawn.network.to(device), settings=drawn.settings))
        return variants


def _depth(generator: MetamorphicGenerator, share: float) -> list[int]:
    """Blocks of each stage when that share of those that can be left out stays."""
    return [
        least + round(share * (most - least))
        for least, most in zip(generator.least_blocks, generator.blocks, strict=True)
    ]


def _spent(steps: list[ScheduledStep]) -> float:
    return float(steps[-1].last_epoch)


def _gates_figure(parts: tuple[Part, ...], gates: Tensor | None) -> tuple[LineChart, ...]:
    if gates is None:
        return ()
    values = gates.cpu().tolist()
    lines = []
    for stage in sorted({part.stage for part in parts}):
        own = [(part.block, value) for part, value in zip(parts, values, strict=True) if part.stage == stage]
        lines.append(
            Line(
                label=f"stage {stage}",
                x=tuple(float(block) for block, _ in own),
                y=tuple(round(value, 6) for _, value in own),
            )
        )
    chart = LineChart(
        name="gates_by_block",
        title="Gate of each morphing block: how much of what it computes it adds",
        x_label="block of its stage",
        y_label="gate",
        lines=tuple(lines),
    )
    return (chart,)
