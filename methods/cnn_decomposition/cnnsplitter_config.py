"""Configuration of CNNSplitter: the defaults of the paper's code for SimCNN on CIFAR-10, and our search ranges.

Imports no torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from methods.cnn_decomposition.source_config import DecompositionConfig
from methods.config import Range

GENERATIONS = 200
"""Of the paper."""

_Ratio = Annotated[float, Field(gt=0, le=1)]


class CnnSplitterConfig(DecompositionConfig):
    """How candidate modules are bred, and by what they are judged."""

    generations: Annotated[int, Field(ge=0), Range(5, 200, only_named=True)] = 0
    """After the initial population. 0: one less than the task's epochs, at most 200, the paper's number."""
    population: Annotated[int, Field(ge=2), Range(20, 100, only_named=True)] = 100
    """Candidates of each class."""
    parents_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Fittest part of a population that has offspring; at least two candidates."""
    kept_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Fittest part that stays as it is; at least one candidate."""
    mutation: Annotated[float, Field(ge=0, le=100), Range(1.0, 20.0, "log")] = 5.0
    """Per cent of an offspring's genes that get a random bit, so that about half of them change."""
    sensitive: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Layers that begin with more kernels, numbered from 0 as they are computed, tied ones as one. The paper sets them
    by hand (0 to 6 of SimCNN). None: found by our rule, from what accuracy a layer costs that keeps few kernels."""
    ratios_sensitive: Annotated[tuple[_Ratio, ...], Field(min_length=1)] = (0.6, 0.7, 0.8)
    """Shares of kernel groups that initial candidates keep of sensitive layers."""
    ratios_other: Annotated[tuple[_Ratio, ...], Field(min_length=1)] = (0.4, 0.5, 0.6, 0.7)
    """Likewise of the others."""
    ratio_shift: Annotated[float, Field(ge=-0.9, le=0.9), Range(-0.3, 0.2)] = 0.0
    """Added to all these shares, within 0.05 and 1: ours, so that one number makes modules smaller or larger."""
    alpha: Annotated[float, Field(ge=0, le=1), Range(0.7, 1.0)] = 0.9
    """Weight of a composition's accuracy; that of the difference between its modules is 1 - alpha."""
    gamma: Annotated[float, Field(ge=0, le=1), Range(0.8, 1.0)] = 0.9
    """Accuracy below which its weight grows by what is missing."""
    thresholds: Annotated[tuple[_Ratio, ...], Field(min_length=1)] = (0.95, 0.95, 0.85, 0.8)
    """Accuracy from which a composition goes on, in each round of merging classes; later rounds have the last one."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Generations without improvement after which the search ends; 0: it does not."""
    samples: Literal["published", "leak_free"] = "published"
    """`published`: importance from a fifth of each class's training and validation samples, everything else from the
    validation samples, on which modules are bred, chosen and judged alike. `leak_free`: importance and fitness from a
    fifth of the training samples, and the validation samples only choose the generation. Ours."""

    @model_validator(mode="after")
    def _enough_candidates(self) -> CnnSplitterConfig:
        if self.num_kept >= self.population:
            raise ValueError(
                f"kept_share {self.kept_share} of {self.population} candidates leaves no room for offspring; lower it, "
                "or raise population"
            )
        return self

    @property
    def num_parents(self) -> int:
        """50 of the paper's 100."""
        return min(self.population, max(2, round(self.parents_share * self.population)))

    @property
    def num_kept(self) -> int:
        """20 of the paper's 100."""
        return max(1, round(self.kept_share * self.population))
