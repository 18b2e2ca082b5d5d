"""Configuration of training a small network from scratch. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from methods.config import Range
from methods.training.config import TrainingConfig


class ScratchConfig(TrainingConfig):
    """A plain narrower network, trained like the dense one."""

    keep_share: Annotated[float, Field(gt=0, le=1), Range(0.01, 0.5, "log")] = 0.1
    """Parameters of the narrow network as a share of the dense network's; the nearest width that exists is taken."""
