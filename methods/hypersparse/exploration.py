"""Warm-up and regularisation of ART: all weights train until cutting the small ones no longer hurts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from methods.contract import Monitor, Split, Task
from methods.hypersparse.budget import Phases, task_ramp
from methods.hypersparse.config import HyperSparseConfig
from methods.hypersparse.diagnostics import (
    LastStepGradients,
    RampEpoch,
    RampRecord,
    magnitude_histogram,
    mask_overlap,
    share_below,
)
from methods.hypersparse.fused import FusedPenalty
from methods.hypersparse.penalty import exact_count_masks, magnitude_masks, penalty_gradient, pruning_threshold
from methods.hypersparse.schedule import StoppingRule
from methods.hypersparse.snapshots import Snapshot, pruned, reestimate_batch_norm
from methods.networks.graph import Network
from methods.training.learner import Learner
from methods.training.loop import EpochStats, evaluate, train_epoch
from methods.training.masks import prunable_weights

PHASE = "explore"
"""Marks checkpoints of warm-up and ramp."""
EVALUATIONS = 20
"""Validate and offer a checkpoint about this often in either phase."""
WITHIN_REACH = 0.1
"""A pruned network this far below the dense one (accuracy) cannot end the ramp; a part of the samples will do."""
SUBSET = (0.1, 2000)
"""Share of the training samples, and their least number, that such a network is measured on."""
BATCH_NORM_BATCHES = 50


@dataclass(frozen=True)
class Chosen:
    """What the ramp hands to fine-tuning."""

    network: Network
    """Pruned to exact zeros."""
    masks: list[Tensor]
    facts: dict[str, Any]
    """JSON values on how the ramp went; `regularised_epochs` among them."""
    record: RampRecord
    """The ramp epoch by epoch."""


class Exploration:
    """The dense phases of one run, with all that a checkpoint must hold of them.

    Args:
        config: The paper's settings.
        task: Trained on.
        monitor: Hears a curve per epoch; is offered checkpoints. Nothing is reported: accuracy after a cut stays at
            chance for half of the ramp and then rises within a few epochs, so it says nothing on the run's worth.
        phases: The schedule in the task's epochs.
    """

    def __init__(self, config: HyperSparseConfig, task: Task, monitor: Monitor, phases: Phases) -> None:
        self._config, self._task, self._monitor, self._phases = config, task, monitor, phases
        self._learner = Learner(
            task.network(), momentum=config.momentum, weight_decay=config.weight_decay, seed=task.seed
        )
        self._weights = prunable_weights(self._learner.network)
        self._penalty = FusedPenalty(self._weights, kind=config.penalty, pruning_rate=config.pruning_rate)
        self._ramp = task_ramp(config, phases, num_train=len(task.train), batch_size=task.batch_size)
        self._rule = StoppingRule(phases.window, strict_present=config.strict_present)
        self._snapshots: dict[int, Snapshot] = {}
        self._stopped = False
        self._facts: dict[str, Any] = {}
        self._curve: dict[str, float] = {}
        self._subset = _fixed_subset(task)
        self._record = RampRecord()

    def run(self, stored: Mapping[str, Any] | None) -> Chosen:
        """Train from the start, or go on from `stored`, until the stopping rule or the limit ends the ramp.

        Raises:
            TrainingDiverged: See `train_epoch`.
        """
        if stored is not None:
            self._restore(stored)
        warmup, limit = self._phases.warmup, self._phases.ramp_limit
        while self._learner.epoch < warmup:
            self._warmup_epoch()
            self._close_epoch(self._learner.epoch, length=warmup)
        if not self._record.epochs:
            self._record.before = magnitude_histogram(self._weights)
        while not self._stopped and self._learner.epoch < warmup + limit:
            self._regularised_epoch(self._learner.epoch - warmup)
            self._close_epoch(self._learner.epoch - warmup, length=limit)
        return self._hand_over()

    def _warmup_epoch(self) -> None:
        rate = self._config.learning_rate
        stats = train_epoch(self._learner, self._task, learning_rate=rate)
        self._curve = {"train_loss": stats.loss, "train_accuracy": stats.accuracy, "learning_rate": rate}

    def _regularised_epoch(self, epoch: int) -> None:
        """One epoch of the ramp, counted from 0, with the pruning of its end and the verdict on it."""
        alpha, rate = self._ramp.strength(epoch), self._config.learning_rate
        gradients = LastStepGradients(self._weights, steps=math.ceil(len(self._task.train) / self._task.batch_size))

        def add_penalty(_: Network) -> None:
            gradients.see_step()
            self._penalty.add_to_gradients(alpha)

        stats = train_epoch(self._learner, self._task, learning_rate=rate, after_backward=add_penalty)
        dense = self._dense_accuracy(stats)
        masks = self._masks()
        with pruned(self._learner.network, self._weights, masks):
            if self._config.reestimate_batch_norm:
                reestimate_batch_norm(
                    self._learner.network, self._task, num_batches=BATCH_NORM_BATCHES, generator=self._generator(1)
                )
            accuracy = self._pruned_accuracy(dense)
            snapshot = Snapshot.take(self._learner.network, self._weights, masks)
        # The rule's window always reaches the epoch before, so that one's snapshot is still here.
        overlap = mask_overlap(snapshot.bits, self._snapshots[epoch].bits) if epoch else None
        self._stopped = self._rule.update(accuracy, dense)
        # The rule counts from 1, as the paper's logs do.
        candidates = self._snapshots | {epoch + 1: snapshot}
        self._snapshots = {number: candidates[number] for number in self._rule.wanted_epochs}
        tau = float(pruning_threshold(self._weights, pruning_rate=self._config.pruning_rate))
        reading = self._penalty.read()
        if reading.skipped_steps and not self._facts.get("skipped_steps"):
            self._monitor.note(
                f"epoch {self._learner.epoch - 1}: so many weights are exactly zero that the pruning rate is already "
                "reached; the penalty is left out while that holds"
            )
        self._facts = {
            "regularised_epochs": epoch + 1,
            "alpha_at_stop": alpha,
            "pruned_accuracy_at_stop": accuracy,
            "dense_accuracy_at_stop": dense,
            "tau_at_stop": tau,
            "c_at_stop": reading.c,
            "skipped_steps": reading.skipped_steps,
        }
        self._curve = {
            "train_loss": stats.loss,
            "train_accuracy": stats.accuracy,
            "learning_rate": rate,
            "alpha": alpha,
            "tau": tau,
            "c": reading.c,
            "pruned_accuracy": accuracy,
            "share_below_tau_tenth": share_below(self._weights, tau / 10),
        } | ({} if overlap is None else {"mask_overlap": overlap})
        self._record.epochs.append(self._ramp_epoch(gradients.values, alpha=alpha, dense=dense, overlap=overlap))

    def _ramp_epoch(
        self, task_gradients: list[Tensor], *, alpha: float, dense: float, overlap: float | None
    ) -> RampEpoch:
        """The epoch that has just ended, beside what its curve holds; waits for the device once more."""
        config, curve = self._config, self._curve
        pull = penalty_gradient(self._weights, kind=config.penalty, pruning_rate=config.pruning_rate)
        return RampEpoch(
            alpha=alpha,
            tau=curve["tau"],
            c=curve["c"],
            dense_accuracy=dense,
            pruned_accuracy=curve["pruned_accuracy"],
            share_below_tau_tenth=curve["share_below_tau_tenth"],
            mask_overlap=overlap,
            weights=magnitude_histogram(self._weights),
            task_gradients=magnitude_histogram(task_gradients),
            penalty_gradients=magnitude_histogram([alpha * gradient for gradient in pull]),
        )

    def _close_epoch(self, done: int, *, length: int) -> None:
        """Tell the monitor; validate and offer a checkpoint where one is due."""
        is_due = done % math.ceil(length / EVALUATIONS) == 0 or done == length or self._stopped
        if is_due:
            self._curve["val_accuracy"] = evaluate(self._learner.network, self._task.validation, self._task)
        self._monitor.curve(self._learner.epoch - 1, **self._curve)
        if is_due:
            self._monitor.checkpoint({"phase": PHASE} | self._state())

    def _dense_accuracy(self, stats: EpochStats) -> float:
        if not self._config.dense_eval_mode:
            return stats.accuracy
        return evaluate(
            self._learner.network, self._task.train, self._task, augmented=True, generator=self._generator(0)
        )

    def _pruned_accuracy(self, dense: float) -> float:
        """P of the network as it is now, on as few samples as the stopping rule can do with."""
        network, task = self._learner.network, self._task
        if not self._config.full_pruned_pass and len(self._subset) < len(task.train):
            rough = evaluate(network, self._subset, task, augmented=True, generator=self._generator(0))
            if rough <= dense - WITHIN_REACH:
                return rough
        return evaluate(network, task.train, task, augmented=True, generator=self._generator(0))

    def _masks(self) -> list[Tensor]:
        choose = exact_count_masks if self._config.exact_count else magnitude_masks
        return choose(self._weights, pruning_rate=self._config.pruning_rate)

    def _generator(self, stream: int) -> torch.Generator:
        """Randomness of this epoch's measurements: never the learner's, so that measuring changes no training."""
        generator = torch.Generator(device=self._task.device)
        generator.manual_seed((self._task.seed * 1_000_003 + 500_000 + 2 * self._learner.epoch + stream) % 2**63)
        return generator

    def _hand_over(self) -> Chosen:
        number = self._rule.best_epoch
        if not self._stopped:
            self._monitor.note(
                f"the ramp was ended by its limit of {self._phases.ramp_limit} epochs; training accuracy: dense "
                f"{self._facts['dense_accuracy_at_stop']:.4f}, pruned {self._facts['pruned_accuracy_at_stop']:.4f}"
            )
        if number is None:
            # No pruned network was right even once; the last one has been squeezed longest.
            number = max(self._snapshots)
        masks = self._snapshots[number].restore(self._learner.network, self._weights)
        facts = {**self._facts, "snapshot_epoch": number, "cap_reached": not self._stopped}
        return Chosen(self._learner.network, masks, facts, self._record)

    def _state(self) -> dict[str, Any]:
        return {
            "learner": self._learner.state_dict(),
            "rule": self._rule.state(),
            "snapshots": {str(number): snapshot.state() for number, snapshot in self._snapshots.items()},
            "stopped": self._stopped,
            "facts": self._facts,
            "record": self._record.state(),
        }

    def _restore(self, stored: Mapping[str, Any]) -> None:
        self._learner.load_state_dict(stored["learner"])
        self._rule.restore(stored["rule"])
        self._snapshots = {int(number): Snapshot.from_state(state) for number, state in stored["snapshots"].items()}
        self._stopped = stored["stopped"]
        self._facts = dict(stored["facts"])
        self._record = RampRecord.from_state(stored["record"])
        self._penalty.skipped_steps = self._facts.get("skipped_steps", 0)


def _fixed_subset(task: Task) -> Split:
    share, least = SUBSET
    count = min(len(task.train), max(math.ceil(share * len(task.train)), least))
    order = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(task.seed))
    index = order[:count].sort().values.to(task.train.targets.device)
    return Split(task.train.inputs[index], task.train.targets[index])
