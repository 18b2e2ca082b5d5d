"""Training of the weights that morph: block by block, at many widths, over a trained network most of which stays.

At each growth step one more block changes from trained to morphing. A group of batches shares one pass through what the
weights are made from: each batch has a width of its own, its gradient reaches the group's tensors, and these pass the
sum on once. That is the same gradient as one backward pass per batch.

Source: Sommariva et al., "How to Train Your Metamorphic Deep Neural Network", 2025, arXiv 2505.05510, and its public
code; Neural Metamorphosis (Yang and Wang, ECCV 2024, arXiv 2410.11878) is one growth step of the last block. Ours: one
optimizer over one copy of what all widths share, where the code has one for each width; an accumulated group never
spans two epochs.

Shapes: N = samples, K = classes.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from methods.contract import Monitor, Task, TrainingDiverged
from methods.morphing.config import GrowthConfig
from methods.morphing.gates import Gates
from methods.morphing.losses import magnitude, reconstruction
from methods.morphing.morph import assembled
from methods.morphing.parts import Part, most_left_out, widest
from methods.morphing.schedule import ScheduledStep, rate_at
from methods.morphing.source import WeightSource
from methods.morphing.tensors import as_layers, own_tensors, padded, tensor_shapes
from methods.networks.functional import run_with
from methods.networks.graph import Network
from methods.training.batches import train_batches
from methods.training.distillation import soft_cross_entropy
from methods.training.learner import Learner
from methods.training.loop import default_loss, evaluate
from methods.training.precision import autocast, task_precision

_REPORTS = 20
"""About so many over the whole run, besides one at the end of each growth step."""


@dataclass
class Grown:
    """A network that morphs, after training."""

    skeleton: Network
    """What all widths share, where it does not morph; without batch normalisation."""
    parts: tuple[Part, ...]
    source: WeightSource
    gates: Tensor | None
    """One for each part; None: none has one."""


def grow_network(
    skeleton: Network,
    parts: tuple[Part, ...],
    source: WeightSource,
    task: Task,
    *,
    config: GrowthConfig,
    steps: Sequence[ScheduledStep],
    monitor: Monitor,
    prepare: Callable[[int], None] | None = None,
    draws: int = 1,
) -> Grown:
    """Train what the weights are made from, growth step by growth step; resuming equals never having stopped.

    Args:
        skeleton: The trained network without batch normalisation, on the task's device. Changed in place where the
            last block and the classifier are trained on.
        parts: All that shall morph.
        source: New; its first parts are grown here.
        steps: See `methods.morphing.schedule.growth_steps`.
        prepare: Called with the number of parts before the training of each growth step, once they are grown; None:
            nothing is to be done.
        draws: As of `WeightSource.tensors`, where accuracy is measured.

    Raises:
        StoppedEarly: From the monitor.
        TrainingDiverged: The loss is not finite at the end of an epoch.
    """
    return _Session(skeleton, parts, source, task, config, monitor, draws).follow(steps, prepare)


class _Session:
    def __init__(
        self,
        skeleton: Network,
        parts: tuple[Part, ...],
        source: WeightSource,
        task: Task,
        config: GrowthConfig,
        monitor: Monitor,
        draws: int,
    ) -> None:
        self._skeleton = skeleton.requires_grad_(False)
        self._parts = parts
        self._source = source
        # What would be delivered now: the source itself, or a moving average of its past.
        self._served = self._source
        self._task = task
        self._config = config
        self._monitor = monitor
        self._draws = draws
        has_gates = config.gate == "skipinit" and any(part.total for part in parts)
        self._gates = Gates(parts, start=config.gate_start).to(task.device) if has_gates else None
        self._targets = [tensor.clone() for tensor in own_tensors(skeleton, parts)]
        self._full_shapes = tensor_shapes(parts, 1.0)
        self._pads = torch.device(task.device).type == "cuda"
        # Widths and blocks left out are chosen on the host, from numbers of their own.
        self._chance = torch.Generator().manual_seed(task.seed)
        self._loss = default_loss(task)
        self._most_left_out = most_left_out(skeleton.architecture) if config.drop_probability else {}
        self._stage_of_last = max(part.stage for part in parts)

    def follow(self, steps: Sequence[ScheduledStep], prepare: Callable[[int], None] | None) -> Grown:
        total = steps[-1].last_epoch
        every = max(1, math.ceil(total / _REPORTS))
        stored = self._monitor.resume()
        for number, step in enumerate(steps):
            self._source.grow(step.parts)
            self._source.to(self._task.device)
            if stored is not None and stored["step"] > number:
                continue
            learners = self._learners(step)
            if stored is not None and stored["step"] == number:
                self._take_up(stored, learners)
            else:
                self._open(step)
                if prepare is not None:
                    prepare(step.parts)
                self._start_average()
            for epoch in range(learners[0].epoch, step.last_epoch):
                rate = rate_at(step, epoch, config=self._config)
                loss = self._train_epoch(learners, step, rate=rate)
                if not math.isfinite(loss):
                    raise TrainingDiverged(
                        f"epoch {epoch}: the loss became {loss} at learning rate {rate * self._config.learning_rate:g} "
                        f"with {step.parts} morphing parts; lower learning_rate"
                    )
                self._tell(epoch, step, number, learners, loss=loss, rate=rate, every=every, total=total)
        gates = None if self._gates is None else self._gates.values().detach()
        return Grown(self._skeleton, self._parts, self._served, gates)

    def _learners(self, step: ScheduledStep) -> list[Learner[Any]]:
        """New optimizers: of the source, and of the gates and of last block and classifier where these are trained."""
        config = self._config

        def learner(module: nn.Module, weight_decay: float) -> Learner[Any]:
            return Learner(
                module,
                optimizer="adamw",
                momentum=0.9,
                weight_decay=weight_decay,
                seed=self._task.seed,
                first_epoch=step.first_epoch,
            )

        learners = [learner(self._source, config.weight_decay)]
        if self._gates is not None:
            learners.append(learner(self._gates, config.shared_weight_decay))
        if config.head_learning_rate and step.stage == self._stage_of_last:
            for name in self._head():
                self._skeleton.nodes[name].requires_grad_(True)
        if any(parameter.requires_grad for parameter in self._skeleton.parameters()):
            learners.append(learner(self._skeleton, config.shared_weight_decay))
        return learners

    def _rates(self, learners: Sequence[Learner[Any]], rate: float) -> Iterator[tuple[Learner[Any], float]]:
        """The learners of what all widths share, with their learning rates."""
        for learner in learners[1:]:
            own = self._config.gate_learning_rate if learner.network is self._gates else self._config.head_learning_rate
            yield learner, own * rate

    def _head(self) -> list[str]:
        """Nodes of the layers behind the last morphing part, which are those of the last block and the classifier."""
        names = [node.name for node in self._skeleton.architecture.nodes if node.name in self._skeleton.nodes]
        return names[names.index(self._parts[-1].layers[-1].name) + 1 :]

    @torch.no_grad()
    def _open(self, step: ScheduledStep) -> None:
        """Bring the gates of blocks that begin to morph to their start, untouched by the decay of earlier steps."""
        if self._gates is not None:
            self._gates.factor[step.first_part : step.parts] = self._config.gate_start

    def _take_up(self, stored: dict[str, Any], learners: Sequence[Learner[Any]]) -> None:
        for learner, state in zip(learners, stored["learners"], strict=True):
            learner.load_state_dict(state)
        self._start_average()
        if self._config.averaging:
            self._served.load_state_dict(stored["served"])
        self._chance.set_state(stored["chance"])

    def _train_epoch(self, learners: Sequence[Learner[Any]], step: ScheduledStep, *, rate: float) -> float:
        """One epoch of one growth step; the mean loss over batches."""
        task = self._task
        batches = train_batches(
            task.train,
            batch_size=task.batch_size,
            normalization=task.normalization,
            augmentation=task.augmentation,
            generator=learners[0].generator,
        )
        losses: list[Tensor] = []
        while group := list(itertools.islice(batches, self._config.accumulation)):
            losses += self._train_group(group, learners, step, rate=rate)
        for learner in learners:
            learner.epoch += 1
        return float(torch.stack(losses).double().mean())

    def _train_group(
        self,
        group: Sequence[tuple[Tensor, Tensor]],
        learners: Sequence[Learner[Any]],
        step: ScheduledStep,
        *,
        rate: float,
    ) -> list[Tensor]:
        """One step of the source; the losses of the batches."""
        config, source = self._config, learners[0]
        widths = [self._random_width() for _ in group]
        if config.full_width_first:
            widths[0] = 1.0
        source.forget_gradients()
        made = self._source.tensors(widths, generator=source.generator)
        leaves = [[tensor.detach().requires_grad_() for tensor in tensors] for tensors in made]
        losses = []
        for width, (inputs, labels), tensors in zip(widths, group, leaves, strict=True):
            for learner in learners[1:]:
                learner.forget_gradients()
            loss = self._batch_loss(inputs, labels, tensors, width=width, full=leaves[0], step=step)
            (loss / len(group)).backward()  # type: ignore[no-untyped-call]
            for learner, own in self._rates(learners, rate):
                learner.step(own)
            losses.append(loss.detach())
        terms = [config.magnitude_weight * magnitude(tensors) for tensors in made] if config.magnitude_weight else []
        for width, tensors in zip(widths, made, strict=True):
            if config.reconstruction_weight and width == 1.0:
                targets = self._targets[: len(tensors)]
                distance = reconstruction(tensors, targets, weighted=config.weighted_reconstruction)
                terms.append(config.reconstruction_weight * distance)
        outputs = [tensor for tensors in made for tensor in tensors]
        gradients: list[Tensor | None] = [leaf.grad for tensors in leaves for leaf in tensors]
        if terms:
            outputs.append(torch.stack(terms).sum() / len(group))
            gradients.append(None)
        torch.autograd.backward(outputs, gradients)
        nn.utils.clip_grad_value_(source.parameters, config.clip)
        source.step(config.learning_rate * rate)
        self._move_average()
        return losses

    def _start_average(self) -> None:
        if self._config.averaging:
            self._served = copy.deepcopy(self._source)

    @torch.no_grad()
    def _move_average(self) -> None:
        if self._config.averaging:
            averages = [parameter.detach() for parameter in self._served.parameters()]
            latest = [parameter.detach() for parameter in self._source.parameters()]
            torch._foreach_lerp_(averages, latest, 1 - self._config.averaging)

    def _batch_loss(
        self,
        inputs: Tensor,
        labels: Tensor,
        tensors: Sequence[Tensor],
        *,
        width: float,
        full: Sequence[Tensor],
        step: ScheduledStep,
    ) -> Tensor:
        mask = self._present(step)
        logits_NK = self._logits(inputs, tensors, step, mask)
        loss = self._loss(logits_NK, labels)
        if self._config.distillation and width != 1.0:
            with torch.no_grad():
                teacher_NK = self._logits(inputs, full, step, mask)
            weight_K = self._task.class_weights
            weight_N = None if weight_K is None else weight_K[labels]
            loss = loss + self._config.distillation * soft_cross_entropy(logits_NK, teacher_NK, weight_N=weight_N)
        return loss

    def _logits(self, inputs: Tensor, tensors: Sequence[Tensor], step: ScheduledStep, mask: Tensor | None) -> Tensor:
        parts = self._parts[: step.parts]
        if self._pads:
            shapes = [
                tuple(max(pair) for pair in zip(tensor.shape, full, strict=True))
                for tensor, full in zip(tensors, self._full_shapes, strict=False)
            ]
            tensors = padded(tensors, shapes)
        gates = None if self._gates is None else self._gates.values()[: step.parts]
        if mask is not None:
            gates = mask if gates is None else gates * mask
        with autocast(self._task.device, task_precision(self._task)):
            logits_NK = run_with(self._skeleton, inputs, as_layers(parts, tensors, gates))
        return logits_NK.float()

    def _random_width(self) -> float:
        """A width of the trained range, uniform over whole numbers of the widest layer's units."""
        full = widest(self._parts)
        low, high = (round(share * full) for share in (self._config.lowest_width, self._config.highest_width))
        return int(torch.randint(low, high + 1, (), generator=self._chance)) / full

    def _present(self, step: ScheduledStep) -> Tensor | None:
        """Which morphing parts take part in a batch, 1 or 0 each; at least half of each stage's blocks do."""
        if not self._config.drop_probability:
            return None
        chance_P = torch.rand(step.parts, generator=self._chance)
        present_P = torch.ones(step.parts)
        for stage, most in self._most_left_out.items():
            places = [
                index
                for index, part in enumerate(self._parts[: step.parts])
                if part.stage == stage and part.total is not None
            ]
            places.sort(key=lambda index: float(chance_P[index]))
            left_out = [index for index in places if chance_P[index] < self._config.drop_probability]
            present_P[left_out[:most]] = 0.0
        return present_P.to(self._task.device)

    def _tell(
        self,
        epoch: int,
        step: ScheduledStep,
        number: int,
        learners: Sequence[Learner[Any]],
        *,
        loss: float,
        rate: float,
        every: int,
        total: int,
    ) -> None:
        values = {"train_loss": loss, "learning_rate": self._config.learning_rate * rate, "morphing": float(step.parts)}
        done = epoch + 1
        if done % every and done != step.last_epoch:
            self._monitor.curve(epoch, **values)
            return
        accuracy_full, _ = self._measure(1.0, step)
        accuracy, size = self._measure(self._config.lowest_width, step)
        self._monitor.curve(epoch, val_accuracy=accuracy_full, lowest_width_accuracy=accuracy, size=size, **values)
        self._monitor.checkpoint(
            {
                "step": number,
                "learners": [learner.state_dict() for learner in learners],
                "served": {name: value.clone() for name, value in self._served.state_dict().items()}
                if self._config.averaging
                else {},
                "chance": self._chance.get_state(),
            }
        )
        self._monitor.report(done / total, accuracy, size)

    @torch.no_grad()
    def _measure(self, width: float, step: ScheduledStep) -> tuple[float, float]:
        """Validation accuracy at a width, and the share of the full network's parameters."""
        parts = self._parts[: step.parts]
        # From a generator of its own, so that measuring does not move training.
        generator = torch.Generator(device=self._task.device).manual_seed(self._task.seed)
        (tensors,) = self._served.tensors([width], generator=generator, draws=self._draws)
        gates = None if self._gates is None else self._gates.values()[: step.parts]
        network = assembled(self._skeleton, parts, tensors, width=width, gates=gates)
        share = _count(network) / _count(self._skeleton)
        return evaluate(network, self._task.validation, self._task), min(1.0, share)


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
