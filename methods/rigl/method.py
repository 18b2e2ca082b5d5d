"""RigL: sparse training from first to last, with weights that move to where the gradients are large.

Source: Evci, Gale, Menick, Castro, Elsen, "Rigging the Lottery: Making All Tickets Winners", ICML 2020, arXiv
1911.11134, and its public code (google-research/rigl).
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo
from methods.networks.graph import Network
from methods.rigl.config import RigLConfig
from methods.rigl.rewiring import rewire
from methods.rigl.schedule import UpdateSchedule, plan_updates
from methods.training.batches import num_batches
from methods.training.densities import kept_weights
from methods.training.masked import MaskedWeights, fit_masked
from methods.training.masks import prunable_weights, prune_rank, random_masks


class RigL:
    """Starts from a random sparse network with Erdos-Renyi-Kernel densities and rewires each layer every few steps.

    An update drops a layer's smallest living weights and grows as many where the gradient is largest; what grows starts
    at zero without momentum. As in the paper no weight moves in such a step. Each layer keeps its number of weights.
    """

    name = "rigl"
    version = 1
    Config = RigLConfig

    def __init__(self, config: RigLConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return ()

    def check(self, info: TaskInfo) -> None:
        """Every task will do."""

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        del given
        schedule = plan_updates(
            task.epochs * num_batches(len(task.train), batch_size=task.batch_size),
            update_interval=self.config.update_interval,
            end_share=self.config.end_share,
            drop_fraction=self.config.drop_fraction,
        )

        def choose(network: Network, task: Task) -> list[Tensor]:
            weights = prunable_weights(network)
            generator = torch.Generator().manual_seed(task.seed)
            return random_masks(weights, kept=self._living(weights), generator=generator)

        def update(live: MaskedWeights) -> None:
            if schedule.is_due(live.step):
                self._rewire(live, schedule)

        return fit_masked(
            task,
            choose=choose,
            config=self.config,
            monitor=monitor,
            method=self.name,
            update=update,
            facts={"updates": schedule.count, "update_interval": schedule.interval},
        )

    def _living(self, weights: list[Tensor]) -> list[int]:
        """Weights that each layer keeps from first to last; n - floor(pruning_rate * n) in all."""
        num_weights = sum(weight.numel() for weight in weights)
        total = num_weights - prune_rank(num_weights, self.config.pruning_rate)
        return kept_weights([weight.shape for weight in weights], total=total)

    def _rewire(self, live: MaskedWeights, schedule: UpdateSchedule) -> None:
        share = schedule.replaced_share(live.step)
        masks = []
        for weight, mask, living in zip(live.weights, live.masks, self._living(live.weights), strict=True):
            gradient = weight.grad
            assert gradient is not None, "an update comes after the backward pass"
            masks.append(rewire(weight, gradient, mask, living=living, replaced=int(share * living)))
        live.change(masks)
        live.rest()
