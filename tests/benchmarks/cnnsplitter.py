"""How much faster one generation of CNNSplitter is than a straightforward implementation of the reference's behaviour.

The reference below cuts every candidate out of the network and runs it on all samples, those that stayed from the last
generation too, intersects kernel sets by name, and predicts every composition of a merge anew. Both judge the same
candidates, those of the second generation on digits, and must give them the same fitness.

Run: python -m tests.benchmarks.cnnsplitter [--threads 2] [--population 100]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.cnn_decomposition import breeding
from methods.cnn_decomposition.breeding import Course, Ground
from methods.cnn_decomposition.cnnsplitter_config import CnnSplitterConfig
from methods.cnn_decomposition.cnnsplitter_method import CnnSplitter
from methods.cnn_decomposition.fitness import accuracy_weight
from methods.cnn_decomposition.layers import kernel_sets, site_masks
from methods.cnn_decomposition.requirements import source_network
from methods.cnn_decomposition.samples import search_samples
from methods.contract import SilentMonitor
from methods.dense import Dense
from methods.measure import predict
from methods.networks.folding import fold_batch_norm
from methods.networks.graph import Network
from methods.surgery import extract
from methods.tasks import PreparedTask
from methods.training.config import DenseConfig
from tests.benchmarks.decomposition_fitness import PlainTournament
from tests.methods.small_tasks import a_task

Played = list[tuple[dict[int, int], float, float, float]]


def one_by_one(network: Network, ground: Ground, kept: Sequence[Sequence[Tensor]], task: PreparedTask) -> list[Tensor]:
    """The logits (S, V) of each class's candidates, each cut out and run by itself."""
    found = []
    for label, kept_of_class in enumerate(kept):
        masks = site_masks(network.architecture, ground.layers, kept_of_class)
        modules = [extract(network, [mask[row] for mask in masks]) for row in range(len(kept_of_class[0]))]
        columns = [
            predict(module, task.validation, normalization=task.normalization, device="cpu")[:, label]
            for module in modules
        ]
        # Stored as the candidates' logits are, so that both see the same ties.
        found.append(torch.stack(columns).half().float())
    return found


def fitness_of(played: Played, counts: Sequence[int]) -> list[NDArray[np.float64]]:
    """Of each class and candidate the largest fitness of a composition left that has it, else 0."""
    found = [np.zeros(count) for count in counts]
    for composition, _, _, value in played:
        for label, row in composition.items():
            found[label][row] = max(found[label][row], value)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--population", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    task = a_task("digits", "small_cnn", epochs=20, validation_share=0.2, precision="float32")
    dense = Dense(DenseConfig()).fit(task, {}, SilentMonitor()).variants[0].network
    config = CnnSplitterConfig(population=arguments.population)
    method = CnnSplitter(config)
    source = source_network({"dense": dense}, task)
    samples = search_samples(task, config.samples)
    ground = method._ground(source, task, samples, method._prepare(source, task, samples, SilentMonitor()))
    course, populations = breeding._begin(ground, config, None)
    kept, _ = breeding._decoded(ground, populations)
    logits, memory = breeding._evaluated(ground, populations, kept, {})
    result = breeding._judged(ground, config, course, kept, logits, 0)
    course = Course(best_accuracies=[result.accuracy])
    populations = breeding._bred(ground, config, populations, result, 0)

    start = time.perf_counter()
    kept, _ = breeding._decoded(ground, populations)
    logits, _ = breeding._evaluated(ground, populations, kept, memory)
    result = breeding._judged(ground, config, course, kept, logits, 1)
    ours = time.perf_counter() - start

    network = fold_batch_norm(source).eval()
    start = time.perf_counter()
    their_logits = one_by_one(network, ground, kept, task)
    sets = [kernel_sets(ground.layers, kept_of_class) for kept_of_class in kept]
    best_before = course.best_accuracies[-1]
    played = PlainTournament(their_logits, ground.labels, sets).play(
        ground.random(breeding._ORDER, 1).permutation(ground.num_classes).tolist(),
        weights=(accuracy_weight(best_before, alpha=config.alpha, gamma=config.gamma), 1 - config.alpha),
        thresholds=breeding._thresholds(config, ground.num_classes),
        keep=(50, 500),
        survivor=True,
    )
    fitness = fitness_of(played, [arguments.population] * ground.num_classes)
    theirs = time.perf_counter() - start
    furthest = max(float(np.abs(a - b).max()) for a, b in zip(fitness, result.fitness, strict=True))
    print(
        f"a generation of 10 x {arguments.population} candidates on {len(ground.labels)} digits: reference "
        f"{theirs:.1f} s, ours {ours:.2f} s, {theirs / ours:.0f}x; fitness differs by at most {furthest:.4f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
