"""Configuration of SNIP. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from methods.config import Range
from methods.training.config import PruningConfig


class SnipConfig(PruningConfig):
    """Prune the untrained network once by connection sensitivity, then train what is left for the whole budget."""

    samples: Annotated[int, Field(ge=2), Range(32, 1024, "log", only_named=True)] = 128
    """Training samples that sensitivities are measured on: one batch of the paper's on CIFAR-10. A smaller training
    set is taken whole."""
