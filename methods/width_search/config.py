"""Configuration of the width search. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from methods.config import Range
from methods.training.config import TrainingConfig


class WidthSearchConfig(TrainingConfig):
    """Search the widths of a network's dense head by training candidates: the expensive alternative to pruning."""

    optimizer: Literal["sgd", "adam"] = "adam"
    learning_rate: Annotated[float, Field(gt=0), Range(1e-4, 1e-2, "log")] = 1e-3
    weight_decay: Annotated[float, Field(ge=0), Range(1e-5, 1e-3, "log", only_named=True)] = 0.0
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    keep_share: Annotated[float, Field(gt=0, le=1), Range(0.02, 0.7, "log")] = 0.5
    """Most parameters of any candidate, as a share of the dense network's."""
    particles: Annotated[int, Field(ge=2)] = 8
    """Candidates trained at a time."""
    generations: Annotated[int, Field(ge=1)] = 4
    """At most; fewer where the budget is small."""
    search_share: Annotated[float, Field(gt=0, lt=1), Range(0.2, 0.7, only_named=True)] = 0.5
    """Share of the budget for the search; the rest trains the best widths from scratch."""
