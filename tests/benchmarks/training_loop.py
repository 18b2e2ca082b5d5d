"""How fast the training loop is, against a plain float32 loop fed by a DataLoader, in turn within one process.

Run: python -m tests.benchmarks.training_loop [--seconds 20]

The reference does what a first version of any training script does: one sample at a time is cropped, mirrored and
normalised by tensor operations, collated by a DataLoader, and trained on in float32 with contiguous memory. It is
measured with the loading in the training process and in one worker process, and the faster of the two counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from methods.contract import Normalization, Split, TaskInfo
from methods.networks.build import build_network
from methods.networks.catalog import design_network
from methods.task_spec import NetworkSpec
from methods.tasks import PreparedTask
from methods.training.loop import Learner, train_epoch

NORMALIZATION = Normalization(mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010))
CASES = (("resnet20", 128), ("resnet32_double", 64))
NUM_IMAGES = 1024
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4


class AugmentedImages(Dataset[tuple[Tensor, Tensor]]):
    """The reference's samples: each is augmented and normalised on its own."""

    def __init__(self, split: Split) -> None:
        self.split = split
        self.mean = torch.tensor(NORMALIZATION.mean).view(3, 1, 1)
        self.std = torch.tensor(NORMALIZATION.std).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        padded = F.pad(self.split.inputs[index], (4, 4, 4, 4))
        top, left, mirrored = torch.randint(9, (3,)).tolist()
        image = padded[:, top : top + 32, left : left + 32]
        if mirrored % 2:
            image = image.flip(2)
        return (image.float() / 255 - self.mean) / self.std, self.split.targets[index]


def cifar_like_task(network: str, batch_size: int) -> PreparedTask:
    """Random images of CIFAR's shape: the arithmetic does not depend on what they show."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (NUM_IMAGES, 3, 32, 32), dtype=torch.uint8, generator=generator)
    split = Split(images, torch.randint(10, (NUM_IMAGES,), generator=generator))
    names = tuple(str(label) for label in range(10))
    architecture = design_network(network, input_shape=(3, 32, 32), num_outputs=10)
    return PreparedTask(
        info=TaskInfo(
            "random", "classification", (3, 32, 32), 10, names, NUM_IMAGES, NUM_IMAGES, network, architecture, 1
        ),
        train=split,
        validation=split,
        normalization=NORMALIZATION,
        augmentation="crop_flip",
        epochs=1,
        batch_size=batch_size,
        seed=0,
        device="cpu",
        precision="auto",
        network_spec=NetworkSpec(name=network),
    )


def our_epoch(task: PreparedTask) -> Callable[[], None]:
    """One epoch of `methods.training.loop`."""
    learner = Learner(task.network(), momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, seed=0)

    def epoch() -> None:
        train_epoch(learner, task, learning_rate=0.1)

    return epoch


def reference_epoch(task: PreparedTask, *, num_workers: int) -> Callable[[], None]:
    """One epoch of the plain loop, its two statistics read every step as such loops do."""
    network = build_network(task.info.network, input_shape=(3, 32, 32), num_outputs=10, seed=0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    loader = DataLoader(
        AugmentedImages(task.train),
        batch_size=task.batch_size,
        shuffle=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )

    def epoch() -> None:
        network.train()
        total_loss, right = 0.0, 0
        for images, targets in loader:
            optimizer.zero_grad()
            logits = network(images)
            loss = F.cross_entropy(logits, targets)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total_loss += loss.item() * len(targets)
            right += int((logits.argmax(dim=1) == targets).sum())

    return epoch


def images_per_second(contenders: dict[str, Callable[[], None]], *, seconds: float) -> dict[str, float]:
    """Of the fastest epoch of each within about `seconds` per contender, which take turns: epoch by epoch, so that a
    slow minute of the machine hits all alike, after one epoch each to warm up."""
    for epoch in contenders.values():
        epoch()
    fastest = dict.fromkeys(contenders, float("inf"))
    started = time.perf_counter()
    while time.perf_counter() - started < seconds * len(contenders):
        for name, epoch in contenders.items():
            begun = time.perf_counter()
            epoch()
            fastest[name] = min(fastest[name], time.perf_counter() - begun)
    return {name: NUM_IMAGES / time_taken for name, time_taken in fastest.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Images per second of the training loop against a plain one.")
    parser.add_argument("--seconds", type=float, default=20.0, help="time for each measurement (default 20)")
    seconds = parser.parse_args().seconds
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {NUM_IMAGES} images, {seconds:g} s each")
    print(f"{'network':16} {'batch':>5} {'ours':>8} {'plain, 0 workers':>17} {'plain, 1 worker':>16} {'ratio':>7}")
    for network, batch_size in CASES:
        task = cifar_like_task(network, batch_size)
        speed = images_per_second(
            {
                "ours": our_epoch(task),
                "plain 0": reference_epoch(task, num_workers=0),
                "plain 1": reference_epoch(task, num_workers=1),
            },
            seconds=seconds,
        )
        ratio = speed["ours"] / max(speed["plain 0"], speed["plain 1"])
        print(
            f"{network:16} {batch_size:5} {speed['ours']:8.0f} {speed['plain 0']:17.0f} {speed['plain 1']:16.0f} "
            f"{ratio:6.2f}x",
            flush=True,
        )


if __name__ == "__main__":
    main()
