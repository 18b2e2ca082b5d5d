"""Pruned copies of a network in training: tried out in place, remembered by their survivors alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from methods.contract import Task
from methods.networks.dropout import switch_off_dropout
from methods.training.batches import train_batches
from methods.training.precision import autocast, task_precision


@dataclass(frozen=True)
class Snapshot:
    """One pruned network: a bit per prunable weight, the survivors' values, and every other tensor of the network."""

    bits: Tensor
    """uint8, the masks one after another, eight weights a byte."""
    survivors: Tensor
    """float32 (kept,), in the order of the bits."""
    rest: Mapping[str, Tensor]
    """Biases, normalisation and its statistics, by their names in the network."""

    @classmethod
    def take(cls, network: nn.Module, weights: Sequence[Tensor], masks: Sequence[Tensor]) -> Snapshot:
        """Remember what `network` is, its prunable `weights` cut by `masks`; copies, so training may go on."""
        kept = torch.cat([mask.reshape(-1) for mask in masks])
        values = torch.cat([weight.detach()[mask] for weight, mask in zip(weights, masks, strict=True)])
        prunable = {id(weight) for weight in weights}
        rest = {
            name: value.detach().clone()
            for name, value in network.state_dict(keep_vars=True).items()
            if id(value) not in prunable
        }
        return cls(torch.from_numpy(np.packbits(kept.cpu().numpy())), values, rest)

    def restore(self, network: nn.Module, weights: Sequence[Tensor]) -> list[Tensor]:
        """Make `network` that pruned network, in place; returns its masks."""
        count = sum(weight.numel() for weight in weights)
        kept = torch.from_numpy(np.unpackbits(self.bits.numpy(), count=count)).bool().to(weights[0].device)
        parts = torch.split(kept, [weight.numel() for weight in weights])
        # Laid out like the weights, so that masking gradients walks through both in order.
        masks = [
            torch.empty_like(weight, dtype=torch.bool).copy_(part.view(weight.shape))
            for part, weight in zip(parts, weights, strict=True)
        ]
        values = torch.split(self.survivors.to(weights[0].device), [int(mask.sum()) for mask in masks])
        with torch.no_grad():
            for weight, mask, value in zip(weights, masks, values, strict=True):
                weight.zero_()
                weight[mask] = value
        network.load_state_dict(dict(self.rest), strict=False)
        return masks

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"bits": self.bits, "survivors": self.survivors, "rest": dict(self.rest)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Snapshot:
        """The inverse of `state`."""
        return cls(state["bits"], state["survivors"], state["rest"])


@contextmanager
def pruned(network: nn.Module, weights: Sequence[Tensor], masks: Sequence[Tensor]) -> Iterator[None]:
    """Inside, the network is pruned; afterwards its weights and buffers are what they were, bit for bit."""
    before = [weight.detach().clone() for weight in weights]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    with torch.no_grad():
        for weight, mask in zip(weights, masks, strict=True):
            weight.masked_fill_(~mask, 0.0)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, values in zip(weights, before, strict=True):
                weight.copy_(values)
            for buffer, values in buffers:
                buffer.copy_(values)


def reestimate_batch_norm(network: nn.Module, task: Task, *, num_batches: int, generator: torch.Generator) -> None:
    """Replace the running statistics by plain means over augmented training batches; weights stay as they are."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    was_training = network.training
    network.train()
    switch_off_dropout(network)
    batches = train_batches(
        task.train,
        batch_size=task.batch_size,
        normalization=task.normalization,
        augmentation=task.augmentation,
        generator=generator,
    )
    with torch.no_grad():
        for _, (inputs, _) in zip(range(num_batches), batches, strict=False):
            with autocast(task.device, task_precision(task)):
                network(inputs)
    network.train(was_training)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
