"""Configuration of magnitude pruning. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from methods.config import Range
from methods.training.config import PruningConfig


class MagnitudeConfig(PruningConfig):
    """Train, prune once by magnitude over all layers, fine-tune what is left with the same recipe."""

    finetune_share: Annotated[float, Field(gt=0, lt=1), Range(0.3, 0.8)] = 160 / 285
    """Share of the epoch budget for fine-tuning; the default is that of HyperSparse, 160 of its 285 epochs."""
    start: Literal["own", "dense"] = "own"
    """`own` trains the dense network within the budget, so that all methods of a study spend equal epochs. `dense`
    starts from the study's trained dense network and spends only the fine-tuning share on top of that."""
