"""Configuration of activation-driven modular training: the paper's defaults and search ranges. Imports no torch.

Ranges follow the sensitivity study of the paper's figures (VGG16 on CIFAR-10).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from methods.config import Range
from methods.training.config import TrainingConfig


class ActivationDrivenConfig(TrainingConfig):
    """MODA's three losses beside cross-entropy, and how units are chosen for classes afterwards.

    The recipe is the paper's too: SGD with Nesterov's momentum, a cosine from 0.05, no weight decay. With `alpha`,
    `beta` and `gamma` at 0 training is the plain one, and modules are cut from an ordinary network.
    """

    learning_rate: Annotated[float, Field(gt=0), Range(0.01, 0.2, "log")] = 0.05
    nesterov: bool = True
    weight_decay: Annotated[float, Field(ge=0), Range(1e-5, 1e-3, "log", only_named=True)] = 0.0
    schedule: Literal["step", "cosine"] = "cosine"
    epochs_share: Annotated[float, Field(gt=0, le=1), Range(0.3, 1.0, only_named=True)] = 1.0
    """Share of the task's epochs that is trained for."""
    alpha: Annotated[float, Field(ge=0), Range(0.1, 2.0)] = 1.0
    """Weight of the affinity loss: samples of one class shall fire the same units."""
    beta: Annotated[float, Field(ge=0), Range(0.1, 2.0)] = 1.0
    """Weight of the dispersion loss: samples of different classes shall fire different units."""
    gamma: Annotated[float, Field(ge=0), Range(0.03, 3.0, "log")] = 0.3
    """Weight of the compactness loss: few units shall fire at all."""
    threshold: Annotated[float, Field(gt=0, le=1), Range(0.5, 0.99)] = 0.9
    """tau: share of a class's training samples for which a unit must fire to be of its module."""
    minimum_share: Annotated[float, Field(ge=0, le=1), Range(0.001, 0.05, "log", only_named=True)] = 0.005
    """Least share of a site's units that a module keeps, and one unit at least; 0: none, as in the first release."""
    spatial_share: Annotated[float, Field(ge=0, lt=1), Range(0.0, 0.5, only_named=True)] = 0.0
    """Share of a channel's positions of which more must fire for the channel to fire. 0, any position, is the paper's
    rule; a larger share is ours, for large images, where nearly every channel fires somewhere."""
    augmented_rates: bool = True
    """Whether units are observed on augmented training samples, where the task augments, as the public code does."""
