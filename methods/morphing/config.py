"""Which widths are trained and delivered, as data: what all methods that change the width of a network share.

Imports no torch.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from methods.config import MethodConfig
from methods.morphing.parts import Blocks

WIDEST = 2.0
"""Beyond this share of the full width nothing is drawn: twice as many channels as any that was trained."""

Width = Annotated[float, Field(gt=0, le=WIDEST)]


class DeliveredWidths(MethodConfig):
    """The widths at which networks are delivered, and which layers follow them."""

    blocks: Blocks = "inner"
    """Residual blocks that morph: all but the first of each stage and the very last, `all`, or the very `last` alone.
    A network without sums morphs as a whole."""
    widths: tuple[Width, ...] = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
    """Delivered, as shares of the full width of what morphs, in ascending order."""

    @field_validator("widths")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or list(value) != sorted(set(value)):
            raise ValueError(f"widths {list(value)} must ascend, with at least one of them")
        return value


class TrainedWidths(DeliveredWidths):
    """Also the range from which training draws widths."""

    lowest_width: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The least width that is trained."""
    highest_width: Width = 1.0
    """The greatest width that is trained."""

    @model_validator(mode="after")
    def _range(self) -> TrainedWidths:
        if self.highest_width < max(self.lowest_width, 1.0):
            raise ValueError(
                f"highest_width {self.highest_width:g} leaves out the full width, 1, which training always includes; "
                "set it to 1 or above"
            )
        return self
