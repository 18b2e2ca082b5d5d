"""What class modules of several trained networks are worth together, on test images of CIFAR-10.

Three settings of GradSplitter (Qi et al., TOSEM 2023), small enough for two cores:

- `same_task`: source models are trained on class-skewed subsets and decomposed; for each class the module with the
  best F1 on validation is taken. A class that is rare for one model is frequent for another.
- `new_task`: a class of CIFAR-10 against a digit, modules of two models that never saw each other's images, against a
  model trained from scratch on the images of the two that these models saw. Accuracy is the mean over both classes, as
  there are a thousand test images of the one and some 36 of the other.
- `splits`: models of classes 0-4 and of 5-9, composed for all ten and for the 25 pairs with a class of either, against
  a model trained from scratch on all, its other logits cut off.

Modules are chosen on validation images, which no skew touches; test images are read once, at the end of each repeat.

Run: PAREDOWN_CIFAR10=FOLDER python -m tests.benchmarks.module_reuse --part same_task [--models 4] [--repeats 3]
     [--fraction 0.1] [--dense-epochs 20] [--cycles 3] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.cnn_decomposition.gradsplitter_config import GradSplitterConfig
from methods.cnn_decomposition.gradsplitter_method import GradSplitter
from methods.contract import SilentMonitor, Split
from methods.data.dataset import Array
from methods.data.load import load_dataset
from methods.data.statistics import measure_normalization
from methods.dense import Dense
from methods.measure import predict
from methods.measure.subtasks import restricted_accuracies
from methods.modules.library import ModuleLibrary
from methods.modules.picks import ModulePick
from methods.modules.reuse import best_modules, compose_across, module_f1
from methods.modules.side_by_side import as_network
from methods.networks.graph import Network
from methods.task_spec import DataSpec, NetworkSpec, SkewSpec, TaskSpec
from methods.tasks import PreparedTask, TaskData, build_task, open_test, prepare
from methods.training.config import TrainingConfig

SKEWS = (1, 3, 4, 6, 8, 10, 11, 14, 15, 16)
"""Of the paper's ten SimCNN models on CIFAR-10."""
CIFAR10 = DataSpec(source="parquet_images", path="${PAREDOWN_CIFAR10}")
DIGITS = DataSpec(source="digits", image_shape=(3, 32, 32))
NETWORK = NetworkSpec(name="simcnn_gradsplitter", arguments={"stages": [8, 16, 32, 32, 32], "hidden": [64, 64]})
PAIRS = (("cat", "3"), ("ship", "8"), ("frog", "0"), ("truck", "7"))

Row = dict[str, float]


@dataclass(frozen=True)
class Source:
    """One trained network, what it was trained on, and its modules."""

    task: PreparedTask
    data: TaskData
    network: Network
    library: ModuleLibrary

    def pick(self, name: str) -> ModulePick:
        return ModulePick(self.library, name, self.task.normalization)


def spec_of(data: DataSpec, arguments: argparse.Namespace, *, fraction: float, **more: Any) -> TaskSpec:
    return TaskSpec(
        data=data,
        network=NETWORK,
        epochs=arguments.dense_epochs,
        fraction=fraction,
        validation_share=0.2,
        augmentation="crop_flip",
        **more,
    )


def task_of(spec: TaskSpec, seed: int) -> tuple[PreparedTask, TaskData]:
    data = prepare(spec, load_dataset(spec.data, test_share=spec.test_share))
    return build_task(spec, data, name="source", seed=seed, device="cpu"), data


def trained(task: PreparedTask) -> Network:
    recipe = TrainingConfig(learning_rate=0.02, milestones=(0.6, 0.85))
    return Dense(recipe).fit(task, {}, SilentMonitor()).variants[0].network.eval()


def decomposed(spec: TaskSpec, seed: int, arguments: argparse.Namespace) -> Source:
    task, data = task_of(spec, seed)
    network = trained(task)
    config = GradSplitterConfig(learning_rate=arguments.learning_rate, cycles=arguments.cycles)
    longer, _ = task_of(spec.model_copy(update={"epochs": 5 + 7 * arguments.cycles}), seed)
    library = GradSplitter(config).fit(longer, {"dense": network}, SilentMonitor()).library
    assert library is not None
    return Source(task, data, network, library)


def accuracy(network: Network, split: Split, task: PreparedTask) -> float:
    return share_right(scores_of(network, split, task), split)


def scores_of(network: Network, split: Split, task: PreparedTask) -> Tensor:
    return predict(network, split, normalization=task.normalization, device="cpu")


def share_right(scores: Tensor, split: Split) -> float:
    return float((scores.argmax(dim=1) == split.targets).double().mean())


def same_task(arguments: argparse.Namespace, seed: int) -> Row:
    minimum = arguments.minimum
    sources = [
        decomposed(
            spec_of(CIFAR10, arguments, fraction=arguments.fraction, skew=SkewSpec(seed=skew, minimum=minimum)),
            seed,
            arguments,
        )
        for skew in SKEWS[: arguments.models]
    ]
    names = sources[0].library.class_names
    f1 = [f1_on_validation(source, sources[0].task.validation, range(len(names))) for source in sources]
    chosen = best_modules(f1)
    together = compose_across([sources[index].pick(name) for index, name in zip(chosen, names, strict=True)])
    test = open_test(sources[0].data, opened_by="benchmark of module reuse")
    own = [accuracy(source.network, test, source.task) for source in sources]
    composed = [accuracy(as_network(source.library.compose(names)), test, source.task) for source in sources]
    validation = sources[0].task.validation
    seen = [accuracy(source.network, validation, source.task) for source in sources]
    return {
        "source models, mean": mean(own),
        "best source model, by validation": own[seen.index(max(seen))],
        "best source model, by test": max(own),
        "own modules composed, mean": mean(composed),
        "own modules composed, best by test": max(composed),
        "best modules of all composed": accuracy(together, test, sources[chosen[0]].task),
        "models that give modules": float(len(set(chosen))),
    }


def f1_on_validation(source: Source, split: Split, labels: Sequence[int]) -> list[float]:
    return module_f1(source.library, split, labels=labels, normalization=source.task.normalization, device="cpu")


def new_task(arguments: argparse.Namespace, seed: int) -> Row:
    cifar = decomposed(spec_of(CIFAR10, arguments, fraction=arguments.fraction), seed, arguments)
    digits = decomposed(spec_of(DIGITS, arguments, fraction=1.0), seed, arguments)
    tests = [open_test(source.data, opened_by="benchmark of module reuse") for source in (cifar, digits)]
    row: Row = {}
    for animal, digit in PAIRS:
        places = [cifar.data.class_names.index(animal), digits.data.class_names.index(digit)]
        task = pair_task(cifar.data, digits.data, places, arguments, seed)
        test = Split(*map(torch.from_numpy, of_pair([(split.inputs, split.targets) for split in tests], places)))
        composed = compose_across([cifar.pick(animal), digits.pick(digit)])
        scratch = mean_recall(scores_of(trained(task), test, task), test)
        reused = mean_recall(scores_of(composed, test, cifar.task), test)
        row |= {f"{animal} or {digit}: from scratch": scratch, f"{animal} or {digit}: composed": reused}
    losses = [row[f"{a} or {d}: from scratch"] - row[f"{a} or {d}: composed"] for a, d in PAIRS]
    return row | {"mean loss": mean(losses)}


def pair_task(
    one: TaskData, other: TaskData, places: Sequence[int], arguments: argparse.Namespace, seed: int
) -> PreparedTask:
    """To tell a class of each apart, by the images that the source models saw; both classes weigh alike.

    A mixture of both sets would thin out the digits as it does CIFAR-10, and the source models saw them all.
    """
    parts = (one, other)
    train = of_pair([(part.train_inputs, part.train_targets) for part in parts], places)
    validation = of_pair([(part.validation_inputs, part.validation_targets) for part in parts], places)
    names = tuple(part.class_names[place] for part, place in zip(parts, places, strict=True))
    data = TaskData(
        " or ".join(names), "classification", "", names, *train, *validation, measure_normalization(train[0]), None
    )
    spec = spec_of(CIFAR10, arguments, fraction=1.0, class_weights="balanced")
    # Two classes make so few steps an epoch that the sources' number of them would leave the network untrained.
    spec = spec.model_copy(update={"epochs": arguments.scratch_epochs})
    return build_task(spec, data, name=data.name, seed=seed, device="cpu")


def of_pair(parts: Sequence[tuple[Any, Any]], places: Sequence[int]) -> tuple[Array, Array]:
    """The samples of one class of each part, numbered 0 and 1."""
    inputs = [
        np.asarray(images)[np.asarray(labels) == place] for (images, labels), place in zip(parts, places, strict=True)
    ]
    numbers = [np.full(len(images), number, dtype=np.int64) for number, images in enumerate(inputs)]
    return np.concatenate(inputs), np.concatenate(numbers)


def mean_recall(scores: Tensor, split: Split) -> float:
    right = scores.argmax(dim=1) == split.targets
    return mean(float(right[split.targets == label].double().mean()) for label in split.targets.unique())


def splits(arguments: argparse.Namespace, seed: int) -> Row:
    names = load_dataset(CIFAR10, test_share=0.2).class_names
    halves = [
        decomposed(
            spec_of(CIFAR10.model_copy(update={"classes": part}), arguments, fraction=arguments.fraction),
            seed,
            arguments,
        )
        for part in (names[:5], names[5:])
    ]
    task, data = task_of(spec_of(CIFAR10, arguments, fraction=arguments.fraction), seed)
    test = open_test(data, opened_by="benchmark of module reuse")
    composed = compose_across([halves[index // 5].pick(name) for index, name in enumerate(names)])
    scratch = scores_of(trained(task), test, task)
    together = scores_of(composed, test, halves[0].task)
    return {
        "all ten from scratch": share_right(scratch, test),
        "modules of both halves composed": share_right(together, test),
        "pairs across the halves, from scratch": pairs_across(scratch, test),
        "pairs across the halves, composed": pairs_across(together, test),
    }


def pairs_across(scores: Tensor, split: Split) -> float:
    """Accuracy on two classes, mean over all pairs of one of the first five and one of the others."""
    pairs_SK = torch.zeros(25, 10, dtype=torch.bool)
    for number, (low, high) in enumerate(product(range(5), range(5, 10))):
        pairs_SK[number, [low, high]] = True
    return float(restricted_accuracies(scores, split.targets, pairs_SK).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["same_task", "new_task", "splits"], default="same_task")
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--minimum", type=int, default=10, help="least samples of a class in a skewed subset")
    parser.add_argument("--dense-epochs", type=int, default=20)
    parser.add_argument("--scratch-epochs", type=int, default=60, help="of the two classes of a new task")
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=0.005, help="of masks and heads")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    part = {"same_task": same_task, "new_task": new_task, "splits": splits}[arguments.part]
    rows = []
    for seed in range(arguments.repeats):
        rows.append(part(arguments, seed))
        print(f"seed {seed}: " + "; ".join(f"{name} {value:.4f}" for name, value in rows[-1].items()), flush=True)
    for name in rows[0]:
        values = [row[name] for row in rows]
        spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
        print(f"{name}: {mean(values):.4f}{spread}, n = {len(values)}", flush=True)
    if arguments.output:
        arguments.output.write_text(json.dumps({"part": arguments.part, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
