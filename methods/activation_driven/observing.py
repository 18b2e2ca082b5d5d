"""One pass over training samples that sees which units fire, and what the three losses say of a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from methods.activation_driven.losses import pool, pooled_losses
from methods.activation_driven.modularize import ActivityCounts
from methods.contract import Split, Task
from methods.measure.predict import exact_evaluation
from methods.modules.activity import fires
from methods.networks.graph import Network
from methods.training.batches import train_batches


@dataclass(frozen=True)
class Observation:
    """What a pass has seen."""

    rates: list[Tensor]
    """float64 (K, U) on the CPU, per site: share of the samples of each class that each unit fires for."""
    affinity: float
    """The three losses in evaluation mode, mean over the batches."""
    dispersion: float
    compactness: float


def observe(
    network: Network,
    split: Split,
    task: Task,
    *,
    spatial_share: float,
    augmentation: Literal["none", "crop_flip"],
    seed: int,
) -> Observation:
    """Show every sample once to a network in evaluation mode, shuffled, in float32 whatever training runs in.

    Args:
        network: Left as it is.
        split: Of the task, each of whose classes has a sample.
        spatial_share: See `fires`.
        augmentation: How samples are shown.
        seed: Of order and augmentation.

    Raises:
        ValueError: A class has no sample.
    """
    activity = ActivityCounts(task.info.num_outputs)
    generator = torch.Generator(device=split.targets.device).manual_seed(seed)
    losses = []
    widths = [site.units for site in network.sites]

    def seen(activation: Tensor) -> Tensor:
        """What is kept of a map: (2, B, U), whether and how strongly each unit fires."""
        fired_BU = fires(activation, spatial_share=spatial_share)
        return torch.stack([fired_BU.float(), pool(activation, signed=False)])

    with exact_evaluation(network, device=task.device):
        for inputs, target_B in train_batches(
            split,
            batch_size=_batch_size(len(split), task.batch_size),
            normalization=task.normalization,
            augmentation=augmentation,
            generator=generator,
        ):
            kept = torch.cat(list(network.run(inputs, record=seen).activations.values()), dim=2)
            activity.add(torch.split(kept[0] > 0, widths, dim=1), target_B)
            losses.append(torch.stack(pooled_losses(kept[1], target_B, widths=widths)))
    affinity, dispersion, compactness = torch.stack(losses).double().mean(dim=0).tolist()
    return Observation([rate_KU.cpu() for rate_KU in activity.rates()], affinity, dispersion, compactness)


def sample_of(split: Split, *, num_classes: int, most: int, seed: int) -> Split:
    """A fixed part of a split in which every class has an equal share of at most `most` samples, or all it has."""
    generator = torch.Generator().manual_seed(seed)
    order_N = torch.randperm(len(split), generator=generator).to(split.targets.device)
    each = max(1, most // num_classes)
    chosen: Sequence[Tensor] = [order_N[split.targets[order_N] == one][:each] for one in range(num_classes)]
    index = torch.cat(list(chosen)).sort().values
    return Split(split.inputs[index], split.targets[index])


def _batch_size(count: int, batch_size: int) -> int:
    """The nearest size that leaves no batch of one sample, which `train_batches` would leave out."""
    while batch_size > 1 and count > 1 and count % batch_size == 1:
        batch_size += 1
    return batch_size
