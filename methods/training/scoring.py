"""What weights are scored with before training: a few training samples, and the loss of a network on them.

Scores are taken in float32 on samples without augmentation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.contract import Split, Task
from methods.networks.graph import Network
from methods.training.batches import plain_batches
from methods.training.loop import default_loss


def random_samples(split: Split, *, count: int, generator: torch.Generator) -> Split:
    """So many samples drawn without replacement, or all there are, in random order; `generator` is on the CPU."""
    return _take(split, torch.randperm(len(split), generator=generator)[:count])


def balanced_samples(split: Split, *, per_class: int, generator: torch.Generator) -> Split:
    """So many samples of each class, or all that the class has, in random order; `generator` is on the CPU."""
    order_N = torch.randperm(len(split), generator=generator)
    target_N = split.targets.cpu()[order_N]
    places = [(target_N == label).nonzero().squeeze(1)[:per_class] for label in torch.unique(target_N)]
    return _take(split, order_N[torch.cat(places).sort().values])


def scoring_loss(network: Network, samples: Split, task: Task, *, temperature: float = 1.0) -> Tensor:
    """The task's own loss on all the samples at once, differentiable; what the network gives is first divided by
    `temperature`."""
    ((inputs, targets),) = plain_batches(samples, batch_size=len(samples), normalization=task.normalization)
    return default_loss(task)(network(inputs) / temperature, targets)


def _take(split: Split, index_N: Tensor) -> Split:
    index_N = index_N.to(split.targets.device)
    return Split(split.inputs[index_N], split.targets[index_N])
