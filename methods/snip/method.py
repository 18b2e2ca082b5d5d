"""SNIP: pruning before training by connection sensitivity.

Source: Lee, Ajanthan, Torr, "SNIP: Single-shot Network Pruning based on Connection Sensitivity", ICLR 2019, and its
public code (namhoonlee/snip-public).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo
from methods.networks.dropout import switch_off_dropout
from methods.networks.graph import Network
from methods.snip.config import SnipConfig
from methods.snip.sensitivity import connection_sensitivity
from methods.training.masked import fit_masked
from methods.training.masks import prunable_weights, score_masks
from methods.training.scoring import random_samples, scoring_loss


class Snip:
    """Keeps the weights of the untrained network to which the loss is most sensitive, and trains them.

    [ours] Only weights are pruned, where the authors' code prunes biases as well. Batch normalisation works in training
    mode while sensitivities are measured; in the authors' code it is the identity then, under which the activations
    of a residual network grow with its depth. Dropout is off then. Initial weights are the task's own.
    """

    name = "snip"
    version = 1
    Config = SnipConfig

    def __init__(self, config: SnipConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return ()

    def check(self, info: TaskInfo) -> None:
        """Every task will do."""

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        del given
        return fit_masked(task, choose=self._masks, config=self.config, monitor=monitor, method=self.name)

    def _masks(self, network: Network, task: Task) -> list[Tensor]:
        """The weights to keep. Scored is a copy, for the statistics of batch normalisation move with it."""
        generator = torch.Generator().manual_seed(task.seed)
        samples = random_samples(task.train, count=self.config.samples, generator=generator)
        scored = copy.deepcopy(network).train()
        switch_off_dropout(scored)
        sensitivity = connection_sensitivity(scoring_loss(scored, samples, task), prunable_weights(scored))
        return score_masks(sensitivity, pruning_rate=self.config.pruning_rate)
