"""Configuration of GraSP. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from methods.config import Range
from methods.training.config import PruningConfig


class GraspConfig(PruningConfig):
    """Prune the untrained network once so that gradients keep flowing, then train what is left for the whole budget."""

    samples_per_class: Annotated[int, Field(ge=1), Range(5, 50, only_named=True)] = 10
    """Training samples of each class that weights are scored on; for a regression ten times as many, drawn at
    random. [ours: the paper has no regression]"""
    temperature: Annotated[float, Field(gt=0), Range(1, 1000, "log", only_named=True)] = 200.0
    """What logits are divided by in scoring; does not concern a regression."""
    fresh_classifier: bool = True
    """Score a copy whose last layer is drawn anew (Xavier), as the authors' code does without a word in the paper.
    Otherwise the initial weights of the network itself are scored throughout."""
