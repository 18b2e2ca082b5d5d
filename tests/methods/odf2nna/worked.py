"""The network of the check values: 3-4-3-2 with ReLU, written out by formula in float64."""

from __future__ import annotations

import torch
from torch import Tensor


def _grid(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    row = torch.arange(rows, dtype=torch.float64)[:, None]
    column = torch.arange(columns, dtype=torch.float64)[None, :]
    return row, column


def rows() -> Tensor:
    i, j = _grid(6, 3)
    return torch.sin(1.3 * i + 0.7 * j)


def layers() -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases; the last unit of the first layer is the constant 0.7."""
    a, b = _grid(4, 3)
    first = torch.cos(0.9 * a + 1.1 * b + 0.2)
    first[3] = 0
    a, b = _grid(3, 4)
    second = torch.sin(0.5 + 0.8 * a - 0.6 * b)
    a, b = _grid(2, 3)
    third = torch.cos(0.4 * a * b + 0.3)
    biases = [[-0.1, 0, 0.1, 0.7], [0, 0.05, 0.1], [0.1, -0.1]]
    return [first, second, third], [torch.tensor(bias, dtype=torch.float64) for bias in biases]


def forward(weights: list[Tensor], biases: list[Tensor], inputs: Tensor) -> tuple[list[Tensor], Tensor]:
    """Outputs of the hidden layers, and the network's."""
    hidden: list[Tensor] = []
    top = inputs
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        top = torch.relu(top @ weight.T + bias)
        hidden.append(top)
    return hidden, top @ weights[-1].T + biases[-1]
