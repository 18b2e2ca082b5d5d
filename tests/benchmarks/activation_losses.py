"""What the losses of activation-driven training cost: alone against the pairwise form, and in whole steps.

Run: python -m tests.benchmarks.activation_losses [--networks resnet20 vgg16] [--epochs 9] [--threads 2]

Alone: forward and backward at the shapes of VGG16's 15 layers in float32. The reference is the losses as published: a
B x B matrix of similarities per layer, flattened, and two gathers over lists of pairs. In steps: epochs of
`methods.training.loop` with and without the three losses, in turn, so that a slow minute of the machine hits both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.activation_driven.losses import activation_losses
from methods.activation_driven.recording import RecordingNetwork, modular_loss
from methods.contract import Split
from methods.training.allocator import keep_freed_memory
from methods.training.learner import Learner
from methods.training.loop import train_epoch
from tests.benchmarks.training_loop import cifar_like_task

BATCH_SIZE, NUM_CLASSES = 128, 10
CONVOLUTIONS = ((64, 32),) * 2 + ((128, 16),) * 2 + ((256, 8),) * 3 + ((512, 4),) * 3 + ((512, 2),) * 3
NEURONS = (4096, 4096)
WEIGHTS = {"affinity": 1.0, "dispersion": 1.0, "compactness": 0.3}
STEPS_PER_EPOCH = 4

Total = Callable[[Sequence[Tensor], Tensor], Tensor]


def pairwise(activations: Sequence[Tensor], labels: Tensor, *, signed: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Affinity, dispersion and compactness by the definition, pair by pair; NaN where there are no pairs."""
    upper = torch.ones(len(labels), len(labels), dtype=torch.bool, device=labels.device).triu(1)
    same = labels[:, None] == labels
    index_same = (same & upper).flatten().nonzero().squeeze(1)
    index_different = (~same & upper).flatten().nonzero().squeeze(1)
    alike, unlike, sizes = [], [], []
    for activation in activations:
        pooled = activation
        if activation.dim() == 4:
            pooled = (activation.abs() if signed else activation).mean(dim=(2, 3))
        unit = F.normalize(pooled, dim=1, eps=1e-12)
        similarity = (unit @ unit.T).flatten()
        alike.append(similarity[index_same].mean())
        unlike.append(similarity[index_different].mean())
        sizes.append(pooled.abs().mean())
    return 1 - torch.stack(alike).mean(), torch.stack(unlike).mean(), torch.stack(sizes).mean()


def vgg16_outputs() -> list[Tensor]:
    """Random outputs of VGG16's ReLUs, half of them zero, laid out as the training loop has them."""
    generator = torch.Generator().manual_seed(0)
    maps = [
        torch.randn(BATCH_SIZE, channels, size, size, generator=generator).contiguous(memory_format=torch.channels_last)
        for channels, size in CONVOLUTIONS
    ]
    vectors = [torch.randn(BATCH_SIZE, width, generator=generator) for width in NEURONS]
    return [output.relu_().requires_grad_() for output in (*maps, *vectors)]


def seconds_alone(totals: dict[str, Total], *, repeats: int) -> dict[str, tuple[float, float]]:
    """Medians of the forward and the backward pass of each, which take turns, after one turn to warm up."""
    outputs = vgg16_outputs()
    labels = torch.randint(NUM_CLASSES, (BATCH_SIZE,), generator=torch.Generator().manual_seed(1))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in totals}
    for _ in range(repeats + 1):
        for name, total in totals.items():
            begun = time.perf_counter()
            value = total(outputs, labels)
            computed = time.perf_counter()
            torch.autograd.grad(value, outputs)
            times[name].append((computed - begun, time.perf_counter() - computed))
    return {
        name: (statistics.median(one for one, _ in taken[1:]), statistics.median(other for _, other in taken[1:]))
        for name, taken in times.items()
    }


def weighed(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack([weight * part for weight, part in zip(WEIGHTS.values(), parts, strict=True)]).sum()


def epochs_of(network_name: str) -> dict[str, Callable[[], None]]:
    """An epoch of plain training and one with the three losses, of equal networks on equal samples."""
    task = cifar_like_task(network_name, BATCH_SIZE)
    few = slice(0, STEPS_PER_EPOCH * BATCH_SIZE)
    task = replace(task, train=Split(task.train.inputs[few], task.train.targets[few]))

    def epoch(*, modular: bool) -> Callable[[], None]:
        network = RecordingNetwork(task.network(), record=modular)
        weights = WEIGHTS if modular else dict.fromkeys(WEIGHTS, 0.0)
        learner = Learner(network, momentum=0.9, nesterov=True, weight_decay=0.0, seed=0)
        loss = modular_loss(task, network, **weights)

        def run() -> None:
            # The rate is small, for random labels at a large one end in infinities, which are slower to compute with.
            train_epoch(learner, task, learning_rate=1e-3, loss=loss, reading=network.logits)

        return run

    return {"plain": epoch(modular=False), "modular": epoch(modular=True)}


def step_seconds(contenders: dict[str, Callable[[], None]], *, epochs: int) -> dict[str, list[float]]:
    """Seconds per step in each epoch of each, which take turns, after one epoch each to warm up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(epochs + 1):
        # Who goes first alternates, since the second may find the memory of the first.
        for name in sorted(contenders, reverse=bool(turn % 2)):
            begun = time.perf_counter()
            contenders[name]()
            times[name].append((time.perf_counter() - begun) / STEPS_PER_EPOCH)
    return {name: taken[1:] for name, taken in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of the losses of activation-driven training.")
    parser.add_argument("--networks", nargs="*", default=["resnet20", "vgg16"], help="names in the catalog")
    parser.add_argument("--epochs", type=int, default=9, help="timed epochs of each variant (default 9)")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # as in a study
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batches of {BATCH_SIZE}, medians")
    alone = seconds_alone(
        {
            "pairwise": lambda outputs, labels: weighed(pairwise(outputs, labels)),
            "closed, signed": lambda outputs, labels: weighed(activation_losses(outputs, labels)),
            "closed, after ReLU": lambda outputs, labels: weighed(
                activation_losses(outputs, labels, signed=False, num_classes=NUM_CLASSES)
            ),
        },
        repeats=arguments.epochs,
    )
    slow = alone["pairwise"]
    for name, (forward, backward) in alone.items():
        print(
            f"VGG16 shapes, {name:18} forward {forward * 1e3:6.1f} ms ({slow[0] / forward:5.1f}x), "
            f"backward {backward * 1e3:6.1f} ms ({slow[1] / backward:5.1f}x)"
        )
    for network in arguments.networks:
        times = step_seconds(epochs_of(network), epochs=arguments.epochs)
        plain, modular = (statistics.median(times[name]) for name in ("plain", "modular"))
        least = min(times["modular"]) / min(times["plain"])
        print(
            f"{network}: a step plain {plain * 1e3:.1f} ms, modular {modular * 1e3:.1f} ms, "
            f"{modular / plain:.3f}x (of the fastest {least:.3f}x)",
            flush=True,
        )


if __name__ == "__main__":
    main()
