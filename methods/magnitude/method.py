"""One-shot magnitude pruning: the reference that any sparsifier has to beat at equal epochs."""

from __future__ import annotations

import copy

from torch import Tensor

from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, UnsupportedTask, Variant
from methods.magnitude.config import MagnitudeConfig
from methods.networks.graph import Network
from methods.training.loop import Phase, train
from methods.training.masks import (
    apply_masks,
    emptied_layers,
    kept_share,
    magnitude_masks,
    masked_gradients,
    prunable_weights,
)
from methods.training.targets import in_standard_units, to_raw_units, to_standard_units

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
        kept = kept_share(masks)
        empty = emptied_layers(network, masks)
        if empty:
            monitor.note(f"magnitude: no weight is left in {', '.join(empty)}; a smaller pruning_rate would keep some")
        train(
            network,
            in_standard_units(task),
            config=self.config,
            epochs=finetune_epochs,
            monitor=monitor,
            phase=Phase(
                name=_FINETUNE,
                first_epoch=dense_epochs,
                progress=(dense_epochs / (dense_epochs + finetune_epochs), 1.0),
                size=kept,
            ),
            after_backward=masked_gradients(prunable_weights(network), masks),
            carry={"masks": masks},
        )
        settings = {"pruning_rate": self.config.pruning_rate, "sparsity": 1 - kept}
        facts = {
            "start": self.config.start,
            "dense_epochs": dense_epochs,
            "finetune_epochs": finetune_epochs,
            "sparsity": 1 - kept,
        }
        variant = Variant("pruned", kind="whole", network=to_raw_units(network, task), settings=settings)
        return Outcome(variants=(variant,), epochs=dense_epochs + finetune_epochs, facts=facts)

    def _pruned(self, task: Task, given: Given, monitor: Monitor, dense_epochs: int) -> tuple[Network, list[Tensor]]:
        """The network as fine-tuning begins, and the masks of its prunable weights."""
        stored = monitor.resume()
        if stored is not None and stored["phase"] == _FINETUNE:
            # The weights come with the checkpoint as well; `train` puts them in.
            network = task.network()
            return network, [mask.to(task.device) for mask in stored["carry"]["masks"]]
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
                delivered=self._pruned_copy,
            )
        masks = magnitude_masks(prunable_weights(network), pruning_rate=self.config.pruning_rate)
        apply_masks(prunable_weights(network), masks)
        return network, masks

    def _pruned_copy(self, network: Network) -> Network:
        """What the run would deliver if it had to stop in the dense phase."""
        pruned = copy.deepcopy(network)
        weights = prunable_weights(pruned)
        apply_masks(weights, magnitude_masks(weights, pruning_rate=self.config.pruning_rate))
        return pruned
