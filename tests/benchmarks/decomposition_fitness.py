"""How much faster compositions of class modules are judged than by predicting anew, and kernel sets than as sets.

Both straightforward ways are kept here: of each composition the columns of its modules are stacked and their argmax is
compared with the labels; of each pair of modules the names of their kernels are intersected and united as Python sets.

Run: python -m tests.benchmarks.decomposition_fitness [--threads 1] [--candidates 100] [--samples 10000]
     [--kernels 4224] [--repeats 5] [--classes 10]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.cnn_decomposition.duels import right_when_joined, single_blocks
from methods.cnn_decomposition.fitness import jaccard_distances, tournament

Result = TypeVar("Result")


def predicted_anew(columns: Sequence[NDArray[np.floating]], labels: NDArray[np.int64]) -> float:
    """Accuracy of one composition whose columns stand in the order of the classes; the first of equal ones wins."""
    return float((np.stack(columns, axis=1).argmax(axis=1) == labels).mean())


def distances_of_names(sets_a: Sequence[set[str]], sets_b: Sequence[set[str]]) -> NDArray[np.float32]:
    return np.array([[1 - len(a & b) / len(a | b) for b in sets_b] for a in sets_a], dtype=np.float32)


def names(sets: Tensor) -> list[set[str]]:
    """As the names of kernels that each set keeps; 64 to a layer."""
    return [{f"layer_{index // 64}_kernel_{index % 64}" for index in kept.nonzero().flatten()} for kept in sets]


class PlainTournament:
    """Every composition of every join predicted anew, its kernels compared as sets of names."""

    def __init__(self, logits: Sequence[Tensor], labels: Tensor, sets: Sequence[Tensor]) -> None:
        self.columns = [logits_SV.numpy() for logits_SV in logits]
        self.labels = labels.numpy()
        named = [names(sets_SU) for sets_SU in sets]
        self.tables = {(a, b): distances_of_names(named[a], named[b]) for a, b in combinations(range(len(sets)), 2)}

    def values(self, composition: Mapping[int, int]) -> tuple[float, float]:
        """Accuracy and difference of candidates by class."""
        classes = sorted(composition)
        wanted = np.isin(self.labels, classes)
        columns = [self.columns[label][composition[label]][wanted] for label in classes]
        pairs = [float(self.tables[a, b][composition[a], composition[b]]) for a, b in combinations(classes, 2)]
        accuracy = predicted_anew(columns, np.searchsorted(classes, self.labels[wanted]))
        return accuracy, sum(pairs) / len(pairs)

    def play(
        self,
        order: Sequence[int],
        *,
        weights: tuple[float, float],
        thresholds: Mapping[int, float],
        keep: tuple[int, int],
        survivor: bool,
    ) -> list[tuple[dict[int, int], float, float, float]]:
        """The compositions left at the end, with accuracy, difference and fitness."""
        blocks = [[{label: candidate} for candidate in range(len(self.columns[label]))] for label in order]
        played: list[tuple[dict[int, int], float, float, float]] = []
        by_round = [0.95, 0.95, 0.85, 0.80]
        round_number = 0
        while len(blocks) > 1:
            merged = []
            for first in range(0, len(blocks) - 1, 2):
                played = []
                for a, b in product(blocks[first], blocks[first + 1]):
                    accuracy, difference = self.values(a | b)
                    played.append((a | b, accuracy, difference, weights[0] * accuracy + weights[1] * difference))
                threshold = thresholds.get(len(played[0][0]), by_round[min(round_number, 3)])
                reached = sum(accuracy >= threshold for _, accuracy, _, _ in played)
                count = min(max(reached, keep[0]), keep[1])
                best = [one for one in played if not any(one[0].values())]
                played = sorted(sorted(played, key=lambda one: -one[1])[:count], key=lambda one: -one[3])
                if survivor and best[0] not in played:
                    played.append(best[0])
                merged.append([composition for composition, *_ in played])
            blocks = merged + blocks[len(blocks) // 2 * 2 :]
            round_number += 1
        return played


def timed(work: Callable[[], Result], *, repeats: int) -> tuple[Result, float]:
    """A result and the fastest of some calls: what neighbours on the machine add is not ours."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return result, min(seconds)


def random_logits(labels: Tensor, *, num_classes: int, num_candidates: int, generator: torch.Generator) -> Tensor:
    """(C, S, V): noise, larger where the class is the sample's own."""
    noise = torch.randn(num_classes, num_candidates, len(labels), generator=generator)
    return noise + 2.5 * (labels == torch.arange(num_classes)[:, None])[:, None]


def compare_accuracies(arguments: argparse.Namespace, generator: torch.Generator) -> None:
    """All compositions of two classes, their ranks made anew each time."""
    labels = torch.arange(arguments.samples) % 2
    logits = random_logits(labels, num_classes=2, num_candidates=arguments.candidates, generator=generator)
    # Rounded, so that some are equal.
    logits = logits.half().float()

    def joined() -> NDArray[np.float64]:
        return right_when_joined(*single_blocks(list(logits), labels, [0, 1])) / len(labels)

    def anew() -> NDArray[np.float64]:
        first, second = logits.numpy()
        return np.array([[predicted_anew((a, b), labels.numpy()) for b in second] for a in first])

    found, fast = timed(joined, repeats=arguments.repeats)
    wanted, slow = timed(anew, repeats=1)
    assert np.array_equal(found, wanted)
    print(
        f"{found.size} two-class compositions of {len(labels)} samples: anew {slow:.2f} s, joined {fast * 1e3:.1f} ms, "
        f"{slow / fast:.0f}x; equal values",
        flush=True,
    )


def compare_distances(arguments: argparse.Namespace, generator: torch.Generator) -> None:
    """All pairs of the candidates of two classes."""
    shape = (2, arguments.candidates, arguments.kernels)
    sets_a, sets_b = torch.rand(*shape, generator=generator) < 0.57
    found, fast = timed(lambda: jaccard_distances(sets_a, sets_b), repeats=arguments.repeats)

    def as_sets() -> NDArray[np.float32]:
        # Naming the kernels is not counted: it grows with the candidates, not with their pairs.
        return distances_of_names(named_a, named_b)

    named_a, named_b = names(sets_a), names(sets_b)
    wanted, slow = timed(as_sets, repeats=1)
    assert np.array_equal(found.numpy(), wanted)
    print(
        f"{found.numel()} distances of sets of {arguments.kernels} kernels: as sets of names {slow:.2f} s, by a "
        f"product {fast * 1e3:.2f} ms, {slow / fast:.0f}x; equal values",
        flush=True,
    )


def time_tournament(arguments: argparse.Namespace, generator: torch.Generator) -> None:
    """One generation, with the most compositions going on from every join that may."""
    labels = torch.arange(arguments.samples) % arguments.classes
    logits = random_logits(
        labels, num_classes=arguments.classes, num_candidates=arguments.candidates, generator=generator
    )
    shape = (arguments.classes, arguments.candidates, arguments.kernels)
    sets = torch.rand(*shape, generator=generator) < 0.57

    def generation() -> float:
        return tournament(
            logits,
            labels,
            list(sets),
            order=torch.randperm(arguments.classes, generator=generator).tolist(),
            accuracy_weight=0.9,
            difference_weight=0.1,
            thresholds={},
            keep=(500, 500),
            survivor=True,
        ).accuracy

    accuracy, seconds = timed(generation, repeats=arguments.repeats)
    print(
        f"tournament of {arguments.classes} classes, {arguments.candidates} candidates each, {len(labels)} samples: "
        f"{seconds:.2f} s; accuracy of the best composition {accuracy:.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--kernels", type=int, default=4224)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = torch.Generator().manual_seed(0)
    compare_accuracies(arguments, generator)
    compare_distances(arguments, generator)
    time_tournament(arguments, generator)


if __name__ == "__main__":
    main()
