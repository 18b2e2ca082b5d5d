"""One pass of the training samples through a network: the moments of every hidden unit of its dense head.

Shapes: U = units of one hidden layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.contract import Task
from methods.networks.dense_head import DenseHead
from methods.networks.graph import Network
from methods.odf2nna.usefulness import Statistic, StreamingMoments, balanced_mean_and_std
from methods.training.batches import plain_batches

_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class HeadStatistics:
    """What one pass saw; tuples have an entry (U,) float64 for each hidden layer."""

    mean: tuple[Tensor, ...]
    """Over all rows. Outputs of ReLUs are not negative, so this is the mean absolute activation as well."""
    variability: tuple[Tensor, ...]
    """Standard deviation or range."""
    always_active: tuple[bool, ...]
    """Whether every unit of the layer put out more than 0 for every row: the layer is affine on these rows."""


@torch.inference_mode()
def head_statistics(
    network: Network, head: DenseHead, task: Task, *, statistic: Statistic, balanced: bool
) -> HeadStatistics:
    """Pass once over the training samples, never validation or test, in evaluation mode and float32.

    Activations are merged batch by batch, so memory does not grow with the samples.

    Args:
        network: Left in the mode it was in.
        balanced: Judge variability as if all classes had equally many rows; for classification with `std`. Means stay
            those over all rows, as folding wants them.
    """
    num_groups = task.info.num_outputs if balanced else 1
    moments = [[StreamingMoments() for _ in range(num_groups)] for _ in head.sites]
    was_training = network.training
    network.eval()
    batches = plain_batches(
        task.train, batch_size=max(task.batch_size, _ROWS_AT_ONCE), normalization=task.normalization
    )
    for inputs, targets in batches:
        activations = network.run(inputs, record=True).activations
        for site, groups in zip(head.sites, moments, strict=True):
            for group, seen in enumerate(groups):
                seen.update(activations[site][targets == group] if balanced else activations[site])
    network.train(was_training)
    return _gathered(moments, statistic, balanced=balanced)


def _gathered(moments: list[list[StreamingMoments]], statistic: Statistic, *, balanced: bool) -> HeadStatistics:
    # Ordinary tensors, so that a caller outside of inference mode may work with them.
    with torch.inference_mode(False):
        means, variabilities, active = [], [], []
        for groups in moments:
            whole = StreamingMoments()
            for seen in groups:
                whole.merge(seen)
            variability_U = whole.std if statistic == "std" else whole.range
            if balanced:
                _, variability_U = balanced_mean_and_std(groups)
            means.append(whole.mean.clone())
            variabilities.append(variability_U.clone())
            active.append(bool((whole.low > 0).all()))
    return HeadStatistics(tuple(means), tuple(variabilities), tuple(active))
