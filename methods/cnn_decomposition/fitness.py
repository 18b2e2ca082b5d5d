"""How good candidate modules are, judged by the compositions that they take part in: the fitness of CNNSplitter.

Source: Qi et al., "Patching Weak Convolutional Neural Network Models through Modularization and Composition" (ASE 2022,
arXiv 2209.06116) and its public code, qibinhang/CNNSplitter. A composition takes one candidate of each class; as all of
them are too many, classes are merged like in a tournament, and only the best compositions go on to the next round.

Equal logits are decided for the lower class, as everywhere in this project and in a composition that is put to use. The
public code stacks the columns in the order in which classes were merged, which it shuffles anew for every generation,
so that there the same composition may have two accuracies.

Shapes: C = classes, S = candidates of a class, V = samples, U = kernels of all layers, T = compositions of a block,
R = compositions of all classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.cnn_decomposition.duels import Block, join, right_when_joined, single_blocks
from methods.measure.subtasks import check_labels, restricted_accuracy

DEFAULT_THRESHOLDS = (0.95, 0.95, 0.85, 0.80)
"""Accuracy from which a composition goes on, by round; later rounds have the last one."""

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class TournamentResult:
    """What the compositions that were left tell of the candidates and of themselves."""

    fitness: list[Floats]
    """Of each class (S,): the largest fitness of a composition below that has the candidate, else 0."""
    best: tuple[int, ...]
    """The candidate of each class in the fittest composition, of equals the first below."""
    accuracy: float
    """Of the best composition, as the next two."""
    difference: float
    best_fitness: float
    compositions: Indices
    """(R, C): the candidate of each class in the compositions left at the end, the fittest first; where the survivor
    had to be brought back, it comes last."""
    accuracies: Floats
    """(R,), 0 to 1, as the differences."""
    differences: Floats
    fitnesses: Floats


@dataclass(frozen=True)
class _Merged:
    """The compositions of some classes that are still in the tournament, and what is known of them."""

    classes: tuple[int, ...]
    candidates: Indices
    """(T, classes), in their order."""
    block: Block
    distances: Floats
    """(T,), summed over all pairs of these classes."""
    accuracies: Floats
    """(T,)"""
    fitnesses: Floats
    """(T,)"""


@dataclass(frozen=True)
class _Rules:
    """What decides which compositions go on."""

    accuracy_weight: float
    difference_weight: float
    thresholds: Mapping[int, float]
    keep: tuple[int, int]
    survivor: bool

    def threshold(self, block_size: int, round_number: int) -> float:
        by_round = DEFAULT_THRESHOLDS[min(round_number, len(DEFAULT_THRESHOLDS) - 1)]
        return self.thresholds.get(block_size, by_round)


def composition_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of samples whose largest score is that of their own module; of equal scores the first column wins.

    Args:
        logits: (V, C), a column for each module.
        labels: int64 (V,), columns.

    Raises:
        ValueError: Shapes or labels that do not fit, or no samples.
    """
    return restricted_accuracy(logits, labels, range(logits.shape[-1]))


def accuracy_weight(best_accuracy: float | None, *, alpha: float, gamma: float) -> float:
    """The weight of accuracy in the fitness: alpha, and more for as long as compositions are worse than gamma.

    Args:
        best_accuracy: Of the previous generation's best composition; None in the first generation.
        alpha: 0.9 in the publication. The weight of the difference is 1 - alpha; the two need not make 1.
        gamma: Accuracy to reach, 0.90 or 0.95 in the publication.
    """
    return alpha if best_accuracy is None else alpha + max(0.0, gamma - best_accuracy)


def jaccard_distances(sets_a: Tensor, sets_b: Tensor) -> Tensor:
    """How different sets are: 1 less the share that two have in common of all that is in either.

    Args:
        sets_a: Bool (A, U).
        sets_b: Bool (B, U), on the same device.

    Returns:
        Float32 (A, B), 0 for equal sets to 1 for disjoint ones. Two empty sets are equal, distance 0: modules that keep
        nothing shall not count as different.

    Raises:
        ValueError: Not bool sets of the same elements.
    """
    for sets in (sets_a, sets_b):
        if sets.dtype != torch.bool or sets.dim() != 2 or sets.shape[1] != sets_a.shape[1]:
            raise ValueError(
                f"jaccard_distances: {sets_a.dtype} {tuple(sets_a.shape)} and {sets_b.dtype} {tuple(sets_b.shape)}; "
                "give two bool tensors (sets, elements) with the same elements"
            )
    return _distances(sets_a.float(), sets_b.float())


def tournament(
    logits: Tensor | Sequence[Tensor],
    labels: Tensor,
    sets: Sequence[Tensor],
    *,
    order: Sequence[int],
    accuracy_weight: float,
    difference_weight: float,
    thresholds: Mapping[int, float],
    keep: tuple[int, int] = (50, 500),
    survivor: bool = False,
) -> TournamentResult:
    """Fitness of every candidate of every class by merging neighbours in rounds.

    A composition of some classes has an *accuracy*, on the samples of these classes, a *difference*, the mean distance
    of its candidates' kernel sets over all pairs of its classes, and as fitness their weighted sum. In each round every
    composition of a block is joined with every one of the block next to it; a last block without neighbour waits. Of
    the joined ones the most accurate go on: those that reach the threshold, but no fewer and no more than `keep` says.
    Equally good ones keep the order of the candidates' indices.

    Memory: C * S * V bytes for ranks, twice that where a class has more than 255 candidates, and four times that while
    logits in half precision are ranked; `keep[1]` * V for each block; C * S * U * 4 for kernel sets; 64 for each pair
    in a join. At 10 classes of 100 candidates and 10,000 samples that is below 120 MB.

    Args:
        logits: Of each class (S, V): the logit of this class on every sample, of every candidate. S may differ between
            classes where a list is given. On any device, float16 to float64.
        labels: int64 (V,).
        sets: Of each class bool (S, U): which kernels of which layers each candidate keeps.
        order: All classes, shuffled: neighbours are merged first.
        accuracy_weight: At least 0; see the function of this name.
        difference_weight: At least 0.
        thresholds: By the number of classes of a block the accuracy from which its compositions go on; sizes that are
            missing have `DEFAULT_THRESHOLDS`, sizes that do not occur are of no account.
        keep: Least and most compositions that go on from a join.
        survivor: Whether the composition of all candidates 0, the best of the previous generation, must go on from
            every join; brought back it comes last.

    Raises:
        ValueError: Fewer than two classes, a class without samples or candidates, a logit that is not a number, or
            arguments that do not fit each other.
    """
    _check_weights(accuracy_weight, difference_weight, thresholds, keep)
    _check_candidates(logits, labels, sets)
    if sorted(order) != list(range(len(logits))):
        raise ValueError(f"tournament: order {list(order)}; name each of the classes 0 to {len(logits) - 1} once")
    rules = _Rules(accuracy_weight, difference_weight, thresholds, keep, survivor)
    blocks = [
        _Merged((label,), np.arange(len(block))[:, None], block, *np.zeros((3, len(block))))
        for label, block in zip(order, single_blocks(list(logits), labels.cpu(), order), strict=True)
    ]
    members = [sets_SU.float() for sets_SU in sets]
    round_number = 0
    while len(blocks) > 1:
        pairs = zip(blocks[::2], blocks[1::2], strict=False)
        waiting = blocks[len(blocks) // 2 * 2 :]
        blocks = [_merge(a, b, members, rules, round_number) for a, b in pairs] + waiting
        round_number += 1
    return _result(blocks[0], [len(logits_SV) for logits_SV in logits])


def _merge(a: _Merged, b: _Merged, sets: Sequence[Tensor], rules: _Rules, round_number: int) -> _Merged:
    classes = a.classes + b.classes
    num_pairs = len(classes) * (len(classes) - 1) // 2
    accuracy_AB = right_when_joined(a.block, b.block) / (a.block.num_samples + b.block.num_samples)
    distance_AB = a.distances[:, None] + b.distances + _distances_between(a, b, sets)
    fitness_AB = rules.accuracy_weight * accuracy_AB + rules.difference_weight * (distance_AB / num_pairs)
    going_on = _retained(
        accuracy_AB.ravel(),
        fitness_AB.ravel(),
        threshold=rules.threshold(len(classes), round_number),
        keep=rules.keep,
    )
    if rules.survivor:
        first = np.ravel_multi_index((_all_first(a), _all_first(b)), accuracy_AB.shape)
        if first not in going_on:
            going_on = np.append(going_on, first)
    index_a, index_b = np.unravel_index(going_on, accuracy_AB.shape)
    return _Merged(
        classes,
        np.concatenate([a.candidates[index_a], b.candidates[index_b]], axis=1),
        join(a.block, b.block, index_a, index_b),
        distance_AB[index_a, index_b],
        accuracy_AB[index_a, index_b],
        fitness_AB[index_a, index_b],
    )


def _distances_between(a: _Merged, b: _Merged, sets: Sequence[Tensor]) -> Floats:
    """Sum of the distances between each class of one composition and each of the other, (T of a, T of b)."""
    distance_AB = np.zeros((len(a.candidates), len(b.candidates)))
    for label_a, candidate_A in zip(a.classes, a.candidates.T, strict=True):
        for label_b, candidate_B in zip(b.classes, b.candidates.T, strict=True):
            # Sums of float32 distances are exact in float64, so that the order of the classes cannot change them.
            distance_AB += _distances(sets[label_a], sets[label_b]).cpu().numpy()[candidate_A[:, None], candidate_B]
    return distance_AB


def _distances(sets_AU: Tensor, sets_BU: Tensor) -> Tensor:
    """`jaccard_distances` of sets as float32 zeros and ones."""
    # Counts are exact in float32 up to 2**24 elements, also where a device rounds the factors to 10 bits.
    common_AB = (sets_AU @ sets_BU.T).double()
    either_AB = sets_AU.sum(dim=1)[:, None] + sets_BU.sum(dim=1) - common_AB
    return (1 - common_AB / either_AB).masked_fill(either_AB == 0, 0.0).float()


def _retained(accuracy_T: Floats, fitness_T: Floats, *, threshold: float, keep: tuple[int, int]) -> Indices:
    """Those of the best accuracy that go on, by falling fitness."""
    least, most = keep
    count = min(max(int((accuracy_T >= threshold).sum()), least), most)
    best = np.argsort(-accuracy_T, kind="stable")[:count]
    return best[np.argsort(-fitness_T[best], kind="stable")]


def _all_first(merged: _Merged) -> int:
    return int(np.flatnonzero((merged.candidates == 0).all(axis=1))[0])


def _result(merged: _Merged, num_candidates: Sequence[int]) -> TournamentResult:
    by_class = np.argsort(merged.classes)
    compositions = merged.candidates[:, by_class]
    num_pairs = len(by_class) * (len(by_class) - 1) // 2
    differences = merged.distances / num_pairs
    fitness = [np.zeros(count) for count in num_candidates]
    for fitness_S, candidate_T in zip(fitness, compositions.T, strict=True):
        np.maximum.at(fitness_S, candidate_T, merged.fitnesses)
    best = int(np.argmax(merged.fitnesses))
    return TournamentResult(
        fitness=fitness,
        best=tuple(compositions[best].tolist()),
        accuracy=float(merged.accuracies[best]),
        difference=float(differences[best]),
        best_fitness=float(merged.fitnesses[best]),
        compositions=compositions,
        accuracies=merged.accuracies,
        differences=differences,
        fitnesses=merged.fitnesses,
    )


def _check_weights(
    accuracy_weight: float, difference_weight: float, thresholds: Mapping[int, float], keep: tuple[int, int]
) -> None:
    for name, weight in (("accuracy", accuracy_weight), ("difference", difference_weight)):
        if not 0 <= weight < float("inf"):
            raise ValueError(f"tournament: the weight of {name} is {weight}; give a finite number of 0 or above")
    for size, threshold in thresholds.items():
        if not 0 <= threshold <= 1:
            raise ValueError(f"tournament: threshold {threshold} for {size} classes; give an accuracy, 0 to 1")
    if not 1 <= keep[0] <= keep[1]:
        raise ValueError(f"tournament: keep {keep}; give the least, at least 1, and the most, at least as many")


def _check_candidates(logits: Tensor | Sequence[Tensor], labels: Tensor, sets: Sequence[Tensor]) -> None:
    if len(logits) < 2 or len(sets) != len(logits):
        raise ValueError(
            f"tournament: logits of {len(logits)} classes and kernel sets of {len(sets)}; give both for the same, at "
            "least two classes"
        )
    check_labels(labels, num_classes=len(logits))
    for label, (logits_SV, sets_SU) in enumerate(zip(logits, sets, strict=True)):
        given = f"{logits_SV.dtype} {tuple(logits_SV.shape)}"
        if logits_SV.dim() != 2 or len(logits_SV) == 0 or logits_SV.shape[1] != len(labels):
            raise ValueError(
                f"tournament: logits of class {label} are {given} for {len(labels)} labels; give (candidates, samples) "
                "with at least one candidate"
            )
        if not logits_SV.is_floating_point():
            raise ValueError(f"tournament: logits of class {label} are {given}; give floating-point numbers")
        wanted = (len(logits_SV), sets[0].shape[-1])
        if sets_SU.dtype != torch.bool or sets_SU.shape != wanted:
            raise ValueError(
                f"tournament: kernel sets of class {label} are {sets_SU.dtype} {tuple(sets_SU.shape)}; give bool "
                f"{wanted}: one for each candidate, of the same kernels for all classes"
            )
        if bool(logits_SV.isnan().any()):
            candidate, sample = logits_SV.isnan().nonzero()[0].tolist()
            raise ValueError(
                f"tournament: the logit of class {label} is not a number for candidate {candidate} on sample {sample}; "
                "the network or its inputs hold values that are no numbers"
            )
        if not bool((labels == label).any()):
            raise ValueError(f"tournament: class {label} has no sample; give at least one of each class")
