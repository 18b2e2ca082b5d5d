"""Training of one network at many widths at once, and its normalisation at each of them.

Source: Yu and Huang, "Universally Slimmable Networks and Improved Training Techniques", ICCV 2019: the sandwich rule,
in-place distillation, and statistics of batch normalisation taken anew after training. Ours: inner widths alone change,
and the gradients of a batch's widths are averaged, where the paper sums them, so that the rates of plain training suit.

Shapes: N = samples, K = classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from methods.contract import Monitor, Task, TrainingDiverged
from methods.morphing.parts import Part, units_at, widest
from methods.networks.dropout import draw_dropout_from, switch_off_dropout
from methods.networks.graph import Network
from methods.networks.resizing import with_units
from methods.networks.restore import restore
from methods.slimmable.config import SlimmableConfig
from methods.slimmable.slicing import sliced
from methods.training.batches import train_batches
from methods.training.distillation import soft_cross_entropy
from methods.training.learner import Learner
from methods.training.loop import REGRESSION_CLIP, default_loss, evaluate
from methods.training.precision import autocast, task_precision
from methods.training.schedules import cosine_schedule, step_schedule

_REPORTS = 20


class Sandwich:
    """A network in training at all widths of a range."""

    def __init__(self, network: Network, parts: Sequence[Part], task: Task, config: SlimmableConfig) -> None:
        self._task = task
        self._config = config
        self._parts = parts
        self._learner = Learner(
            network,
            optimizer=config.optimizer,
            nesterov=config.nesterov,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            seed=task.seed,
        )
        self._network = network
        self._narrow: dict[float, Network] = {}
        self._chance = torch.Generator().manual_seed(task.seed)
        self._loss = default_loss(task)

    def follow(self, epochs: int, monitor: Monitor) -> None:
        """Train for so many epochs; resuming equals never having stopped.

        Raises:
            StoppedEarly: From the monitor.
            TrainingDiverged: The loss is not finite at the end of an epoch.
        """
        config, learner = self._config, self._learner
        rate = (
            cosine_schedule(epochs, learning_rate=config.learning_rate)
            if config.schedule == "cosine"
            else step_schedule(
                epochs, learning_rate=config.learning_rate, milestones=config.milestones, decay=config.decay
            )
        )
        stored = monitor.resume()
        if stored is not None:
            learner.load_state_dict(stored["learner"])
            self._chance.set_state(stored["chance"])
        every = math.ceil(epochs / _REPORTS)
        while learner.epoch < epochs:
            epoch = learner.epoch
            loss = self._train_epoch(rate(epoch))
            if not math.isfinite(loss):
                raise TrainingDiverged(
                    f"epoch {epoch}: the loss became {loss} at learning rate {rate(epoch):g}; lower the learning rate"
                )
            learner.epoch += 1
            values = {"train_loss": loss, "learning_rate": rate(epoch)}
            if (epoch + 1) % every and epoch + 1 != epochs:
                monitor.curve(epoch, **values)
                continue
            network = self.at(config.lowest_width)
            accuracy = evaluate(network, self._task.validation, self._task)
            size = _count(network) / _count(self._network)
            monitor.curve(epoch, lowest_width_accuracy=accuracy, size=size, **values)
            monitor.checkpoint({"learner": learner.state_dict(), "chance": self._chance.get_state()})
            monitor.report((epoch + 1) / epochs, accuracy, size)

    @torch.no_grad()
    def at(self, width: float) -> Network:
        """The network of one width, its normalisation calibrated for it, in evaluation mode; owns its weights."""
        architecture = with_units(self._network.architecture, units_at(self._parts, width))
        blank = Network(architecture)
        state = {name: value.clone() for name, value in sliced(self._network, blank).items()}
        state |= {name: value for name, value in blank.state_dict().items() if name not in state}
        network = restore(architecture, state, like=self._network).to(self._task.device)
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
        usual = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = None  # a cumulative average
        network.train()
        switch_off_dropout(network)  # its zeros are no part of the statistics that evaluation meets
        for (inputs, _), _ in zip(self._batches(_calibrating(self._task)), range(self._config.calibration_batches)):  # noqa: B905
            with autocast(self._task.device, task_precision(self._task)):
                network(inputs)
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum
        return network.eval()

    def _train_epoch(self, learning_rate: float) -> float:
        """Pass once over the training samples; the mean loss of the full width over batches."""
        learner = self._learner
        losses = []
        self._network.train()
        for inputs, targets in self._batches(learner.generator):
            learner.forget_gradients()
            teacher, loss = self._backward(inputs, targets, width=1.0, teacher=None)
            for width in [
                self._config.lowest_width,
                *(self._random_width() for _ in range(self._config.random_widths)),
            ]:
                self._backward(inputs, targets, width=width, teacher=teacher if self._distils else None)
            if self._task.info.kind == "regression":
                nn.utils.clip_grad_norm_(learner.parameters, REGRESSION_CLIP)
            learner.step(learning_rate)
            losses.append(loss)
        return float(torch.stack(losses).double().mean())

    @property
    def _distils(self) -> bool:
        return self._config.distillation and self._task.info.kind == "classification"

    def _backward(
        self, inputs: Tensor, targets: Tensor, *, width: float, teacher: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Add the gradient at one width; the logits and the loss, detached."""
        with autocast(self._task.device, task_precision(self._task)):
            raw = functional_call(self._skeleton(width), sliced(self._network, self._skeleton(width)), (inputs,))
        logits = raw.float()
        if teacher is None:
            loss = self._loss(logits, targets)
        else:
            weight_K = self._task.class_weights
            loss = soft_cross_entropy(logits, teacher, weight_N=None if weight_K is None else weight_K[targets])
        (loss / (2 + self._config.random_widths)).backward()  # type: ignore[no-untyped-call]
        return logits.detach(), loss.detach()

    def _skeleton(self, width: float) -> Network:
        """A network of that width without weights of its own."""
        if width not in self._narrow:
            architecture = with_units(self._network.architecture, units_at(self._parts, width))
            skeleton = _without_memory(Network(architecture).to(self._task.device)).train()
            draw_dropout_from(skeleton, self._learner.generator)
            self._narrow[width] = skeleton
        return self._narrow[width]

    def _random_width(self) -> float:
        full = widest(self._parts)
        # Rounded first, as 0.07 * 100 is a little more than 7; then up, as below the lowest width a layer may be empty.
        low = math.ceil(round(self._config.lowest_width * full, 9))
        return int(torch.randint(low, full + 1, (), generator=self._chance)) / full

    def _batches(self, generator: torch.Generator):  # type: ignore[no-untyped-def]
        task = self._task
        return train_batches(
            task.train,
            batch_size=task.batch_size,
            normalization=task.normalization,
            augmentation=task.augmentation,
            generator=generator,
        )


def _without_memory(network: Network) -> Network:
    """Changed in place: weights keep their shapes alone. A wide network has thousands of widths, and weights for each
    would fill a hundred gigabytes."""
    for layer in network.modules():
        for name, parameter in list(layer.named_parameters(recurse=False)):
            setattr(layer, name, nn.Parameter(parameter.detach().to("meta")))
    return network


def _calibrating(task: Task) -> torch.Generator:
    """Of the batches that calibrate: the same for every width, and no part of training's chance."""
    return torch.Generator(device=task.device).manual_seed(task.seed)


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
