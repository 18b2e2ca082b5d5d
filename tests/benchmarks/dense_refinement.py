"""What refining dense networks costs, against plain references: a DataLoader loop, one training of the original.

Run: python -m tests.benchmarks.dense_refinement [--threads 2] [--part training|method|scoring|latency]

* training: seconds per model and epoch on breast cancer (364 rows, 3 x 128), a DataLoader loop against ours, alone and
  five models as one stack.
* method: dense training and then scoring, the whole grid, retraining of the front, as a multiple of the dense training.
* scoring: memory beyond the samples while units are scored, for 100,000 and for a million rows.
* latency: milliseconds of 784-512-512-512-10 and of 784-160-160-160-10 (19 % of the parameters), by the ruler.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from methods.contract import Normalization, SilentMonitor, Split
from methods.data.load import load_dataset
from methods.data.normalise import normalise
from methods.dense import Dense
from methods.measure import latency_ms
from methods.networks.build import build_network
from methods.networks.dense_head import find_head
from methods.odf2nna.config import Odf2nnaConfig
from methods.odf2nna.method import Odf2nna
from methods.odf2nna.statistics import head_statistics
from methods.task_spec import DataSpec, NetworkSpec, TaskSpec
from methods.tasks import PreparedTask, build_task, prepare
from methods.training.config import TrainingConfig
from methods.training.loop import Phase, train
from methods.training.together import train_together

RECIPE = TrainingConfig(optimizer="adam", learning_rate=1e-3, weight_decay=0.0, milestones=())
EPOCHS = 20
STACK = 5


def table_task(source: str, width: int, *, epochs: int) -> PreparedTask:
    """A bundled table with a perceptron of three equal hidden layers."""
    spec = TaskSpec(
        data=DataSpec(source=source),
        network=NetworkSpec(name="mlp", arguments={"widths": [width] * 3}),
        epochs=epochs,
        batch_size=32,
        validation_share=0.2,
    )
    return build_task(spec, prepare(spec, load_dataset(spec.data, test_share=0.2)), name=source, seed=0, device="cpu")


def by_data_loader(task: PreparedTask) -> None:
    """The loop of every tutorial: DataLoader, zero_grad, backward, torch.optim.Adam, loss and hits read each step."""
    network = task.network().train()
    data = TensorDataset(normalise(task.train.inputs, task.normalization), task.train.targets)
    loader = DataLoader(data, batch_size=task.batch_size, shuffle=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=RECIPE.learning_rate)
    for _ in range(EPOCHS):
        total, right = 0.0, 0
        for inputs, targets in loader:
            optimizer.zero_grad()
            logits = network(inputs)
            loss = F.cross_entropy(logits, targets)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(targets)
            right += (logits.argmax(dim=1) == targets).sum().item()


def _alone(task: PreparedTask) -> None:
    train(task.network(), task, config=RECIPE, epochs=EPOCHS, monitor=SilentMonitor())


def _stacked(task: PreparedTask) -> None:
    networks = [replace(task, seed=seed).network() for seed in range(STACK)]
    train_together(networks, task, config=RECIPE, epochs=EPOCHS, monitor=SilentMonitor(), phase=Phase())


def least_seconds(call: Callable[[], object], *, repeats: int) -> float:
    """Fastest of `repeats` calls after one that warms up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def show_training() -> None:
    task = table_task("breast_cancer", 128, epochs=EPOCHS)
    plain = least_seconds(lambda: by_data_loader(task), repeats=3) / EPOCHS
    alone = least_seconds(lambda: _alone(task), repeats=3) / EPOCHS
    stacked = least_seconds(lambda: _stacked(task), repeats=3) / EPOCHS / STACK
    print(f"training, ms per model and epoch ({len(task.train)} rows): DataLoader {plain * 1e3:.2f}")
    print(f"  ours alone: {alone * 1e3:.2f}, {plain / alone:.1f}x")
    print(f"  ours, {STACK} as one stack: {stacked * 1e3:.2f}, {plain / stacked:.1f}x")


def show_method() -> None:
    for source, width in (("breast_cancer", 128), ("digits", 256), ("diabetes", 128)):
        task = table_task(source, width, epochs=48)
        given = {"dense": Dense(RECIPE).fit(task, {}, SilentMonitor()).variants[0].network}
        dense = least_seconds(partial(Dense(RECIPE).fit, task, {}, SilentMonitor()), repeats=3)
        refining = Odf2nna(Odf2nnaConfig(start="dense"))
        rest = least_seconds(partial(refining.fit, task, given, SilentMonitor()), repeats=3)
        print(f"method on {source}: dense {dense:.2f} s, the rest {rest:.2f} s, in all {(dense + rest) / dense:.2f}x")


def show_scoring() -> None:
    for rows in (100_000, 1_000_000):
        command = [sys.executable, "-m", "tests.benchmarks.dense_refinement", "--rows", str(rows)]
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


def score_rows(rows: int) -> None:
    """Score 3 x 300 units on random rows of 28 features; says how much memory that took beyond the rows."""
    task = table_task("breast_cancer", 300, epochs=1)
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.randn(rows, 28, generator=generator), torch.randint(2, (rows,), generator=generator))
    task = replace(task, train=split, normalization=Normalization((0.0,), (1.0,)))
    network = build_network("mlp", input_shape=(28,), num_outputs=2, seed=0, arguments={"widths": [300] * 3})
    head = find_head(network.architecture)
    assert head is not None
    before = _resident("VmRSS")
    # From here on the kernel reckons the peak anew.
    Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    head_statistics(network, head, task, statistic="std", balanced=False)
    seconds = time.perf_counter() - start
    more = (_resident("VmHWM") - before) / 1024
    print(f"scoring {rows:,} rows: {more:.0f} MiB beyond the samples, {seconds:.1f} s")


def _resident(name: str) -> int:
    """Memory of this process in KiB: `VmRSS` now, `VmHWM` at most so far."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def show_latency() -> None:
    times = {}
    for width in (512, 160):
        network = build_network("mlp", input_shape=(784,), num_outputs=10, seed=0, arguments={"widths": [width] * 3})
        times[width] = [latency_ms(network.eval(), (784,), size, budget_seconds=2.0).median_ms for size in (1, 256)]
    for size, wide, narrow in zip((1, 256), times[512], times[160], strict=True):
        print(f"latency, batch {size}: {wide:.3f} ms at 512, {narrow:.3f} ms at 160, {wide / narrow:.1f}x")


PARTS = {"training": show_training, "method": show_method, "scoring": show_scoring, "latency": show_latency}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.rows:
        score_rows(arguments.rows)
        return
    for name, show in PARTS.items():
        if arguments.part in (None, name):
            show()


if __name__ == "__main__":
    main()
