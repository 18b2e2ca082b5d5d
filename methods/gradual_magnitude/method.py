"""Gradual magnitude pruning: the small weights go little by little while the others train on.

Source: Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017,
arXiv 1710.01878.
"""

from __future__ import annotations

import torch

from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo
from methods.gradual_magnitude.config import GradualMagnitudeConfig
from methods.gradual_magnitude.ramp import pruning_steps
from methods.training.batches import num_batches
from methods.training.loop import Phase
from methods.training.masked import MaskedWeights, masked_outcome, stored_masks, train_masked
from methods.training.masks import magnitude_masks, magnitude_pruned, prunable_weights, prune_rank
from methods.training.targets import in_standard_units

_PHASE = "gradual"


class GradualMagnitude:
    """Trains by one schedule, dense at first; then more and more weights become zero; the last part is fine-tuning.

    A removed weight gets no more updates and is the smallest in every later choice, so it never comes back, as in the
    paper. [ours] The threshold is one for all layers together, where the paper prunes each layer to the same sparsity.
    """

    name = "gradual_magnitude"
    version = 1
    Config = GradualMagnitudeConfig

    def __init__(self, config: GradualMagnitudeConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return ()

    def check(self, info: TaskInfo) -> None:
        """Every task will do."""

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        del given
        config = self.config
        sparsities = pruning_steps(
            task.epochs * num_batches(len(task.train), batch_size=task.batch_size),
            begin_share=config.begin_share,
            end_share=config.end_share,
            updates=config.updates,
            pruning_rate=config.pruning_rate,
        )

        def update(live: MaskedWeights) -> None:
            if live.step in sparsities:
                live.change(magnitude_masks(live.weights, pruning_rate=sparsities[live.step]))

        network = task.network()
        weights = prunable_weights(network)
        masks = stored_masks(monitor, phase=_PHASE, device=task.device)
        if masks is None:
            masks = [torch.ones_like(weight, dtype=torch.bool) for weight in weights]
        num_weights = sum(weight.numel() for weight in weights)
        masks = train_masked(
            network,
            in_standard_units(task),
            masks,
            config=config,
            epochs=task.epochs,
            monitor=monitor,
            # Those that `magnitude_masks` will leave, whatever lives now.
            phase=Phase(name=_PHASE, size=1 - (prune_rank(num_weights, config.pruning_rate) + 1) / num_weights),
            method=self.name,
            update=update,
            delivered=lambda network: magnitude_pruned(network, pruning_rate=config.pruning_rate),
        )
        facts = {"updates": len(sparsities), "first_update_step": min(sparsities), "last_update_step": max(sparsities)}
        return masked_outcome(network, task, masks, label="pruned", config=config, epochs=task.epochs, facts=facts)
