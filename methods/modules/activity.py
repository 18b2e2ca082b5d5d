"""Which units a sample makes fire. Shapes: B, N = samples, U = units of a site."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from methods.contract import Split, Task
from methods.measure.predict import exact_evaluation, ready
from methods.networks.graph import Network

_BATCH_SIZE = 128


def fires(activation: Tensor, *, spatial_share: float = 0.0) -> Tensor:
    """Which units are not zero, bool (B, U); of a channel more than `spatial_share` of its positions must not be.

    Args:
        activation: Output of a ReLU, (B, C, H, W) or (B, U).
        spatial_share: In [0, 1). 0 is the rule of activation-driven modular training, any position. It keeps nearly
            every channel of a large map (98 % of a ResNet18 at 224 pixels); a larger share is our remedy.
    """
    if activation.dim() == 2:
        return activation != 0
    positions = (activation != 0).flatten(2)
    return positions.any(dim=2) if spatial_share == 0 else positions.float().mean(dim=2) > spatial_share


def active_units(network: Network, split: Split, task: Task, *, spatial_share: float = 0.0) -> list[Tensor]:
    """The units that each sample of a split makes fire, bool (N, U) on the CPU, one tensor for each site in order.

    Args:
        network: On the task's device; runs in evaluation mode and float32.
        split: Of the task, with at least one sample.
    """
    found: list[list[Tensor]] = []
    with exact_evaluation(network, device=task.device):
        for inputs in torch.split(split.inputs, _BATCH_SIZE):
            x = ready(inputs, normalization=task.normalization, device=task.device)
            run = network.run(x, record=partial(fires, spatial_share=spatial_share))
            found.append([activation.cpu() for activation in run.activations.values()])
    return [torch.cat(batches) for batches in zip(*found, strict=True)]
