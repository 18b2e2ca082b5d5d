"""A network as a program of `torch.export`, which PyTorch runs without any code of this package.

Shapes: N = samples, C = channels, D = features.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import torch
from torch import Tensor, nn

from methods.contract import Normalization
from methods.networks.graph import Network


class NormalisedNetwork(nn.Module):
    """A network whose first step normalises raw float inputs: images on the 0-1 scale, features in their own units.

    Args:
        network: In evaluation mode; shared, not copied.
        normalization: One mean and one standard deviation per channel or feature, or one of each for all.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network, normalization: Normalization) -> None:
        super().__init__()
        axes = (-1, *[1] * (len(network.architecture.input_shape) - 1))
        self.network = network
        self.register_buffer("mean", torch.tensor(normalization.mean, dtype=torch.float32).view(axes))
        self.register_buffer("std", torch.tensor(normalization.std, dtype=torch.float32).view(axes))
        self.train(network.training)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network((x - self.mean) / self.std)
        return logits


def write_program(network: Network, normalization: Normalization | None) -> bytes:
    """The content of a `.pt2` file that takes float32 (N, ...) of any N.

    Args:
        network: On the CPU, in evaluation mode.
        normalization: Becomes the first step; None leaves it out, and inputs must come normalised.
    """
    module = network if normalization is None else NormalisedNetwork(network, normalization)
    # Of the sizes 0 and 1 the exporter makes constants, so the example has two samples.
    example = torch.zeros(2, *network.architecture.input_shape)
    program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    data = io.BytesIO()
    torch.export.save(program, data)
    return data.getvalue()


def read_program(data: bytes) -> Callable[[Tensor], Tensor]:
    """What computes logits as the program does. Only for files of known origin: the format may hold pickles."""
    return torch.export.load(io.BytesIO(data)).module()
