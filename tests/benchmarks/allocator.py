"""What it saves to keep freed memory: training steps in fresh processes with and without it, in turn.

Run: python -m tests.benchmarks.allocator [--network resnet20] [--threads 2] [--turns 3]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from dataclasses import replace

import torch

from methods.contract import Split
from methods.training.allocator import keep_freed_memory
from methods.training.learner import Learner
from methods.training.loop import train_epoch
from tests.benchmarks.training_loop import cifar_like_task

BATCH_SIZE, STEPS, EPOCHS, WARM_UP = 128, 8, 12, 2


def step_ms(network: str) -> float:
    """Median milliseconds of a step over epochs of this process."""
    task = cifar_like_task(network, BATCH_SIZE)
    few = slice(0, STEPS * BATCH_SIZE)
    task = replace(task, train=Split(task.train.inputs[few], task.train.targets[few]))
    learner = Learner(task.network(), momentum=0.9, weight_decay=1e-4, seed=0)
    taken = []
    for _ in range(EPOCHS):
        begun = time.perf_counter()
        train_epoch(learner, task, learning_rate=1e-3)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[WARM_UP:]) / STEPS * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description="Training steps with and without keeping freed memory.")
    parser.add_argument("--network", default="resnet20", help="name in the catalog")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3, help="processes of each kind (default 3)")
    parser.add_argument("--in-this-process", choices=("keep", "return"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_this_process:
        torch.set_num_threads(arguments.threads)
        if arguments.in_this_process == "keep" and not keep_freed_memory():
            sys.exit("the C library here does not keep memory")
        print(step_ms(arguments.network))
        return
    taken: dict[str, list[float]] = {"keep": [], "return": []}
    for _ in range(arguments.turns):
        for how, milliseconds in taken.items():
            command = [sys.executable, "-m", "tests.benchmarks.allocator", "--in-this-process", how]
            command += ["--network", arguments.network, "--threads", str(arguments.threads)]
            milliseconds.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    keep, give_back = (statistics.median(taken[how]) for how in ("keep", "return"))
    print(
        f"{arguments.network}, batch {BATCH_SIZE}, {arguments.threads} threads: a step {keep:.1f} ms with freed memory "
        f"kept, {give_back:.1f} ms with it given back, {give_back / keep:.2f}x"
    )


if __name__ == "__main__":
    main()
