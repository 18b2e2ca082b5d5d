"""Configuration of ODF2NNA: what the paper leaves open is [design], ours, and said to be. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from methods.config import Choice, Range, SearchSpace
from methods.training.config import TrainingConfig

GRIDS: dict[str, tuple[float, ...]] = {
    "literal": (1e-3, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0),
    "recommended": (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    "ranked": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
}
"""Tolerances that are screened when neither `epsilon` nor `keep_share` is given. [design]"""


class Odf2nnaConfig(TrainingConfig):
    """Train a wide network, drop the units that respond too little to the data, retrain lightly what is left.

    The recipe (Adam at a constant 0.001, no weight decay) is [design] and differs from that of other methods' defaults;
    give `dense` the same one in a study that compares the two.
    """

    optimizer: Literal["sgd", "adam"] = "adam"
    learning_rate: Annotated[float, Field(gt=0), Range(1e-4, 1e-2, "log")] = 1e-3
    weight_decay: Annotated[float, Field(ge=0), Range(1e-5, 1e-3, "log", only_named=True)] = 0.0
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    preset: Annotated[Literal["ranked", "recommended", "literal"], Choice(("ranked", "recommended", "literal"))] = (
        "ranked"
    )
    """`literal`: a unit stays when its variability exceeds one epsilon for all layers; the closest reading of the
    sources. `recommended` [design]: variability times the norm of the outgoing weights, divided by the layer's
    largest, so that epsilon in (0, 1) does not depend on how layers are scaled. `ranked` [design]: the same product's
    rank within its layer, so that every layer loses the same share. One outlier in the last hidden layer makes
    `recommended` drop nearly all others there: in the study `odf2nna_tables` (digits, 3 x 256, 29 % of the parameters,
    5 seeds) it tests at 0.881 +- 0.123 after retraining, `ranked` at 0.986 +- 0.002."""
    statistic: Annotated[Literal["std", "range"], Choice(("std", "range"), only_named=True)] = "std"
    """What variability is: standard deviation, or largest less smallest value."""
    transfer: Annotated[
        Literal["preset", "slice", "fold", "fold_sequential", "none"], Choice(("fold", "slice", "fold_sequential"))
    ] = "preset"
    """What the smaller network takes over: see `rebuild.py`. `preset` is slice for literal, else fold.
    `none` is a control: the refined architecture, initialised anew."""
    epsilon: Annotated[float | None, Field(ge=0), Range(0.01, 0.9, only_named=True)] = None
    """The tolerance. Instead of it give `keep_share`, or neither: then a grid is screened and its front retrained."""
    keep_share: Annotated[float | None, Field(gt=0, le=1), Range(0.02, 0.7, "log")] = None
    """Most parameters to keep, as a share of the whole network's; epsilon is found by bisection."""
    epsilons: tuple[Annotated[float, Field(ge=0)], ...] | None = Field(default=None, min_length=1)
    """The grid in place of the preset's."""
    candidates: Annotated[int, Field(ge=1)] = 3
    """Networks of the grid that are retrained and delivered, as refined-1 (the smallest), refined-2, ...: members of
    the front of validation score against size, spread over it; other cuts where it has too few; if one, the most
    accurate."""
    retrain_share: Annotated[float, Field(gt=0, lt=1), Range(0.1, 0.3, only_named=True)] = 1 / 6
    """Share of the epoch budget for retraining, all candidates at once. [design: the paper says "lightly"]"""
    start: Literal["own", "dense"] = "own"
    """`own` trains the original within the budget. `dense` starts from the study's dense network of the same recipe and
    spends only the retraining on top."""
    round_to: Annotated[int, Field(ge=1)] = 1
    """Widths are rounded up to a multiple, e.g. 8, by keeping the next most useful units."""
    merge_correlation: Annotated[float | None, Field(gt=0.9, lt=1)] = None
    """Units whose outputs correlate more than this, e.g. 0.999, are merged into one before cutting. [design]"""
    merge_always_active: bool = False
    """Layers whose units are active on every training sample are merged with the next one. [design]"""
    balance_classes: bool = False
    """Judge variability as if all classes had equally many samples. [design: of two ways the specification names, the
    one in closed form]"""
    units: Literal["useful", "random", "outgoing_norm", "mean_activation"] = "useful"
    """Controls: as many units per layer as are useful, chosen by another rule."""
    scratch_epochs: Literal["retrain", "full"] = "retrain"
    """With transfer `none`: the retraining budget, or that and the original's (`start: dense`), as many epochs as the
    weights of a refined network have seen."""
    stages: bool = False
    """Also deliver every refined network as it was cut, before retraining, as cut-1, cut-2, ..."""

    @field_validator("epsilons")
    @classmethod
    def _rising(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and list(value) != sorted(set(value)):
            raise ValueError(f"epsilons {list(value)} must ascend, each once")
        return value

    @model_validator(mode="after")
    def _agrees(self) -> Odf2nnaConfig:
        given = [name for name in ("epsilon", "keep_share", "epsilons") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} both say how much to cut; give one of them")
        if self.scratch_epochs == "full" and not (self.transfer == "none" and self.start == "dense"):
            raise ValueError("scratch_epochs 'full' needs transfer 'none' and start 'dense': no budget holds both")
        if self.balance_classes and self.statistic == "range":
            raise ValueError("balance_classes needs statistic 'std': a range does not depend on how often values occur")
        return self

    @classmethod
    def default_space(cls, fixed: Collection[str]) -> SearchSpace:
        """Without `keep_share` where a study sets how much to cut otherwise."""
        space = super().default_space(fixed)
        if {"epsilon", "epsilons"} & set(fixed):
            space.pop("keep_share", None)
        return space

    @property
    def resolved_transfer(self) -> Literal["slice", "fold", "fold_sequential", "none"]:
        """The transfer with `preset` looked up."""
        if self.transfer == "preset":
            return "slice" if self.preset == "literal" else "fold"
        return self.transfer

    @property
    def grid(self) -> tuple[float, ...]:
        """Tolerances to screen when no single cut is asked for."""
        return self.epsilons or GRIDS[self.preset]
