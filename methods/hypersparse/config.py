"""Configuration of HyperSparse and ART: the paper's defaults, units and search ranges. Imports no torch.

Epochs are the paper's, of 60 + about 65 + 160 = 285; a task's own budget scales them (see `budget.py`). The ranges are
those that the authors' code searches. Of these, `search: all` leaves momentum, decay and the two drops of the rate
alone: they are the training recipe, which the other methods do not search either.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from methods.config import Choice, Range
from methods.training.config import TrainingConfig


class HyperSparseConfig(TrainingConfig):
    """Adaptive Regularized Training with the HyperSparse penalty, or L1 or L2 in its place."""

    momentum: Annotated[float, Field(ge=0, lt=1), Range(0.5, 0.99, only_named=True)] = 0.9
    decay: Annotated[float, Field(gt=0, le=1), Range(0.01, 0.9, "log", only_named=True)] = 0.1
    """What the rate of fine-tuning is multiplied by at each of its drops."""
    penalty: Literal["hypersparse", "l1", "l2"] = "hypersparse"
    pruning_rate: Annotated[float, Field(ge=0, lt=1), Range(0.8, 0.995)] = 0.9
    """Share of all convolution and linear weights to remove."""
    lambda_init: Annotated[float, Field(gt=0), Range(5e-7, 5e-5, "log")] = 5e-6
    """Strength of the penalty in the first regularised epoch of the paper's ramp: 782 steps at rate 0.1, momentum 0.9.
    A scaled ramp pulls as hard as the paper's does with this value, whatever rate and momentum the run itself has."""
    eta: Annotated[float, Field(gt=1), Range(1.03, 1.1)] = 1.05
    """Growth of the strength from one epoch to the next."""
    warmup_epochs: Annotated[int, Field(ge=0), Range(20, 90)] = 60
    finetune_epochs: Annotated[int, Field(ge=1)] = 160
    first_drop: Annotated[int | None, Field(ge=1), Range(40, 90, only_named=True)] = None
    """Epoch of fine-tuning, of `finetune_epochs`, at which the rate drops first. None: as `milestones` say, at 80."""
    second_drop: Annotated[int | None, Field(ge=1), Range(91, 160, only_named=True)] = None
    """The same for the second drop, 120 in the paper. A drop at the last epoch's end, 160, never comes."""
    window: Annotated[int, Field(ge=0), Choice((1, 10))] = 1
    """b: the stopping rule judges means over 2b+1 epochs. Scaled with the budget like all epochs, but not down to 0."""
    cap_epochs: Annotated[int, Field(ge=1)] | None = None
    """Longest ramp. By default what warm-up and fine-tuning leave of the budget. With a value, e.g. 120, the run may
    exceed the budget, as the paper's unbounded ramp does, and epochs saved by an early stop are not spent elsewhere."""
    ramp: Literal["scaled", "paper"] = "scaled"
    """`paper`: lambda_init * eta^epoch literally. `scaled`: as many epochs as there are, with the same total pull."""
    exact_count: bool = False
    """Keep exactly n - floor(pruning_rate * n) weights; the authors' strict threshold keeps one fewer."""
    strict_present: bool = False
    """Stop only when the present pruned accuracy, too, exceeds the dense one."""
    dense_eval_mode: bool = False
    """Measure the dense accuracy for the stopping rule in evaluation mode on the same images as the pruned one."""
    reestimate_batch_norm: bool = False
    """Re-estimate the statistics of batch normalisation on 50 batches before the pruned accuracy is measured."""
    full_pruned_pass: bool = False
    """Measure the pruned accuracy on all training samples from the first regularised epoch, as the authors do.
    By default a fixed tenth (at least 2,000) serves as long as it stays 10 points or more below the dense accuracy."""

    @field_validator("optimizer")
    @classmethod
    def _sgd_alone(cls, value: str) -> str:
        if value != "sgd":
            raise ValueError("the ramp's pull per epoch is reckoned in steps of SGD; leave the optimizer at sgd")
        return value

    @field_validator("schedule", "nesterov")
    @classmethod
    def _own_schedule(cls, value: str | bool, info: ValidationInfo) -> str | bool:
        if value != cls.model_fields[str(info.field_name)].default:
            raise ValueError(
                f"ART has a schedule of its own, whose pull is reckoned in plain steps; leave {info.field_name} out"
            )
        return value

    @model_validator(mode="after")
    def _drops_in_order(self) -> HyperSparseConfig:
        if self.first_drop is None and self.second_drop is None:
            return self
        if self.milestones != type(self).model_fields["milestones"].default:
            raise ValueError(
                f"first_drop and second_drop stand in place of milestones, which is {list(self.milestones)}; "
                "give one or the other"
            )
        for name, drop in (("first_drop", self.first_drop), ("second_drop", self.second_drop)):
            if drop is not None and drop > self.finetune_epochs:
                raise ValueError(f"{name} {drop} lies beyond finetune_epochs {self.finetune_epochs}; lower it")
        first, second = (share * self.finetune_epochs for share in self.finetune_milestones)
        if first >= second:
            raise ValueError(
                f"the rate drops first at epoch {first:g} and then at {second:g}; the first must be earlier"
            )
        return self

    @property
    def finetune_milestones(self) -> tuple[float, ...]:
        """Where the rate of fine-tuning drops, as shares of it in ascending order; 1.0 is no drop."""
        if self.first_drop is None and self.second_drop is None:
            return self.milestones
        drops = zip((self.first_drop, self.second_drop), self.milestones, strict=True)
        return tuple(share if drop is None else drop / self.finetune_epochs for drop, share in drops)
