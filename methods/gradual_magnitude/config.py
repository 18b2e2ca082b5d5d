"""Configuration of gradual magnitude pruning. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from methods.config import Range
from methods.training.config import PruningConfig


class GradualMagnitudeConfig(PruningConfig):
    """Remove the smallest weights little by little while the network trains.

    The defaults of the ramp are those of the gradual pruning that Evci et al. (ICML 2020) compare with on CIFAR-10:
    steps 20,000 to 75,000 of 97,656, every 1,000. Zhu and Gupta prune a different stretch in each experiment.
    """

    begin_share: Annotated[float, Field(ge=0, lt=1), Range(0.0, 0.4, only_named=True)] = 0.2
    """Share of the budget after which pruning begins; until then the network is dense."""
    end_share: Annotated[float, Field(gt=0, le=1), Range(0.5, 0.95, only_named=True)] = 0.75
    """Share of the budget at which the pruning rate is reached; what is left is fine-tuning."""
    updates: Annotated[int, Field(ge=1), Range(10, 500, "log", only_named=True)] = 55
    """n: how often weights are removed on the way, at equal distances; at most once a step."""

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> GradualMagnitudeConfig:
        if self.begin_share >= self.end_share:
            raise ValueError(
                f"begin_share {self.begin_share} is not below end_share {self.end_share}; "
                "pruning must begin before it ends"
            )
        return self
