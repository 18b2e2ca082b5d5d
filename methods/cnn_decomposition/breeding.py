"""CNNSplitter's search: for each class a population of candidate modules, all of them bred in lock step.

Source: Qi et al., "Patching Weak Convolutional Neural Network Models through Modularization and Composition" (ASE 2022,
arXiv 2209.06116), and its public code, qibinhang/CNNSplitter. Everything random is drawn from the run's seed and the
number of the generation, so a search can be repeated, and goes on from any generation.

Shapes: N = classes, S = candidates of a class, G = genes, V = samples, K = logits, C = kernels of a layer,
L = layers, U = kernels of all layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.cnn_decomposition.candidates import CandidateRunner
from methods.cnn_decomposition.cnnsplitter_config import CnnSplitterConfig
from methods.cnn_decomposition.fitness import (
    TournamentResult,
    accuracy_weight,
    composition_accuracy,
    tournament,
)
from methods.cnn_decomposition.genetic import (
    Groups,
    Population,
    draw_cuts,
    fittest,
    initial_population,
    kept_kernels,
    mutated_genes,
    next_population,
)
from methods.cnn_decomposition.history import History
from methods.cnn_decomposition.layers import (
    MaskedLayer,
    kernel_retention,
    kernel_sets,
    mean_difference,
    with_first_kernel,
)
from methods.cnn_decomposition.module_sizes import mean_module_share
from methods.contract import Monitor
from methods.crew import spread
from methods.networks.architecture import Architecture

_ORDER, _CUTS, _MUTATIONS, _START = range(4)
"""What a stream of random numbers is for."""
_PART = 64
"""Candidates that run together, and that one process does at a time; the same however many there are."""


_Memory = dict[tuple[int, bytes], Tensor]
"""Logits (V,) of a candidate by its class and chromosome."""


@dataclass
class Course:
    """What a search has come to, generation by generation."""

    history: History = field(default_factory=History)
    """Of the best composition of each generation."""
    differences: list[float] = field(default_factory=list)
    """Mean 1 - Jaccard index of its modules."""
    values: list[float] = field(default_factory=list)
    """alpha * accuracy + (1 - alpha) * difference, by which the generation is chosen."""
    best_accuracies: list[float] = field(default_factory=list)
    """Of the fittest composition of the tournament, on the samples that judge fitness."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def best(self) -> int:
        """The generation of the highest value, of equal ones the first. The initial one counts only if it is alone."""
        later = range(1, len(self)) if len(self) > 1 else range(len(self))
        return max(later, key=lambda generation: (self.values[generation], -generation))

    def state(self) -> dict[str, Any]:
        return {
            "history": self.history.state(),
            "differences": list(self.differences),
            "values": list(self.values),
            "best_accuracies": list(self.best_accuracies),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Course:
        return cls(
            History.from_state(state["history"]),
            list(state["differences"]),
            list(state["values"]),
            list(state["best_accuracies"]),
        )


@dataclass(frozen=True)
class Ground:
    """What all generations of a search have in common."""

    architecture: Architecture
    layers: tuple[MaskedLayer, ...]
    groups: Sequence[Sequence[Groups]]
    """Of each class and layer the kernels in groups, by their importance for the class."""
    keep_ratios: Sequence[Sequence[float]]
    """Of each layer the shares of groups that initial candidates keep."""
    runner: CandidateRunner
    """On the samples that judge fitness."""
    labels: Tensor
    """Of these samples, int64 (V,) on the CPU."""
    choosing: tuple[CandidateRunner, Tensor] | None
    """The samples, and their labels, on which the generation is chosen; None: those that judge fitness."""
    seed: int

    @property
    def num_classes(self) -> int:
        return len(self.groups)

    def random(self, purpose: int, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, *numbers])


def breed(
    ground: Ground,
    *,
    config: CnnSplitterConfig,
    generations: int,
    monitor: Monitor,
    stored: dict[str, Any] | None,
    more_state: dict[str, Any],
) -> Course:
    """Search for as many generations after the initial one, or until nothing improves any more.

    Args:
        stored: The state of an earlier attempt; resuming equals never having stopped.
        more_state: Kept beside the search's own in each checkpoint.

    Raises:
        StoppedEarly: From the monitor.
    """
    course, populations = _begin(ground, config, stored)
    if len(course) and _ended(course, config):
        return course
    memory: _Memory = {}
    told_of_emptied = bool(stored and stored["told_of_emptied"])
    for generation in range(len(course), generations + 1):
        kept, emptied = _decoded(ground, populations)
        if emptied and not told_of_emptied:
            told_of_emptied = True
            monitor.note(
                f"a candidate of generation {generation} kept no kernel of layer {ground.layers[emptied[0]].name}; it "
                "keeps kernel 0 there, as every module does wherever it would keep none"
            )
        logits_NSV, memory = _evaluated(ground, populations, kept, memory)
        result = _judged(ground, config, course, kept, logits_NSV, generation)
        _record(ground, config, course, kept, logits_NSV, result, monitor, generation)
        if generation < generations:
            populations = _bred(ground, config, populations, result, generation)
        monitor.checkpoint(
            {
                "phase": "breed",
                "course": course.state(),
                "populations": torch.from_numpy(np.stack(populations).astype(np.uint8)),
                "told_of_emptied": told_of_emptied,
                **more_state,
            }
        )
        best = course.best
        ended = _ended(course, config)
        progress = 1.0 if ended else (generation + 1) / (generations + 1)
        monitor.report(progress, course.history.accuracies[best], course.history.sizes[best])
        if ended:
            break
    return course


def _begin(ground: Ground, config: CnnSplitterConfig, stored: dict[str, Any] | None) -> tuple[Course, list[Population]]:
    if stored is not None:
        populations = stored["populations"].numpy().astype(np.bool_)
        return Course.from_state(stored["course"]), list(populations)
    first = initial_population(
        [len(groups) for groups in ground.groups[0]],
        ground.keep_ratios,
        size=config.population,
        generator=ground.random(_START),
    )
    # The same chromosomes for all classes; what they mean differs with the classes' rankings of kernels.
    return Course(), [first.copy() for _ in range(ground.num_classes)]


def _decoded(ground: Ground, populations: Sequence[Population]) -> tuple[list[list[Tensor]], list[int]]:
    """Of each class the kernels that its candidates keep, bool (S, C) per layer, and the layers where one had none."""
    kept, emptied = [], set[int]()
    for groups, population in zip(ground.groups, populations, strict=True):
        decoded = [torch.from_numpy(kept_SC) for kept_SC in kept_kernels(population, groups)]
        mended, layers = with_first_kernel(decoded)
        kept.append(mended)
        emptied.update(layers)
    return kept, sorted(emptied)


def _evaluated(
    ground: Ground, populations: Sequence[Population], kept: Sequence[Sequence[Tensor]], memory: _Memory
) -> tuple[list[Tensor], _Memory]:
    """Logits (S, V) of each class's candidates; those that were in the last generation too are not computed again.

    The fittest, which stay as they are, and all doubles cost nothing that way. What is remembered is one generation:
    two bytes for each class, candidate and sample.
    """
    keys = [
        [(label, row.tobytes()) for row in np.packbits(population, axis=1)]
        for label, population in enumerate(populations)
    ]
    new: dict[tuple[int, bytes], int] = {}
    for of_class in keys:
        for row, key in enumerate(of_class):
            if key not in memory and key not in new:
                new[key] = row
    if new:
        rows = list(new.items())
        candidates = [
            torch.stack([kept[label][layer][row] for (label, _), row in rows]) for layer in range(len(ground.layers))
        ]
        class_R = torch.tensor([label for (label, _), _ in rows])
        parts = [
            ([kept_RC[own] for kept_RC in candidates], class_R[own])
            for own in torch.split(torch.arange(len(rows)), _PART)
        ]
        computed = torch.cat(spread(_class_logits, ground.runner, parts))
        # Copied: a view that is remembered would keep all that it was computed with.
        memory = memory | {key: row.clone() for key, row in zip(new, computed, strict=True)}
    memory = {key: memory[key] for of_class in keys for key in of_class}
    return [torch.stack([memory[key] for key in of_class]) for of_class in keys], memory


def _class_logits(runner: CandidateRunner, part: tuple[list[Tensor], Tensor]) -> Tensor:
    return runner.class_logits(*part)


def _judged(
    ground: Ground,
    config: CnnSplitterConfig,
    course: Course,
    kept: Sequence[Sequence[Tensor]],
    logits: Sequence[Tensor],
    generation: int,
) -> TournamentResult:
    best_before = course.best_accuracies[-1] if course.best_accuracies else None
    return tournament(
        logits,
        ground.labels,
        [kernel_sets(ground.layers, kept_of_class) for kept_of_class in kept],
        order=ground.random(_ORDER, generation).permutation(ground.num_classes).tolist(),
        accuracy_weight=accuracy_weight(best_before, alpha=config.alpha, gamma=config.gamma),
        difference_weight=1 - config.alpha,
        thresholds=_thresholds(config, ground.num_classes),
        survivor=generation > 0,
    )


def _thresholds(config: CnnSplitterConfig, num_classes: int) -> dict[int, float]:
    """By the number of classes in a block, as its round has it."""
    by_size: dict[int, float] = {}
    sizes, number = [1] * num_classes, 0
    while len(sizes) > 1:
        merged = [sum(sizes[place : place + 2]) for place in range(0, len(sizes), 2)]
        threshold = config.thresholds[min(number, len(config.thresholds) - 1)]
        for size in merged:
            by_size.setdefault(size, threshold)
        sizes, number = merged, number + 1
    return by_size


def _record(
    ground: Ground,
    config: CnnSplitterConfig,
    course: Course,
    kept: Sequence[Sequence[Tensor]],
    logits: Sequence[Tensor],
    result: TournamentResult,
    monitor: Monitor,
    generation: int,
) -> None:
    """The composition of each class's fittest candidate is what the generation stands for."""
    chosen = [fittest(fitness_S) for fitness_S in result.fitness]
    modules = [
        torch.stack([kept[label][layer][row] for label, row in enumerate(chosen)])
        for layer in range(len(ground.layers))
    ]
    if ground.choosing is None:
        scores_NV = torch.stack([logits_SV[row] for logits_SV, row in zip(logits, chosen, strict=True)])
        accuracy = composition_accuracy(scores_NV.T, ground.labels)
    else:
        runner, labels = ground.choosing
        accuracy = composition_accuracy(runner.class_logits(modules, torch.arange(ground.num_classes)).T, labels)
    difference = mean_difference(ground.layers, modules)
    retention = float(kernel_retention(ground.layers, modules).mean())
    size = mean_module_share(
        ground.architecture, ground.layers, modules, outputs_MK=torch.eye(ground.num_classes, dtype=torch.bool)
    )
    course.history.add(accuracy, retention, size, modules)
    course.differences.append(difference)
    course.values.append(config.alpha * accuracy + (1 - config.alpha) * difference)
    course.best_accuracies.append(result.accuracy)
    monitor.curve(
        generation,
        val_accuracy=accuracy,
        kernel_retention=retention,
        size=size,
        module_difference=difference,
        best_fitness=result.best_fitness,
        mean_fitness=float(np.mean([fitness_S.mean() for fitness_S in result.fitness])),
    )


def _bred(
    ground: Ground,
    config: CnnSplitterConfig,
    populations: Sequence[Population],
    result: TournamentResult,
    generation: int,
) -> list[Population]:
    num_genes = populations[0].shape[1]
    cuts: NDArray[np.int64] = draw_cuts(
        config.population - config.num_kept, num_genes, ground.random(_CUTS, generation)
    )
    return [
        next_population(
            population,
            fitness_S,
            cuts,
            num_parents=config.num_parents,
            num_kept=config.num_kept,
            num_mutated=mutated_genes(num_genes, config.mutation),
            generator=ground.random(_MUTATIONS, generation, label),
        )
        for label, (population, fitness_S) in enumerate(zip(populations, result.fitness, strict=True))
    ]


def _ended(course: Course, config: CnnSplitterConfig) -> bool:
    return 0 < config.patience <= len(course) - 1 - course.best
