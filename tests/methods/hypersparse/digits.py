"""Handwritten digits as a task, for tests that train."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from sklearn.datasets import load_digits

from methods.contract import Normalization, Split, TaskInfo
from methods.networks.build import build_network
from methods.networks.catalog import design_network
from methods.networks.graph import Network

NORMALIZATION = Normalization((0.287,), (0.354,))
"""Of all 1,797 images, whose 17 grey levels are stretched to 0-240."""


@cache
def _splits(num_train: int) -> tuple[Split, Split]:
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    inputs = (torch.from_numpy(images) * 15).to(torch.uint8).view(-1, 1, 8, 8)[order]
    targets = torch.from_numpy(labels).long()[order]
    return Split(inputs[:num_train], targets[:num_train]), Split(inputs[-360:], targets[-360:])


@dataclass(frozen=True)
class DigitsTask:
    """`methods.contract.Task` over scikit-learn's 8x8 digits; 360 samples are for validation."""

    epochs: int
    network_name: str = "small_cnn"
    num_train: int = 1437
    batch_size: int = 64
    seed: int = 0
    device: str = "cpu"
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    augmentation: Literal["none", "crop_flip"] = "none"
    normalization: Normalization = NORMALIZATION
    class_weights: torch.Tensor | None = None

    @property
    def train(self) -> Split:
        return _splits(self.num_train)[0]

    @property
    def validation(self) -> Split:
        return _splits(self.num_train)[1]

    @property
    def info(self) -> TaskInfo:
        names = tuple(str(digit) for digit in range(10))
        architecture = design_network(self.network_name, input_shape=(1, 8, 8), num_outputs=10)
        sizes = self.num_train, 360
        return TaskInfo(
            "digits", "classification", (1, 8, 8), 10, names, *sizes, self.network_name, architecture, self.epochs
        )

    def network(self, *, width: float = 1.0) -> Network:
        return build_network(self.network_name, input_shape=(1, 8, 8), num_outputs=10, width=width, seed=self.seed)
