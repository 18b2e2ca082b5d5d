"""The one training loop. A method composes it: it passes its loss and its gradient hook, it inherits nothing.

Samples are resident on the device, shuffled and augmented there; images run channels-last, in bfloat16 where the device
is fast at it, on float32 weights. The host waits for the device once per epoch, and never inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.contract import Monitor, Split, Task, TrainingDiverged, UnsupportedTask
from methods.networks.graph import Network
from methods.training.batches import plain_batches, train_batches
from methods.training.config import DenseConfig, TrainingConfig
from methods.training.learner import Learner
from methods.training.precision import autocast, task_precision
from methods.training.schedules import Schedule, cosine_schedule, step_schedule

__all__ = [
    "EpochStats",
    "Hook",
    "Learner",
    "Loss",
    "Phase",
    "default_loss",
    "evaluate",
    "follow_schedule",
    "spent_epochs",
    "start_learner",
    "train",
    "train_epoch",
]

Loss = Callable[[Tensor, Tensor], Tensor]
"""(float32 logits (N, num_outputs), targets (N,)) -> scalar, the mean over the batch."""

Hook = Callable[[Network], None]
"""Called within a step; it may change gradients or weights in place and must not ask the device for a value."""

Reading = Callable[[Tensor], Tensor]
"""From what a network puts out for a batch, as float32, to the logits (N, num_outputs) that are scored."""

_AnyNetwork = TypeVar("_AnyNetwork", bound=nn.Module)


REGRESSION_CLIP = 1.0
"""Largest norm of a regression's gradient. Unlike that of cross-entropy it has no bound of its own: at the rates that
suit classification an MLP on `diabetes` diverges within two epochs without it, and fits at all of 0.01-0.9 with it."""


@dataclass(frozen=True)
class Phase:
    """Where one schedule lies in its run, and what of it the outside hears."""

    name: str = "train"
    """Marks checkpoints, so that a resumed run knows which phase they are of."""
    first_epoch: int = 0
    """Epochs of the earlier phases."""
    progress: tuple[float, float] = (0.0, 1.0)
    """Share of the run's whole schedule done before and after this phase."""
    size: float = 1.0
    """Share of the dense network's weights that the delivered network will hold."""
    evaluations: int = 20
    """Validate, report and offer a checkpoint about this often, and after the last epoch."""


@dataclass(frozen=True)
class EpochStats:
    """One training epoch, measured while the weights moved."""

    loss: float
    """Mean over the samples."""
    accuracy: float
    """R2 for regression."""
    samples: int


def train(
    network: _AnyNetwork,
    task: Task,
    *,
    config: TrainingConfig,
    epochs: int,
    monitor: Monitor,
    phase: Phase | None = None,
    loss: Loss | None = None,
    after_backward: Callable[[_AnyNetwork], None] | None = None,
    clip: Callable[[_AnyNetwork], None] | None = None,
    reading: Reading | None = None,
    delivered: Callable[[_AnyNetwork], Network] | None = None,
    size: Callable[[_AnyNetwork], float] | None = None,
    carry: Mapping[str, Any] | None = None,
) -> _AnyNetwork:
    """Train by the configured schedule; go on from the last checkpoint if it is of this phase.

    Resuming equals never having stopped, bit for bit. A checkpoint is `{"phase", "learner", "carry"}`.

    Args:
        network: Trained in place.
        epochs: Length of the schedule.
        loss, after_backward, clip, reading: As in `train_epoch`.
        delivered: The network that the run would deliver now, made from the one in training, whose own accuracy then
            goes to the curves alone. Default: the network itself.
        size: Where training decides it: the share of the dense network's weights that would be delivered now, asked for
            at each report and kept as the curve `size`. Default: `phase.size`.
        carry: What the method needs beside the network to go on from a checkpoint, e.g. masks.

    Returns:
        `network`.

    Raises:
        StoppedEarly: From the monitor.
        TrainingDiverged: See `train_epoch`.
    """
    phase = phase or Phase()
    learner = start_learner(network, task, config=config, first_epoch=phase.first_epoch)
    follow_schedule(
        learner,
        task,
        config=config,
        epochs=epochs,
        monitor=monitor,
        phase=phase,
        loss=loss,
        after_backward=after_backward,
        clip=clip,
        reading=reading,
        delivered=delivered,
        size=size,
        carry=lambda: carry or {},
    )
    return network


def spent_epochs(config: DenseConfig, task: Task, *, method: str) -> int:
    """The epochs that one training takes.

    Raises:
        UnsupportedTask: More than the task gives.
    """
    if config.epochs > task.epochs:
        raise UnsupportedTask(
            f"{method}: epochs is {config.epochs}, and the task gives {task.epochs}; lower it, or give the task as many"
        )
    return config.epochs or task.epochs


def start_learner(
    network: _AnyNetwork, task: Task, *, config: TrainingConfig, first_epoch: int = 0
) -> Learner[_AnyNetwork]:
    """A learner for a schedule that begins at `first_epoch` of its run, for hooks that need more than the network."""
    return Learner(
        network,
        optimizer=config.optimizer,
        nesterov=config.nesterov,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        seed=task.seed,
        first_epoch=first_epoch,
    )


def follow_schedule(
    learner: Learner[_AnyNetwork],
    task: Task,
    *,
    config: TrainingConfig,
    epochs: int,
    monitor: Monitor,
    phase: Phase,
    loss: Loss | None = None,
    after_backward: Callable[[_AnyNetwork], None] | None = None,
    clip: Callable[[_AnyNetwork], None] | None = None,
    reading: Reading | None = None,
    delivered: Callable[[_AnyNetwork], Network] | None = None,
    size: Callable[[_AnyNetwork], float] | None = None,
    carry: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """What `train` does with a learner from `start_learner`.

    Args:
        learner: Fresh; takes up the last checkpoint if that is of this phase.
        carry: Called for each checkpoint, so that what it returns may change in the course of training.
        config, epochs, monitor, phase, loss, after_backward, clip, reading, delivered, size: As in `train`.

    Raises:
        StoppedEarly: From the monitor.
        TrainingDiverged: See `train_epoch`.
    """
    network = learner.network
    rate = _schedule(config, epochs)
    stored = monitor.resume()
    if stored is not None and stored["phase"] == phase.name:
        learner.load_state_dict(stored["learner"])
    every = math.ceil(epochs / phase.evaluations)
    start, end = phase.progress
    while learner.epoch < phase.first_epoch + epochs:
        epoch = learner.epoch
        learning_rate = rate(epoch - phase.first_epoch)
        stats = train_epoch(
            learner,
            task,
            learning_rate=learning_rate,
            loss=loss,
            after_backward=after_backward,
            clip=clip,
            reading=reading,
        )
        values = {"train_loss": stats.loss, "train_accuracy": stats.accuracy, "learning_rate": learning_rate}
        done = epoch - phase.first_epoch + 1
        if done % every and done != epochs:
            monitor.curve(epoch, **values)
            continue
        accuracy = values["val_accuracy"] = evaluate(network, task.validation, task, reading=reading)
        if delivered is not None:
            accuracy = values["delivered_accuracy"] = evaluate(delivered(network), task.validation, task)
        share = phase.size
        if size is not None:
            share = values["size"] = size(network)
        monitor.curve(epoch, **values)
        monitor.checkpoint({"phase": phase.name, "learner": learner.state_dict(), "carry": dict(carry())})
        monitor.report(start + (end - start) * done / epochs, accuracy, share)


def train_epoch(
    learner: Learner[_AnyNetwork],
    task: Task,
    *,
    learning_rate: float,
    loss: Loss | None = None,
    after_backward: Callable[[_AnyNetwork], None] | None = None,
    after_step: Callable[[_AnyNetwork], None] | None = None,
    clip: Callable[[_AnyNetwork], None] | None = None,
    reading: Reading | None = None,
) -> EpochStats:
    """Pass once over the task's training samples.

    Args:
        learner: Changed in place; its `epoch` goes up by one.
        loss: Default: `default_loss`. The gradient of a regression is clipped to norm 1.
        after_backward: Called when the gradients of a step are there (and clipped), before the optimizer uses them.
        after_step: Called when the weights of a step have changed.
        clip: Limits the gradients of a regression in another way.
        reading: For a network whose output is not just the logits.

    Raises:
        TrainingDiverged: The loss or a weight is not finite at the end of the epoch.
    """
    network = learner.network
    objective = loss or default_loss(task)
    precision = task_precision(task)
    clipped = task.info.kind == "regression"
    network.train()
    losses, read, seen = [], [], []
    for inputs, targets in train_batches(
        task.train,
        batch_size=task.batch_size,
        normalization=task.normalization,
        augmentation=task.augmentation,
        generator=learner.generator,
    ):
        learner.forget_gradients()
        with autocast(task.device, precision):
            raw = network(inputs)
        logits = raw.float()
        value = objective(logits, targets)
        value.backward()  # type: ignore[no-untyped-call]
        if clipped:
            if clip is None:
                nn.utils.clip_grad_norm_(learner.parameters, REGRESSION_CLIP)
            else:
                clip(network)
        if after_backward is not None:
            after_backward(network)
        learner.step(learning_rate)
        if after_step is not None:
            after_step(network)
        losses.append(value.detach())
        read.append(_read(logits.detach(), reading))
        seen.append(targets)
    sizes = torch.tensor([len(targets) for targets in seen], dtype=torch.float64)
    samples = int(sizes.sum())
    mean_loss = (torch.stack(losses).double() * sizes.to(losses[0].device)).sum() / samples
    accuracy = _score(torch.cat(read), torch.cat(seen), task)
    norm = nn.utils.get_total_norm([parameter.detach() for parameter in learner.parameters]).double()
    loss_value, accuracy_value, norm_value = torch.stack([mean_loss, accuracy, norm]).tolist()
    if not math.isfinite(loss_value) or not math.isfinite(norm_value):
        raise TrainingDiverged(
            f"epoch {learner.epoch}: the loss became {loss_value} at learning rate {learning_rate:g} "
            f"(norm of the weights {norm_value:.3g}); lower the learning rate"
        )
    learner.epoch += 1
    return EpochStats(loss=loss_value, accuracy=accuracy_value, samples=samples)


def evaluate(
    network: nn.Module,
    split: Split,
    task: Task,
    *,
    augmented: bool = False,
    generator: torch.Generator | None = None,
    reading: Reading | None = None,
) -> float:
    """Accuracy (R2 for regression) of a network in evaluation mode, exact also when the last batch is smaller.

    Args:
        network: Left in the mode it was in.
        split: Any split of the task.
        augmented: Show the samples as training does: shuffled and augmented. Needs `generator`.
        reading: As in `train_epoch`.

    Raises:
        ValueError: `augmented` without a generator.
    """
    if augmented and generator is None:
        raise ValueError("evaluate: augmented samples need a generator; pass one on the task's device.")
    precision = task_precision(task)
    was_training = network.training
    network.eval()
    read, seen = [], []
    with torch.inference_mode():
        batches = (
            train_batches(
                split,
                batch_size=task.batch_size,
                normalization=task.normalization,
                augmentation=task.augmentation,
                generator=generator,
            )
            if generator is not None and augmented
            else plain_batches(split, batch_size=max(task.batch_size, 256), normalization=task.normalization)
        )
        for inputs, targets in batches:
            with autocast(task.device, precision):
                raw = network(inputs)
            read.append(_read(raw.float(), reading))
            seen.append(targets)
        score = float(_score(torch.cat(read), torch.cat(seen), task))
    network.train(was_training)
    return score


def default_loss(task: Task) -> Loss:
    """Cross-entropy for classification, with the task's weights of classes; mean squared error for regression."""
    if task.info.kind == "regression":
        return _squared_error
    weight_K = task.class_weights
    if weight_K is None:
        return F.cross_entropy

    def weighed(logits_NK: Tensor, targets_N: Tensor) -> Tensor:
        # The plain mean, as the weights are 1 on average over the training part. PyTorch's own divides by the weights
        # of the batch, so that they would mean nothing in a batch of one class.
        return F.cross_entropy(logits_NK, targets_N, weight=weight_K, reduction="none").mean()

    return weighed


def _schedule(config: TrainingConfig, epochs: int) -> Schedule:
    if config.schedule == "cosine":
        return cosine_schedule(epochs, learning_rate=config.learning_rate)
    return step_schedule(epochs, learning_rate=config.learning_rate, milestones=config.milestones, decay=config.decay)


def _read(outputs: Tensor, reading: Reading | None) -> Tensor:
    # Copied: kept until the end of the epoch, a view would keep all that the network put out beside the logits.
    return outputs if reading is None else reading(outputs).clone()


def _squared_error(logits_N1: Tensor, targets_N: Tensor) -> Tensor:
    return F.mse_loss(logits_N1.squeeze(1), targets_N)


def _score(outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
    """Accuracy, or R2, which is 0 for constant targets as in `methods.measure`; a scalar on the device."""
    if task.info.kind == "classification":
        return (outputs.argmax(dim=1) == targets).double().mean()
    residual = (targets - outputs.squeeze(1)).double().square().sum()
    spread = (targets - targets.mean()).double().square().sum()
    low, high = targets.aminmax()
    # Chosen without asking the device whether the targets are constant.
    return torch.where(low < high, 1 - residual / spread, torch.zeros_like(spread))
