"""Configuration of filter pruning. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from methods.morphing.config import DeliveredWidths, Width
from methods.training.config import DenseConfig


class FilterPruningConfig(DeliveredWidths):
    """Which filters of the trained network stay at each width."""

    source: DenseConfig = DenseConfig()
    """How the trained network is made, as for `dense`."""
    criterion: Literal["l1", "l2", "random"] = "l1"
    """Norm of a filter; those with the largest stay. `random`: any."""

    @field_validator("widths")
    @classmethod
    def _narrower(cls, value: tuple[Width, ...]) -> tuple[Width, ...]:
        if value[-1] > 1:
            raise ValueError(f"width {value[-1]:g}: pruning cannot add filters; give widths up to 1")
        return value
