"""How the paper's schedule of 285 epochs is read for a task with another budget. [ours: the paper has one budget only]

The paper trains 60 + about 65 + 160 epochs of 782 steps with learning_rate / (1 - momentum) = 1. A task has E epochs
for every method alike. With f = E / 285, warm-up and fine-tuning get their scaled shares and the ramp at most what is
left. When the ramp stops early, fine-tuning gets the epochs saved, so that every method spends the same. With
`cap_epochs` the ramp may instead run up to that many (scaled) epochs whatever E is, and nothing is moved: the paper's
own bookkeeping.

A shorter ramp must pull as hard in total. The pull of an epoch is steps * learning_rate / (1 - momentum) * alpha: how
far the penalty moves a weight where its gradient is one. "scaled" reads the paper's 65 epochs as R: eta_s = eta^(65 /
R), and lambda_s makes the R pulls add up to the paper's 65. At E = 285 and 782 steps both ramps are the same. R is
what 65 epochs scale to, or the ramp's limit where a longer warm-up leaves less, so that no setting is denied the full
pull.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from methods.hypersparse.config import HyperSparseConfig
from methods.hypersparse.schedule import (
    PAPER_EPOCHS,
    PAPER_RAMP_EPOCHS,
    PAPER_STEP_LENGTH,
    PAPER_STEPS,
    penalty_strength,
)


@dataclass(frozen=True)
class Phases:
    """The three phases in epochs of the task."""

    warmup: int
    ramp_limit: int
    """The ramp ends here at the latest."""
    ramp_nominal: int
    """What the paper's 65 epochs correspond to: the length over which a scaled ramp delivers the paper's total pull."""
    finetune: int
    """At least; see `finetune_after`."""
    window: int
    """b of the stopping rule."""
    fixed_total: bool
    """Whether epochs that the ramp saves go to fine-tuning."""

    def finetune_after(self, ramp_epochs: int) -> int:
        """Length of fine-tuning after a ramp that took `ramp_epochs`."""
        return self.finetune + (self.ramp_limit - ramp_epochs if self.fixed_total else 0)


def plan_phases(
    epochs: int, *, warmup_epochs: int, finetune_epochs: int, cap_epochs: int | None, window: int
) -> Phases:
    """Share out a task's budget.

    Args:
        epochs: The task's budget E.
        warmup_epochs: As all others in the paper's epochs.
        finetune_epochs: Milestones are shares of it.
        cap_epochs: Longest ramp; None: what is left of the budget.
        window: b; a window above 0 stays above 0.

    Raises:
        ValueError: Too few epochs are left for the ramp to fill half a window and one more.
    """
    share = epochs / PAPER_EPOCHS
    warmup = max(1, round(share * warmup_epochs)) if warmup_epochs else 0
    finetune = max(1, round(share * finetune_epochs))
    scaled_window = max(1, round(share * window)) if window else 0
    limit = epochs - warmup - finetune if cap_epochs is None else max(1, round(share * cap_epochs))
    if limit < scaled_window + 1:
        raise ValueError(
            f"hypersparse: of {epochs} epochs, {warmup} go to warm-up and {finetune} to fine-tuning, which leaves "
            f"{limit} for the ramp; its stopping rule needs {scaled_window + 1}. Give the task more epochs, or lower "
            "warmup_epochs, finetune_epochs or window."
        )
    nominal = max(1, min(limit, round(share * PAPER_RAMP_EPOCHS)))
    return Phases(warmup, limit, nominal, finetune, scaled_window, fixed_total=cap_epochs is None)


@dataclass(frozen=True)
class Ramp:
    """A geometric growth of the penalty over the regularised epochs."""

    lambda_init: float
    eta: float

    def strength(self, epoch: int) -> float:
        """alpha of a regularised epoch, counted from 0."""
        return penalty_strength(epoch, lambda_init=self.lambda_init, eta=self.eta)


def scaled_ramp(*, lambda_init: float, eta: float, ramp_nominal: int, steps: int, step_length: float) -> Ramp:
    """The ramp with the paper's total pull in `ramp_nominal` epochs.

    Args:
        lambda_init: Of the paper's ramp.
        eta: Of the paper's ramp, above 1.
        ramp_nominal: Epochs that stand for the paper's 65.
        steps: Steps of one epoch of the task.
        step_length: learning_rate / (1 - momentum).
    """
    eta_scaled = eta ** (PAPER_RAMP_EPOCHS / ramp_nominal)
    # Both geometric sums run to the same last power, eta^65 - 1, which cancels.
    pull_ratio = PAPER_STEPS * PAPER_STEP_LENGTH / (steps * step_length)
    return Ramp(lambda_init * pull_ratio * (eta_scaled - 1) / (eta - 1), eta_scaled)


def task_ramp(config: HyperSparseConfig, phases: Phases, *, num_train: int, batch_size: int) -> Ramp:
    """The ramp of a run: the paper's literally, or scaled to the task.

    Args:
        config: The paper's ramp, and which of the two is wanted.
        phases: The schedule in the task's epochs.
        num_train: Training samples of the task.
        batch_size: Of the task; the last batch of an epoch may be smaller and is a step all the same.
    """
    if config.ramp == "paper":
        return Ramp(config.lambda_init, config.eta)
    return scaled_ramp(
        lambda_init=config.lambda_init,
        eta=config.eta,
        ramp_nominal=phases.ramp_nominal,
        steps=math.ceil(num_train / batch_size),
        step_length=config.learning_rate / (1 - config.momentum),
    )
