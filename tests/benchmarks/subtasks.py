"""How much faster the compositions of all sub-tasks are graded together than by building a network for each.

Masks are drawn by chance, which is the hard case: compositions of modules that a training has made alike share more.
The networks to build are a sample of the sub-tasks, evenly spread over them; their time is scaled up to all.

Run: python -m tests.benchmarks.subtasks [--threads 1] [--samples 256] [--rebuilt 25] [--kept 0.6]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from methods.contract import Normalization, Split
from methods.measure import predict
from methods.measure.subtasks import choose_subsets, restricted_accuracy
from methods.modules.evaluation import composed_accuracies
from methods.modules.library import ModuleLibrary
from methods.networks.build import build_network
from methods.networks.graph import Network

NUM_CLASSES = 10
PLAIN = Normalization(mean=(0.0,), std=(1.0,))


def networks() -> Iterator[tuple[str, Network]]:
    """Fresh ones, with their names."""
    for name, shape in (("small_cnn", (1, 8, 8)), ("resnet20", (3, 32, 32))):
        yield f"{name} on {shape}", build_network(name, input_shape=shape, num_outputs=NUM_CLASSES, seed=0)


def library_of(network: Network, kept: float, generator: torch.Generator) -> ModuleLibrary:
    """Each class keeps a share of each site between `kept` and all of it, drawn anew for every class and site."""
    masks = []
    for site in network.sites:
        share_K1 = kept + (1 - kept) * torch.rand(NUM_CLASSES, 1, generator=generator)
        masks.append(torch.rand(NUM_CLASSES, site.units, generator=generator) < share_K1)
    return ModuleLibrary(network, tuple(f"class {index}" for index in range(NUM_CLASSES)), tuple(masks))


def rebuilt_accuracy(library: ModuleLibrary, subset: Tensor, split: Split) -> float:
    classes = subset.nonzero().flatten()
    wanted = torch.isin(split.targets, classes)
    own = Split(split.inputs[wanted], torch.searchsorted(classes, split.targets[wanted]))
    composed = library.compose(classes.tolist()).to(memory_format=torch.channels_last)
    logits = predict(composed, own, normalization=PLAIN, device="cpu")
    return restricted_accuracy(logits, own.targets, range(len(classes)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--rebuilt", type=int, default=25, help="networks to build")
    parser.add_argument("--kept", type=float, default=0.6)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    subsets = choose_subsets(NUM_CLASSES)
    spread = torch.linspace(0, len(subsets) - 1, arguments.rebuilt).long()
    for name, network in networks():
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(arguments.samples, *network.architecture.input_shape, generator=generator)
        split = Split(inputs, torch.arange(arguments.samples) % NUM_CLASSES)
        # Statistics of batch normalisation that fit the inputs, or hardly a unit is ever zero or not zero by turns.
        network.train()
        with torch.no_grad():
            network(inputs[:128])
        network.eval().to(memory_format=torch.channels_last)
        library = library_of(network, arguments.kept, generator)

        start = time.perf_counter()
        found = composed_accuracies(library, subsets, split, normalization=PLAIN, device="cpu")
        together = time.perf_counter() - start
        start = time.perf_counter()
        rebuilt = torch.tensor([rebuilt_accuracy(library, subsets[index], split) for index in spread])
        one_by_one = (time.perf_counter() - start) / arguments.rebuilt * len(subsets)

        furthest = (found[spread] - rebuilt).abs().max().item()
        print(
            f"{name}, {len(subsets)} sub-tasks of {arguments.samples} samples: together {together:.2f} s, one by one "
            f"{one_by_one:.1f} s, {one_by_one / together:.1f}x; accuracies differ by at most {furthest:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
