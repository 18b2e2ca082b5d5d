"""The scores of many cuts of one network before retraining, in one batched evaluation. [design]

No smaller network is built: units that go are multiplied by zero, and each cut has its own (folded) biases, which
computes what the rebuilt networks compute.

Shapes: N = rows, E = cuts, U, O = units of a layer and of the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.contract import Split, Task
from methods.networks.dense_head import DenseHead
from methods.networks.graph import Network
from methods.odf2nna.head import head_inputs, head_weights
from methods.training.batches import plain_batches

_ROWS_AT_ONCE = 512


@torch.inference_mode()
def screen(
    network: Network,
    head: DenseHead,
    keeps: Sequence[Sequence[Tensor]],
    biases: Sequence[Sequence[Tensor]],
    split: Split,
    task: Task,
) -> list[float]:
    """Accuracy (R2 for regression) of every cut on a split.

    Args:
        network: Uncut; left in the mode it was in.
        keeps: For each cut one bool tensor per hidden layer.
        biases: For each cut the biases of all layers of the head, uncut.
        split: Of the task.
    """
    weights, _ = head_weights(network, head)
    device = weights[0].device
    mask_layers_E1U = [
        torch.stack([keep[layer] for keep in keeps]).to(device, weights[0].dtype)[:, None]
        for layer in range(len(head.sites))
    ]
    bias_layers_E1O = [
        torch.stack([bias[layer] for bias in biases]).to(device, weights[0].dtype)[:, None]
        for layer in range(len(head.layers))
    ]
    was_training = network.training
    network.eval()
    right_E = torch.zeros(len(keeps), dtype=torch.float64, device=device)
    batches = plain_batches(split, batch_size=_ROWS_AT_ONCE, normalization=task.normalization)
    for inputs, targets in batches:
        # Every cut has the first layer's bias of its own only by way of its mask, so one product serves all.
        hidden_ENU = F.linear(head_inputs(network, head, inputs), weights[0]) + bias_layers_E1O[0]
        for weight_OU, bias_E1O, mask_E1U in zip(weights[1:], bias_layers_E1O[1:], mask_layers_E1U, strict=True):
            hidden_ENU = F.linear(F.relu(hidden_ENU) * mask_E1U, weight_OU) + bias_E1O
        right_E += _counted(hidden_ENU, targets, task)
    network.train(was_training)
    scores: list[float] = _score(right_E, split, task).tolist()
    return scores


def _counted(output_ENO: Tensor, targets: Tensor, task: Task) -> Tensor:
    """Hits of a batch, or the sum of its squared residuals, for each cut."""
    if task.info.kind == "classification":
        return (output_ENO.argmax(dim=2) == targets).double().sum(dim=1)
    return (output_ENO.squeeze(2) - targets).double().square().sum(dim=1)


def _score(counted_E: Tensor, split: Split, task: Task) -> Tensor:
    if task.info.kind == "classification":
        return counted_E / len(split)
    targets = split.targets.double()
    low, high = targets.aminmax()
    # As the ruler has it: constant targets leave no variance to explain.
    if bool(low == high):
        return torch.zeros_like(counted_E)
    return 1 - counted_E / (targets - targets.mean()).square().sum()
