"""One-shot magnitude pruning: the reference that any sparsifier has to beat at equal epochs."""

from __future__ import annotations

import copy

from torch import Tensor

from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, UnsupportedTask
from methods.magnitude.config import MagnitudeConfig
from methods.networks.graph import Network
from methods.training.loop import Phase, train
from methods.training.masked import masked_outcome, stored_masks, train_masked
from methods.training.masks import kept_share, magnitude_masks, magnitude_pruned, prunable_weights
from methods.training.targets import in_standard_units, to_standard_units

_FINETUNE = "finetune"


class Magnitude:
    """Trains densely, removes the smallest weights of all layers together, and fine-tunes the rest.

    Fine-tuning begins with fresh momentum at the full learning rate; removed weights stay exactly zero.
    """

    name = "magnitude"
    version = 1
    Config = MagnitudeConfig

    def __init__(self, config: MagnitudeConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return (Prerequisite("dense"),) if self.config.start == "dense" else ()

    def check(self, info: TaskInfo) -> None:
        """Every task will do."""

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        finetune_epochs = max(1, round(self.config.finetune_share * task.epochs))
        dense_epochs = task.epochs - finetune_epochs if self.config.start == "own" else 0
        if self.config.start == "own" and dense_epochs == 0:
            raise UnsupportedTask(
                f"magnitude: a budget of {task.epochs} epochs leaves none to train before pruning; "
                "give the task at least 2 epochs and a smaller finetune_share, or set start to 'dense'"
            )
        network, masks = self._pruned(task, given, monitor, dense_epochs)
        total = dense_epochs + finetune_epochs
        masks = train_masked(
            network,
            in_standard_units(task),
            masks,
            config=self.config,
            epochs=finetune_epochs,
            monitor=monitor,
            phase=Phase(
                name=_FINETUNE,
                first_epoch=dense_epochs,
                progress=(dense_epochs / total, 1.0),
                size=kept_share(masks),
            ),
            method=self.name,
        )
        facts = {"start": self.config.start, "dense_epochs": dense_epochs, "finetune_epochs": finetune_epochs}
        return masked_outcome(network, task, masks, label="pruned", config=self.config, epochs=total, facts=facts)

    def _pruned(self, task: Task, given: Given, monitor: Monitor, dense_epochs: int) -> tuple[Network, list[Tensor]]:
        """The network as fine-tuning begins, and the masks of its prunable weights."""
        stored = stored_masks(monitor, phase=_FINETUNE, device=task.device)
        if stored is not None:
            # The weights come with the checkpoint as well; `train_masked` puts them in.
            return task.network(), stored
        if self.config.start == "dense":
            network = to_standard_units(copy.deepcopy(given["dense"]).to(task.device), task)
        else:
            network = train(
                task.network(),
                in_standard_units(task),
                config=self.config,
                epochs=dense_epochs,
                monitor=monitor,
                phase=Phase(
                    name="dense", progress=(0.0, dense_epochs / task.epochs), size=1 - self.config.pruning_rate
                ),
                delivered=lambda network: magnitude_pruned(network, pruning_rate=self.config.pruning_rate),
            )
        return network, magnitude_masks(prunable_weights(network), pruning_rate=self.config.pruning_rate)
