"""Configurations of slimmable networks. Import no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from methods.morphing.config import GrowthConfig, TrainedWidths, Width
from methods.training.config import DenseConfig, TrainingConfig


class _Sliced(TrainedWidths):
    """Widths that are slices of the full one."""

    highest_width: Annotated[float, Field(ge=1, le=1)] = 1.0
    """The full width: there is nothing to slice beyond it."""

    @field_validator("widths")
    @classmethod
    def _narrower(cls, value: tuple[Width, ...]) -> tuple[Width, ...]:
        if value[-1] > 1:
            raise ValueError(f"width {value[-1]:g}: a slice cannot be wider than the whole; give widths up to 1")
        return value


class SlimmableConfig(_Sliced, TrainingConfig):
    """The sandwich rule of universally slimmable networks, by the recipe of plain training."""

    random_widths: Annotated[int, Field(ge=0)] = 2
    """Besides the full and the narrowest width in every batch; n - 2 in the paper."""
    distillation: bool = True
    """Whether narrower widths learn the soft answers of the full one instead of the labels."""
    calibration_batches: Annotated[int, Field(ge=1)] = 5
    """From which batch normalisation gets its statistics anew for each delivered width."""


class SlimmableGatedConfig(_Sliced, GrowthConfig):
    """As for `metamorphic`, but for what generates the weights."""

    source: DenseConfig = DenseConfig()
    """How the trained network is made, as for `dense`."""
