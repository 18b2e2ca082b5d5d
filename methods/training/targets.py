"""Regression in standard units: training sees targets of mean 0 and deviation 1, what is delivered speaks in raw units.

One learning rate then serves targets of any unit, and the weights of the last layer are of the size of all others,
which pruning by magnitude relies on. R2 is the same in both units. For classification nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from methods.contract import Normalization, Split, Task, TaskInfo
from methods.networks.graph import Network


@dataclass(frozen=True)
class _StandardTask:
    """A task with other targets; see `methods.contract.Task`."""

    info: TaskInfo
    train: Split
    validation: Split
    normalization: Normalization
    augmentation: Literal["none", "crop_flip"]
    epochs: int
    batch_size: int
    seed: int
    device: str
    precision: Literal["auto", "float32", "bfloat16"]
    class_weights: Tensor | None
    make_network: Callable[..., Network]

    def network(self, *, width: float = 1.0, units: Mapping[str, int] | None = None) -> Network:
        return self.make_network(width=width, units=units)


def in_standard_units(task: Task) -> Task:
    """The task with its targets less the mean and over the deviation of its training targets."""
    if task.info.kind == "classification":
        return task
    mean, deviation = _mean_and_deviation(task)

    def scaled(split: Split) -> Split:
        return Split(split.inputs, (split.targets - mean) / deviation)

    return _StandardTask(
        info=task.info,
        train=scaled(task.train),
        validation=scaled(task.validation),
        normalization=task.normalization,
        augmentation=task.augmentation,
        epochs=task.epochs,
        batch_size=task.batch_size,
        seed=task.seed,
        device=task.device,
        precision=task.precision,
        class_weights=task.class_weights,
        make_network=task.network,
    )


def to_raw_units(network: Network, task: Task) -> Network:
    """Make a network that was trained on `in_standard_units(task)` predict the targets of `task`.

    Changes the last layer in place.

    Raises:
        ValueError: The network does not end in a linear layer with a bias.
    """
    if task.info.kind == "regression":
        mean, deviation = _mean_and_deviation(task)
        weight, bias = _last_layer(network)
        weight.mul_(deviation)
        bias.mul_(deviation).add_(mean)
    return network


def to_standard_units(network: Network, task: Task) -> Network:
    """Undo `to_raw_units`, in place, to go on training a delivered network."""
    if task.info.kind == "regression":
        mean, deviation = _mean_and_deviation(task)
        weight, bias = _last_layer(network)
        weight.div_(deviation)
        bias.sub_(mean).div_(deviation)
    return network


def _mean_and_deviation(task: Task) -> tuple[Tensor, Tensor]:
    targets = task.train.targets
    # Equal targets have no deviation; any other number serves them as well.
    deviation = targets.std(correction=0)
    return targets.mean(), torch.where(deviation > 0, deviation, torch.ones_like(deviation))


def _last_layer(network: Network) -> tuple[Tensor, Tensor]:
    """Weight and bias of the layer that gives the output, detached: changes in place reach the network."""
    layer = network.nodes[network.architecture.nodes[-1].name]
    if not isinstance(layer, nn.Linear) or layer.bias is None:
        raise ValueError(
            f"a regression network must end in a linear layer with a bias, not in {layer}; "
            "its output cannot be brought to the unit of the targets otherwise"
        )
    return layer.weight.detach(), layer.bias.detach()
