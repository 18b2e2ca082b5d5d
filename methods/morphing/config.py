"""Which widths are trained and delivered, as data: what all methods that change the width of a network share.

Imports no torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from methods.config import MethodConfig, Range
from methods.morphing.parts import Blocks

WIDEST = 2.0
"""Beyond this share of the full width nothing is drawn: twice as many channels as any that was trained."""

Width = Annotated[float, Field(gt=0, le=WIDEST)]


class DeliveredWidths(MethodConfig):
    """The widths at which networks are delivered, and which layers follow them."""

    blocks: Blocks = "inner"
    """Residual blocks that morph: all but the first of each stage and the very last, `all`, or the very `last` alone.
    A network without sums morphs as a whole."""
    widths: tuple[Width, ...] = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
    """Delivered, as shares of the full width of what morphs, in ascending order."""

    @field_validator("widths")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or list(value) != sorted(set(value)):
            raise ValueError(f"widths {list(value)} must ascend, with at least one of them")
        return value


class TrainedWidths(DeliveredWidths):
    """Also the range from which training draws widths."""

    lowest_width: Annotated[float, Field(gt=0, le=1), Range(0.25, 0.75, only_named=True)] = 0.5
    """The least width that is trained."""
    highest_width: Width = 1.0
    """The greatest width that is trained."""

    @model_validator(mode="after")
    def _range(self) -> TrainedWidths:
        if self.highest_width < max(self.lowest_width, 1.0):
            raise ValueError(
                f"highest_width {self.highest_width:g} leaves out the full width, 1, which training always includes; "
                "set it to 1 or above"
            )
        return self


class GrowthConfig(TrainedWidths):
    """How a trained network comes to morph, block by block, all of it shared by many widths.

    Defaults are those of Sommariva et al. (2025), as far as nothing else is said.
    """

    block_epochs: Annotated[int, Field(ge=0), Range(1, 150, only_named=True)] = 0
    """Epochs for each block that comes to morph, 50 in the paper; 0: the task's epochs in equal parts."""
    one_shot: bool = False
    """All blocks at once instead of one after the other."""
    learning_rate: Annotated[float, Field(gt=0), Range(1e-4, 1e-2, "log")] = 8e-4
    """Of AdamW, for what the morphing weights are made from."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Of the same."""
    clip: Annotated[float, Field(gt=0)] = 10.0
    """Largest entry, either way, of its gradient."""
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of a moving average over steps that is served in place of the last state, 0.995 in Neural Metamorphosis; 0:
    none."""
    schedule: Literal["cosine", "step"] = "cosine"
    """Of every block's epochs; `step`, as in Neural Metamorphosis: a tenth from half of them on, a hundredth from three
    quarters on."""
    cosine_floor: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Where the cosine ends, as a share of the rate (ours); 1: no decay, as published."""
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """Share of the first block's epochs over which the rate rises from almost nothing."""
    gate: Literal["skipinit", "none"] = "skipinit"
    """A learned factor on what each morphing block adds, in place of batch normalisation. A network without sums has
    none."""
    gate_start: float = 0.0
    """Of that factor; at 0 a block starts as the identity."""
    gate_learning_rate: Annotated[float, Field(gt=0), Range(1e-5, 1e-1, "log")] = 1e-4
    """Of AdamW. A factor moves by about this much per batch, so short schedules need more."""
    head_learning_rate: Annotated[float, Field(ge=0)] = 7e-5
    """Of AdamW, for the very last block and the classifier while blocks of the last stage are grown; 0: they stay."""
    shared_weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """Of gates, last block and classifier."""
    accumulation: Annotated[int, Field(ge=1)] = 4
    """Batches for one step, each at a width of its own."""
    full_width_first: bool = True
    """Whether the first of these has the full width; else every width is drawn, as in Neural Metamorphosis."""
    magnitude_weight: Annotated[float, Field(ge=0), Range(1e-6, 1e-2, "log")] = 1e-4
    """Of the sum of the norms of all morphing tensors, against cross-entropy."""
    reconstruction_weight: Annotated[float, Field(ge=0), Range(0.01, 1000.0, "log")] = 1.0
    """Of the distance from the trained network's tensors, at full width."""
    weighted_reconstruction: bool = False
    """Whether large weights count more there, as in Neural Metamorphosis on CIFAR-10."""
    distillation: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the cross-entropy with the softmax of the full width, at other widths (an extension, ours)."""
    drop_probability: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """With which a block is left out of a batch, while at least half of each stage stays, so that networks of less
    depth can be drawn (an extension, ours); 0: depth is fixed."""

    @model_validator(mode="after")
    def _teacher(self) -> GrowthConfig:
        if self.distillation and not self.full_width_first:
            raise ValueError("distillation learns from the full width of the same step; set full_width_first to true")
        return self
