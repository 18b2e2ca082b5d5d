"""Training of networks of which only some weights live: the others are exact zeros, from the first step to the last.

What one-shot, gradual, initial and dynamic pruning share: masks that may change within a step, a checkpoint that holds
them, and the one variant that is delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from methods.contract import Monitor, Outcome, Task, Variant
from methods.json_value import Json
from methods.networks.graph import Network
from methods.training.config import PruningConfig, TrainingConfig
from methods.training.learner import Learner
from methods.training.loop import Phase, follow_schedule, start_learner
from methods.training.masks import apply_masks, emptied_layers, kept_share, masked_gradients, prunable_weights
from methods.training.targets import in_standard_units, to_raw_units


class MaskedWeights:
    """The prunable weights of a network in training, with the masks of those that live.

    Args:
        learner: Its weights outside the masks become zero, and stay so.
        masks: One bool tensor per prunable weight, True where it lives.
        step: Steps of the schedule done before.
    """

    def __init__(self, learner: Learner[Network], masks: Sequence[Tensor], *, step: int = 0) -> None:
        self.weights = prunable_weights(learner.network)
        self.masks = _laid_out_like(self.weights, masks)
        self.step = step
        self._learner = learner
        self._mask_gradients = masked_gradients(self.weights, self.masks)
        apply_masks(self.weights, self.masks)

    @torch.no_grad()
    def change(self, masks: Sequence[Tensor]) -> None:
        """Let other weights live from now on; all that do not live before and after are zero without momentum."""
        masks = _laid_out_like(self.weights, masks)
        for weight, old, new in zip(self.weights, self.masks, masks, strict=True):
            other = ~(old & new)
            weight.masked_fill_(other, 0.0)
            self._learner.forget(weight, other)
        self.masks = masks
        self._mask_gradients = masked_gradients(self.weights, masks)

    def rest(self) -> None:
        """Leave out the step that is under way: no parameter of the network moves in it."""
        for parameter in self._learner.parameters:
            parameter.grad = None

    def finish_step(self) -> None:
        """Stop the gradients of all weights that do not live, and count the step."""
        self._mask_gradients(self._learner.network)
        self.step += 1


Update = Callable[[MaskedWeights], None]
"""Called in each step while the gradients of all weights are there; it may `change` the masks or let the step `rest`,
and must not ask the device for a value."""


def train_masked(
    network: Network,
    task: Task,
    masks: Sequence[Tensor],
    *,
    config: TrainingConfig,
    epochs: int,
    monitor: Monitor,
    phase: Phase,
    method: str,
    update: Update | None = None,
    delivered: Callable[[Network], Network] | None = None,
) -> list[Tensor]:
    """Train the weights that live, by the schedule of `train`; resuming leaves no trace.

    Args:
        network: Trained in place; its other prunable weights become zero.
        masks: As training begins, or from `stored_masks`.
        method: Its name, for what the monitor is told of layers without weights.
        update: May change the masks; default: they stay.
        config, epochs, monitor, phase, delivered: As in `train`.

    Returns:
        The masks at the end.

    Raises:
        StoppedEarly: From the monitor.
        TrainingDiverged: See `train_epoch`.
    """
    learner = start_learner(network, task, config=config, first_epoch=phase.first_epoch)
    stored = _stored(monitor, phase.name)
    live = MaskedWeights(learner, masks, step=0 if stored is None else int(stored["step"]))

    def after_backward(network: Network) -> None:
        del network
        if update is not None:
            update(live)
        live.finish_step()

    if stored is None:
        empty_before = emptied_layers(network, live.masks)
        _note_empty(monitor, method, empty_before)
    else:
        # Said already, and kept with the notes of the checkpoint.
        empty_before = list(stored["empty"])
    follow_schedule(
        learner,
        task,
        config=config,
        epochs=epochs,
        monitor=monitor,
        phase=phase,
        after_backward=after_backward,
        delivered=delivered,
        carry=lambda: {"masks": live.masks, "step": live.step, "empty": empty_before},
    )
    if update is not None:
        _note_empty(monitor, method, [name for name in emptied_layers(network, live.masks) if name not in empty_before])
    return live.masks


def stored_masks(monitor: Monitor, *, phase: str, device: str) -> list[Tensor] | None:
    """The masks of the checkpoint that `train_masked` will go on from in the phase of that name; None at its start."""
    stored = _stored(monitor, phase)
    return None if stored is None else [mask.to(device) for mask in stored["masks"]]


def fit_masked(
    task: Task,
    *,
    choose: Callable[[Network, Task], list[Tensor]],
    config: PruningConfig,
    monitor: Monitor,
    method: str,
    update: Update | None = None,
    facts: Mapping[str, Json] | None = None,
) -> Outcome:
    """A whole run of a method that masks the untrained network and trains it for the task's budget.

    Args:
        choose: The masks for a fresh network; its task has targets in standard units.
        config, monitor, method: As in `train_masked`.
        update: As in `train_masked`; must leave the number of living weights as it is.
        facts: Of the outcome, beside its sparsity.
    """
    scaled = in_standard_units(task)
    network = task.network()
    phase = "sparse"
    masks = stored_masks(monitor, phase=phase, device=task.device)
    if masks is None:
        masks = choose(network, scaled)
    masks = train_masked(
        network,
        scaled,
        masks,
        config=config,
        epochs=task.epochs,
        monitor=monitor,
        phase=Phase(name=phase, size=kept_share(masks)),
        method=method,
        update=update,
    )
    return masked_outcome(network, task, masks, label="sparse", config=config, epochs=task.epochs, facts=facts)


def masked_outcome(
    network: Network,
    task: Task,
    masks: Sequence[Tensor],
    *,
    label: str,
    config: PruningConfig,
    epochs: int,
    facts: Mapping[str, Json] | None = None,
) -> Outcome:
    """The outcome of a run that delivers one masked network.

    Args:
        network: Trained on `in_standard_units(task)`; brought to raw units in place.
        label: Of the variant.
        facts: Beside the sparsity.
    """
    sparsity = 1 - kept_share(masks)
    settings = {"pruning_rate": config.pruning_rate, "sparsity": sparsity}
    variant = Variant(label, kind="whole", network=to_raw_units(network, task), settings=settings)
    return Outcome(variants=(variant,), epochs=epochs, facts={**(facts or {}), "sparsity": sparsity})


def _stored(monitor: Monitor, phase: str) -> dict[str, Any] | None:
    stored = monitor.resume()
    return stored["carry"] if stored is not None and stored["phase"] == phase else None


def _laid_out_like(weights: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
    """Copies of the masks with the memory layout of their weights, so that both are walked through in order."""
    return [
        torch.empty_like(weight, dtype=torch.bool, requires_grad=False).copy_(mask)
        for weight, mask in zip(weights, masks, strict=True)
    ]


def _note_empty(monitor: Monitor, method: str, layers: Sequence[str]) -> None:
    if layers:
        monitor.note(f"{method}: no weight is left in {', '.join(layers)}; a smaller pruning_rate would keep some")
