"""What both ways of decomposing a CNN ask of a task, and the network they start from."""

from __future__ import annotations

import copy

import torch

from methods.cnn_decomposition.layers import maskable_layers
from methods.cnn_decomposition.source_config import DecompositionConfig
from methods.contract import Given, Prerequisite, Task, TaskInfo, UnsupportedTask
from methods.measure.subtasks import check_labels
from methods.networks.graph import Network

_SOURCE = "dense"


def source_prerequisite(config: DecompositionConfig) -> Prerequisite:
    """The run that trains the network to decompose, once for all methods of a study that start from it."""
    return Prerequisite(_SOURCE, config.source.changed())


def check_task(info: TaskInfo, *, method: str) -> None:
    """Raise `UnsupportedTask` unless the task has two classes at least and its network has convolutions."""
    if info.kind == "regression":
        raise UnsupportedTask(
            f"{method}: modules serve classes, and this task is a regression; use hypersparse, magnitude, odf2nna or "
            "scratch"
        )
    if info.num_outputs < 2:
        raise UnsupportedTask(
            f"{method}: this task has one class, and modules tell classes apart; give it at least two"
        )
    if not maskable_layers(info.architecture):
        raise UnsupportedTask(
            f"{method}: network '{info.network}' has no convolution with a ReLU behind it, and modules are made of "
            "convolution kernels; use small_cnn or another convolutional network, or activation_driven for this one"
        )


def require_every_class(task: Task, *, method: str) -> None:
    """Raise a ValueError when a class has no training or no validation sample."""
    for what, split in (("training", task.train), ("validation", task.validation)):
        check_labels(split.targets, num_classes=task.info.num_outputs)
        counts = torch.bincount(split.targets, minlength=task.info.num_outputs).tolist()
        missing = [f"'{name}'" for name, count in zip(task.info.class_names, counts, strict=True) if not count]
        if missing:
            raise ValueError(
                f"{method}: task {task.info.name}: class {', '.join(missing)} has no {what} sample, so its module can "
                "be neither made nor judged; add samples, raise validation_share, or leave the class out"
            )


def source_network(given: Given, task: Task) -> Network:
    """A copy of the trained network, for inference and never trained again."""
    return copy.deepcopy(given[_SOURCE]).to(task.device).eval().requires_grad_(False)
