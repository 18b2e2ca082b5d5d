"""Training on what the sites of a network put out: a network that hands them on, and the loss that reads them.

Shapes: B = samples, K = logits, U = units of all sites together.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from methods.activation_driven.losses import pool, pooled_losses
from methods.contract import Task
from methods.networks.graph import Network
from methods.training.loop import Loss, default_loss


class RecordingNetwork(nn.Module):
    """A network that in training puts out its logits and, beside them, the pooled activations of its sites.

    In training mode (B, K + U), float32 or wider: the logits first, then `pool` of each site in order. Of the maps
    nothing is kept but what autograd keeps anyway. In evaluation mode the logits alone, as the network computes them.

    Args:
        network: Shared, not copied: training this trains it.
        record: False makes this put out logits alone in either mode, for training without the three losses.

    Raises:
        ValueError: The network has no ReLU to record.
    """

    def __init__(self, network: Network, *, record: bool = True) -> None:
        super().__init__()
        if record and not network.sites:
            raise ValueError("RecordingNetwork: the network has no ReLU; use one that has, or pass record=False.")
        self.network = network
        self.num_outputs = network.architecture.num_outputs
        self.widths: tuple[int, ...] = tuple(site.units for site in network.sites) if record else ()
        """Units of each recorded site."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.widths:
            logits: Tensor = self.network(x)
            return logits
        run = self.network.run(x, record=partial(pool, signed=False))
        # Of mixed types: the widest is taken, so bfloat16 logits join float32 sums.
        return torch.cat([run.logits, *run.activations.values()], dim=1)

    def logits(self, outputs: Tensor) -> Tensor:
        """Those of an output of either mode, (B, K); the `reading` of the training loop."""
        return outputs[:, : self.num_outputs]


def modular_loss(
    task: Task, network: RecordingNetwork, *, affinity: float, dispersion: float, compactness: float
) -> Loss:
    """The task's own loss on the logits plus the weighted losses on the activations, for the training loop.

    Args:
        task: A classification.
        network: What is trained. It need not record where all three weights are 0, and nothing is computed then.
        affinity, dispersion, compactness: Weights, 0 or above; alpha, beta and gamma of the publication.

    Raises:
        ValueError: A regression, a weight out of range, or weights for a network that does not record.
    """
    weights = {"affinity": affinity, "dispersion": dispersion, "compactness": compactness}
    if task.info.kind != "classification":
        raise ValueError(f"modular_loss: {task.info.name} is a {task.info.kind}; its samples form no classes.")
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise ValueError(f"modular_loss: the weight of {name} is {weight}; choose a finite number of 0 or above.")
    plain = default_loss(task)
    if not any(weights.values()):
        return lambda outputs, labels_B: plain(network.logits(outputs), labels_B)
    if not network.widths:
        raise ValueError("modular_loss: weights above 0, but the network was made with record=False; let it record.")

    def loss(outputs: Tensor, labels_B: Tensor) -> Tensor:
        logits_BK, pooled_BU = outputs.tensor_split([network.num_outputs], dim=1)
        parts = pooled_losses(pooled_BU, labels_B, widths=network.widths, num_classes=network.num_outputs)
        return (
            plain(logits_BK, labels_B)
            + affinity * parts.affinity
            + dispersion * parts.dispersion
            + compactness * parts.compactness
        )

    return loss
