"""Several networks trained at once on the same batches, each as if it were alone, up to rounding.

Their losses are summed, so no network's gradients know of the others. Multilayer perceptrons of equal depth become one
stack of padded weights, and each layer one batched product: on small tables a step's cost is Python's, which the stack
pays once for all. Padding is zero and stays zero: a padded unit puts out 0, where ReLU passes no gradient back, and its
outgoing weights see an input of 0.

Shapes: N = samples, M = networks, I, O = inputs and outputs of a layer (the widest network's), K = outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.contract import Monitor, Task
from methods.networks.architecture import Architecture
from methods.networks.graph import Network
from methods.training.config import TrainingConfig
from methods.training.loop import REGRESSION_CLIP, Phase, default_loss, train


def train_together(
    networks: Sequence[Network],
    task: Task,
    *,
    config: TrainingConfig,
    epochs: int,
    monitor: Monitor,
    phase: Phase,
    carry: Mapping[str, Any] | None = None,
) -> list[Network]:
    """Train all networks in place by one schedule, as `train` would each of them; resumable like it.

    The monitor hears the accuracy of the last network, and as loss the sum over all.

    Args:
        networks: At least one, all for this task.
        epochs: Passes over the samples, shared by all networks.
        phase, carry: As in `train`.

    Returns:
        The networks.

    Raises:
        StoppedEarly: From the monitor.
        TrainingDiverged: See `train_epoch`; one network that diverges ends them all.
    """
    group = _stacked(networks) or _SideBySide(networks)
    alone = default_loss(task)

    def loss(output_NMK: Tensor, target_N: Tensor) -> Tensor:
        return torch.stack([alone(logits_NK, target_N) for logits_NK in output_NMK.unbind(dim=1)]).sum()

    def summed_cross_entropy(output_NMK: Tensor, target_N: Tensor) -> Tensor:
        count, size, _ = output_NMK.shape
        repeated = target_N[:, None].expand(count, size)
        return F.cross_entropy(output_NMK.flatten(0, 1), repeated.flatten(), reduction="sum") / count

    train(
        group,
        task,
        config=config,
        epochs=epochs,
        monitor=monitor,
        phase=phase,
        # One kernel for all networks where the loss is the plain one.
        loss=summed_cross_entropy if alone is F.cross_entropy else loss,
        clip=lambda module: module.clip_gradients(REGRESSION_CLIP),
        reading=lambda output_NMK: output_NMK[:, -1],
        carry=carry,
    )
    group.hand_back()
    return list(networks)


class _Group(nn.Module, ABC):
    """What the two ways to train together have in common for those who use them."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, M, K)."""

    @abstractmethod
    def clip_gradients(self, max_norm: float) -> None:
        """Scale down the gradients of every network whose norm exceeds `max_norm`, each by itself."""

    def hand_back(self) -> None:
        """Put the trained weights into the networks that were given."""


class _SideBySide(_Group):
    """Any networks: each reads the batch after the other. Dropout of one draws where that of the last has ended, so
    those that have any see other numbers than alone."""

    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([network(x) for network in self.networks], dim=1)

    def clip_gradients(self, max_norm: float) -> None:
        for network in self.networks:
            nn.utils.clip_grad_norm_(network.parameters(), max_norm)


class _Stack(_Group):
    """Multilayer perceptrons of one depth as one batched product per layer."""

    def __init__(self, networks: Sequence[Network], layers: Sequence[str]) -> None:
        super().__init__()
        self._given = list(networks)
        self._layers = list(layers)
        self._flattens = len(networks[0].architecture.input_shape) > 1
        pairs = [[_weight_and_bias(network, name) for network in networks] for name in layers]
        self.weights_MIO = nn.ParameterList([_padded([weight.T for weight, _ in layer]) for layer in pairs])
        self.biases_M1O = nn.ParameterList([_padded([bias[None] for _, bias in layer]) for layer in pairs])

    def forward(self, x: Tensor) -> Tensor:
        flat_NI = x.flatten(1) if self._flattens else x
        hidden_MNI = flat_NI.expand(len(self._given), *flat_NI.shape)
        last = len(self._layers) - 1
        for number, (weight_MIO, bias_M1O) in enumerate(zip(self.weights_MIO, self.biases_M1O, strict=True)):
            hidden_MNI = torch.baddbmm(bias_M1O, hidden_MNI, weight_MIO)
            if number < last:
                hidden_MNI = torch.relu_(hidden_MNI)
        return hidden_MNI.transpose(0, 1)

    @torch.no_grad()
    def clip_gradients(self, max_norm: float) -> None:
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        norm_M = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        # As torch.nn.utils.clip_grad_norm_ has it.
        factor_M = (max_norm / (norm_M + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor_M[:, None, None])

    @torch.no_grad()
    def hand_back(self) -> None:
        for name, weight_MIO, bias_M1O in zip(self._layers, self.weights_MIO, self.biases_M1O, strict=True):
            for network, weight_IO, bias_1O in zip(self._given, weight_MIO, bias_M1O, strict=True):
                weight, bias = _weight_and_bias(network, name)
                outputs, inputs = weight.shape
                weight.copy_(weight_IO[:inputs, :outputs].T)
                bias.copy_(bias_1O[0, :outputs])


def perceptron_layers(architecture: Architecture) -> tuple[str, ...] | None:
    """Names of the linear layers of a plain multilayer perceptron with ReLU and biases; None for other networks."""
    layers = [node for node in architecture.nodes if node.op == "linear"]
    before = [node.op for node in architecture.nodes if node.op not in ("linear", "relu")]
    inner = [node.op for node in architecture.nodes if node.op in ("linear", "relu")]
    alternates = inner == ["linear", "relu"] * (len(layers) - 1) + ["linear"]
    has_biases = all(node.settings["bias"] for node in layers)
    if before not in (["input"], ["input", "flatten"]) or not alternates or not has_biases:
        return None
    return tuple(node.name for node in layers)


def _stacked(networks: Sequence[Network]) -> _Stack | None:
    """The stack of these networks; None when they are no perceptrons of one depth and input."""
    layers = {perceptron_layers(network.architecture) for network in networks}
    inputs = {network.architecture.input_shape for network in networks}
    first = next(iter(layers))
    if len(layers) > 1 or len(inputs) > 1 or first is None:
        return None
    return _Stack(networks, first)


def _weight_and_bias(network: Network, name: str) -> tuple[Tensor, Tensor]:
    layer = network.nodes[name]
    assert isinstance(layer, nn.Linear), f"{name} is no linear layer"
    return layer.weight, layer.bias


def _padded(matrices: Sequence[Tensor]) -> nn.Parameter:
    """The matrices as one (M, rows, columns), zeros where one is smaller than the largest."""
    rows, columns = (max(matrix.shape[axis] for matrix in matrices) for axis in (0, 1))
    stack = matrices[0].new_zeros(len(matrices), rows, columns)
    for padded, matrix in zip(stack, matrices, strict=True):
        padded[: matrix.shape[0], : matrix.shape[1]] = matrix.detach()
    return nn.Parameter(stack)
