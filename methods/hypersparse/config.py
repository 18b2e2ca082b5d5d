"""Configuration of HyperSparse and ART: the paper's defaults, units and search ranges. Imports no torch.

Epochs are the paper's, of 60 + about 65 + 160 = 285; a task's own budget scales them (see `budget.py`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from methods.config import Choice, Range
from methods.training.config import TrainingConfig


class HyperSparseConfig(TrainingConfig):
    """Adaptive Regularized Training with the HyperSparse penalty, or L1 or L2 in its place."""

    penalty: Literal["hypersparse", "l1", "l2"] = "hypersparse"
    pruning_rate: Annotated[float, Field(ge=0, lt=1), Range(0.8, 0.995)] = 0.9
    """Share of all convolution and linear weights to remove."""
    lambda_init: Annotated[float, Field(gt=0), Range(5e-7, 5e-5, "log")] = 5e-6
    """Strength of the penalty in the first regularised epoch."""
    eta: Annotated[float, Field(gt=1), Range(1.03, 1.1)] = 1.05
    """Growth of the strength from one epoch to the next."""
    warmup_epochs: Annotated[int, Field(ge=0), Range(20, 90)] = 60
    finetune_epochs: Annotated[int, Field(ge=1)] = 160
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
