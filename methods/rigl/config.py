"""Configuration of RigL. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from methods.config import Range
from methods.training.config import PruningConfig


class RigLConfig(PruningConfig):
    """Train a network that is sparse from the first step on, and move its weights to where gradients want them."""

    drop_fraction: Annotated[float, Field(ge=0, lt=1), Range(0.1, 0.5)] = 0.3
    """alpha: share of each layer's living weights that the first update replaces; falls to 0 by half a cosine."""
    end_share: Annotated[float, Field(gt=0, le=1), Range(0.5, 0.9, only_named=True)] = 0.75
    """T_end as a share of the budget: no update from there on."""
    update_interval: Annotated[int, Field(ge=1), Range(50, 500, "log", only_named=True)] = 100
    """Delta T in steps, of a schedule of 32,000 or more as in the paper; shorter ones scale it, see `schedule.py`."""
