"""How much faster GradSplitter trains here than a straightforward implementation of the reference's behaviour.

The reference below runs the modules one after the other, each over the whole network, in every phase, and validates
with masks; it makes the same steps in the same order, so both must come to the same masks.

Run: python -m tests.benchmarks.gradsplitter [--threads 2] [--part step | schedule] [--precision float32 | bfloat16]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from methods.cnn_decomposition.gradsplitter import Epoch, schedule, splitter_loss
from methods.cnn_decomposition.gradsplitter_config import GradSplitterConfig
from methods.cnn_decomposition.layers import kernel_retention, maskable_layers
from methods.cnn_decomposition.masks import KernelMasks, binarise
from methods.cnn_decomposition.splitting import split_network
from methods.contract import SilentMonitor
from methods.dense import Dense
from methods.modules.heads import ModuleHead, ModuleHeads
from methods.networks.build import build_network
from methods.networks.folding import fold_batch_norm
from methods.networks.graph import Network
from methods.networks.stacked import run_stacked
from methods.tasks import PreparedTask
from methods.training.batches import plain_batches, train_batches
from methods.training.config import DenseConfig
from methods.training.precision import autocast
from tests.methods.small_tasks import a_task

NUM_CLASSES = 10


def masked_logits(network: Network, x: Tensor, masks: KernelMasks, module: int) -> Tensor:
    """One module by the loop: every site multiplied by its binarised mask."""
    vectors = {name: vector for layer, vector in zip(masks.layers, masks.vectors, strict=True) for name in layer.sites}
    values = {network.architecture.nodes[0].name: x}
    for node, step in zip(network.architecture.nodes[1:], network.steps, strict=True):
        value = step.function(*[values[name] for name in node.inputs])
        if node.name in vectors:
            gate = binarise(vectors[node.name][module])
            value = value * gate.to(value.dtype).reshape(1, -1, *[1] * (value.dim() - 2))
        values[node.name] = value
    return values[network.architecture.nodes[-1].name].float()


def looped_scores(network: Network, x: Tensor, masks: KernelMasks, heads: Sequence[ModuleHead]) -> Tensor:
    return torch.stack([head(masked_logits(network, x, masks, module)) for module, head in enumerate(heads)], dim=1)


class Reference:
    """The reference's outer loop, one epoch after the other, with its evaluation."""

    def __init__(self, source: Network, task: PreparedTask, *, precision: torch.dtype) -> None:
        self.network = source
        self.task = task
        self.precision = precision
        self.masks = KernelMasks(maskable_layers(source.architecture), NUM_CLASSES)
        stacked = ModuleHeads(NUM_CLASSES, NUM_CLASSES)
        stacked.initialise(torch.Generator().manual_seed(task.seed))
        self.heads = [stacked.head(module) for module in range(NUM_CLASSES)]
        self.accuracies: list[float] = []
        self.retentions: list[float] = []

    def follow(self, epochs: Sequence[Epoch]) -> None:
        heads = [value for head in self.heads for value in head.parameters()]
        generator = torch.Generator()
        for number, epoch in enumerate(epochs):
            if epoch.new_optimizer:
                trained = [*self.masks.parameters(), *heads] if epoch.phase == "modularise" else heads
                optimizer = torch.optim.Adam(trained, lr=epoch.learning_rate)
                generator.manual_seed((self.task.seed * 1_000_003 + number) % 2**63)
            for inputs, labels in train_batches(
                self.task.train,
                batch_size=self.task.batch_size,
                normalization=self.task.normalization,
                augmentation="none",
                generator=generator,
            ):
                optimizer.zero_grad()
                self.loss(inputs, labels, epoch).backward()
                optimizer.step()
            self.validate()

    def loss(self, inputs: Tensor, labels: Tensor, epoch: Epoch) -> Tensor:
        with autocast("cpu", self.precision):
            scores = looped_scores(self.network, inputs, self.masks, self.heads)
        return splitter_loss(scores, labels, self.masks.listed(), size_weight=epoch.size_weight)

    @torch.no_grad()
    def validate(self) -> None:
        split = self.task.validation
        batches = plain_batches(split, batch_size=256, normalization=self.task.normalization)
        scores = []
        for inputs, _ in batches:
            with autocast("cpu", self.precision):
                scores.append(looped_scores(self.network, inputs, self.masks, self.heads))
        self.accuracies.append(float((torch.cat(scores).argmax(dim=1) == split.targets).double().mean()))
        self.retentions.append(float(kernel_retention(self.masks.layers, self.masks.kept()).mean()))


def step_part(arguments: argparse.Namespace, precision: torch.dtype) -> None:
    """One training step of masks and heads over SimCNN."""
    source = build_network(arguments.network, input_shape=(3, 32, 32), num_outputs=NUM_CLASSES, seed=0)
    source.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    folded = fold_batch_norm(source).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    layers = maskable_layers(source.architecture)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(arguments.batch, 3, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(arguments.batch) % NUM_CLASSES
    masks, heads = KernelMasks(layers, NUM_CLASSES), ModuleHeads(NUM_CLASSES, NUM_CLASSES)
    heads.initialise(generator)
    with torch.no_grad():
        for vector in masks.vectors:
            vector.uniform_(-0.5, 1.0, generator=generator)
    singles = [heads.head(module) for module in range(NUM_CLASSES)]

    def gradients() -> list[Tensor]:
        return [vector.grad.clone() for vector in masks.vectors if vector.grad is not None]

    def forget() -> None:
        for value in [*masks.parameters(), *heads.parameters(), *(p for head in singles for p in head.parameters())]:
            value.grad = None

    def looped() -> list[Tensor]:
        forget()
        with autocast("cpu", precision):
            scores = looped_scores(source, x, masks, singles)
        splitter_loss(scores, labels, masks.listed(), size_weight=0.1).backward()
        return gradients()

    def stacked() -> list[Tensor]:
        forget()
        with autocast("cpu", precision):
            logits = run_stacked(folded, x, masks.gates())
        splitter_loss(torch.sigmoid(heads(logits)), labels, masks.listed(), size_weight=0.1).backward()
        return gradients()

    furthest = max(
        float((a - b).abs().max() / a.abs().max().clamp(min=1e-12)) for a, b in zip(looped(), stacked(), strict=True)
    )
    times = {function.__name__: _best(function, arguments.repeats) for function in (looped, stacked)}
    print(
        f"{arguments.network}, batch {arguments.batch}, {arguments.precision}: one by one {times['looped']:.2f} s, "
        f"stacked {times['stacked']:.2f} s, {times['looped'] / times['stacked']:.1f}x; gradients of masks differ by at "
        f"most {furthest:.1e} of the largest",
        flush=True,
    )


def schedule_part(arguments: argparse.Namespace, precision: torch.dtype) -> None:
    """The whole schedule on digits, validation of every epoch included."""
    task = a_task("digits", "small_cnn", epochs=145, precision=arguments.precision)
    source = Dense(DenseConfig()).fit(
        a_task("digits", "small_cnn", epochs=30, precision="float32"), {}, SilentMonitor()
    )
    network = source.variants[0].network.eval().requires_grad_(False)
    epochs = schedule(5, arguments.cycles)
    start = time.perf_counter()
    found = split_network(network, task, config=GradSplitterConfig(), epochs=epochs, monitor=SilentMonitor())
    ours = time.perf_counter() - start
    reference = Reference(network, task, precision=precision)
    start = time.perf_counter()
    reference.follow(epochs)
    theirs = time.perf_counter() - start
    print(
        f"digits, small_cnn, {len(epochs)} epochs, {arguments.precision}: reference {theirs:.1f} s, ours {ours:.1f} s, "
        f"{theirs / ours:.1f}x; last epoch's kernel retention {reference.retentions[-1]:.4f} and "
        f"{found.history.retentions[-1]:.4f}, validation accuracy {reference.accuracies[-1]:.4f} and "
        f"{found.history.accuracies[-1]:.4f}",
        flush=True,
    )


def _best(function: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--part", choices=["step", "schedule", "both"], default="both")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--network", default="simcnn_gradsplitter")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    precision = {"float32": torch.float32, "bfloat16": torch.bfloat16}[arguments.precision]
    if arguments.part != "schedule":
        step_part(arguments, precision)
    if arguments.part != "step":
        schedule_part(arguments, precision)


if __name__ == "__main__":
    main()
