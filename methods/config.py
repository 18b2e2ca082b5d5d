"""What every method's configuration has in common: typed fields, defaults of the paper, and their search ranges.

No file that defines a configuration imports torch, so a study file is checked in about a second.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class Range:
    """Where a numeric field may be searched, both ends included; an `int` field is searched in whole steps."""

    low: float
    high: float
    scale: Literal["linear", "log"] = "linear"
    only_named: bool = False
    """Searched only where a study names the field; `search: all` leaves it at its default."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"empty range [{self.low}, {self.high}]: the first value must be below the second")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"range [{self.low}, {self.high}] on a log scale must start above zero")


@dataclass(frozen=True)
class Choice:
    """The values a field may be searched over, in no order."""

    options: tuple[str | int | float | bool, ...]
    only_named: bool = False
    """As in `Range`."""

    def __post_init__(self) -> None:
        if not self.options:
            raise ValueError("empty choice: name at least one value")


SearchSpace = dict[str, Range | Choice]


class MethodConfig(BaseModel):
    """Base of every method's configuration.

    A default is the paper's value. A field that a study may tune carries its range as annotation:
    `eta: Annotated[float, Field(gt=1), Range(1.03, 1.1)] = 1.05`. A default once released never changes,
    because fields at their default stay out of a run's key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def search_space(cls) -> SearchSpace:
        """The tunable fields with their full ranges, in order of definition."""
        space: SearchSpace = {}
        for name, field in cls.model_fields.items():
            for mark in field.metadata:
                if isinstance(mark, Range | Choice):
                    space[name] = mark
        return space

    @classmethod
    def default_space(cls, fixed: Collection[str]) -> SearchSpace:
        """What `search: all` searches in a study that sets the fields `fixed`."""
        return {name: mark for name, mark in cls.search_space().items() if name not in fixed and not mark.only_named}

    def changed(self) -> dict[str, Any]:
        """The fields that differ from their default, as JSON values: what a run's key depends on."""
        return self.model_dump(mode="json", exclude_defaults=True)
