"""How much faster layers and networks run as compressed sparse rows than densely, by sparsity and batch.

A layer's dense time is the faster of its two memory layouts. A network's is that of the ruler: as it is stored.

Run: python -m tests.benchmarks.sparse_execution [--threads 2] [--batch 256] [--repeats 15]
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from methods.measure import sparse_execution
from methods.networks.build import build_network
from methods.networks.graph import Network
from methods.networks.sparse import sparse_form
from methods.surgery import deploy

SPARSITIES = (0.9, 0.98, 0.99, 0.995)


class Layer(NamedTuple):
    """One layer to time, with the shape of its input without the batch."""

    name: str
    make: Callable[[], nn.Module]
    input_shape: tuple[int, ...]


LAYERS = (
    Layer("linear 784 to 512", lambda: nn.Linear(784, 512), (784,)),
    Layer("linear 512 to 512", lambda: nn.Linear(512, 512), (512,)),
    Layer("linear 2048 to 2048", lambda: nn.Linear(2048, 2048), (2048,)),
    Layer("conv 3x3, 16 channels, 32x32", lambda: nn.Conv2d(16, 16, 3, padding=1), (16, 32, 32)),
    Layer("conv 3x3, 32 channels, 16x16", lambda: nn.Conv2d(32, 32, 3, padding=1), (32, 16, 16)),
    Layer("conv 3x3, 64 channels, 8x8", lambda: nn.Conv2d(64, 64, 3, padding=1), (64, 8, 8)),
    Layer("conv 3x3, 128 channels, 8x8", lambda: nn.Conv2d(128, 128, 3, padding=1), (128, 8, 8)),
)


def least_ms(*calls: Callable[[], object], repeats: int) -> list[float]:
    """Fastest of `repeats` calls of each after two that warm up: what neighbours on the machine add is not ours.

    They take turns, so that a busy while hits all of them.
    """
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats + 2):
        for call, taken in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    return [min(taken[2:]) * 1000 for taken in seconds]


@torch.no_grad()
def prune(module: nn.Module, sparsity: float, generator: torch.Generator) -> None:
    """Random weights, of which a share is zero, at random places."""
    for tensor in module.parameters():
        tensor.normal_(std=0.1, generator=generator)
        if tensor.dim() > 1:
            tensor.mul_(torch.rand(tensor.shape, generator=generator) >= sparsity)


def time_layer(layer: Layer, sparsity: float, *, batch: int, repeats: int) -> tuple[float, float]:
    """Milliseconds dense and as CSR."""
    generator = torch.Generator().manual_seed(0)
    module = layer.make().eval()
    prune(module, sparsity, generator)
    x = torch.randn(batch, *layer.input_shape, generator=generator)
    form = sparse_form(module)
    if form is None:
        raise SystemExit("PyTorch has no MKL here, and multiplies no CSR without it")
    calls = [lambda: form(x), lambda: module(x)]
    if x.dim() == 4:
        images = x.contiguous(memory_format=torch.channels_last)
        other = copy.deepcopy(module).to(memory_format=torch.channels_last)
        calls.append(lambda: other(images))
    sparse, *dense = least_ms(*calls, repeats=repeats)
    return min(dense), sparse


def networks() -> Iterator[tuple[str, Callable[[], Network]]]:
    """Fresh ones, with their names."""
    yield (
        "MLP 784-512-512-512-10",
        lambda: build_network("mlp", input_shape=(784,), num_outputs=10, seed=0, arguments={"widths": [512] * 3}),
    )
    yield "ResNet-20", lambda: build_network("resnet20", input_shape=(3, 32, 32), num_outputs=10, seed=0)


def pruned_network(make: Callable[[], Network], sparsity: float) -> tuple[Network, Tensor]:
    """The deployed form of a network of which so many weights are zero, and one sample of random input."""
    network = make().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in network.parameters():
            if tensor.dim() > 1:
                tensor.mul_(torch.rand(tensor.shape, generator=generator) >= sparsity)
    return deploy(network), torch.randn(1, *network.architecture.input_shape, generator=generator)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        for layer in LAYERS:
            for batch in (1, arguments.batch):
                for sparsity in SPARSITIES:
                    dense, sparse = time_layer(layer, sparsity, batch=batch, repeats=arguments.repeats)
                    ratio = f"dense {dense:.3f} ms, CSR {sparse:.3f} ms, {dense / sparse:.1f}x"
                    print(f"{layer.name}, batch {batch}, {sparsity:.1%} zero: {ratio}", flush=True)
        for name, make in networks():
            for batch in (1, arguments.batch):
                for sparsity in SPARSITIES:
                    network, sample = pruned_network(make, sparsity)
                    x = sample.repeat(batch, *[1] * (sample.dim() - 1))
                    execution = sparse_execution(network, batch_size=batch)
                    run = execution.network
                    dense, sparse = least_ms(
                        lambda run=network, x=x: run(x), lambda run=run, x=x: run(x), repeats=arguments.repeats
                    )
                    chosen = f"{execution.num_sparse} layers as CSR"
                    ratio = f"dense {dense:.2f} ms, chosen {sparse:.2f} ms, {dense / sparse:.1f}x"
                    print(f"{name}, batch {batch}, {sparsity:.1%} zero: {ratio}, {chosen}", flush=True)


if __name__ == "__main__":
    main()
