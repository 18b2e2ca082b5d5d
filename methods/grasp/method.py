"""GraSP: pruning before training that preserves the flow of gradients.

Source: Wang, Zhang, Grosse, "Picking Winning Tickets before Training by Preserving Gradient Flow", ICLR 2020, and its
public code (alecwangcq/GraSP).
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn

from methods.contract import Given, Monitor, Outcome, Prerequisite, Split, Task, TaskInfo
from methods.grasp.config import GraspConfig
from methods.grasp.gradient_flow import removal_scores
from methods.networks.dropout import switch_off_dropout
from methods.networks.graph import Network
from methods.training.masked import fit_masked
from methods.training.masks import prunable_weights, score_masks
from methods.training.scoring import balanced_samples, random_samples, scoring_loss

_REGRESSION_CLASSES = 10
"""A regression is scored on as many samples as a classification of ten classes."""


class Grasp:
    """Removes the weights of the untrained network whose loss hurts the flow of gradients least, and trains the rest.

    As in the authors' code the samples are scored in two halves, with batch normalisation in training mode; dropout,
    which none of their networks has, is off.
    [ours] The halves are random, where theirs hold half of the classes each; samples are not augmented; exactly
    n - floor(pruning_rate * n) weights stay, where theirs keep one more.
    """

    name = "grasp"
    version = 1
    Config = GraspConfig

    def __init__(self, config: GraspConfig) -> None:
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
        samples = self._samples(task, generator)
        scored = copy.deepcopy(network).train()
        switch_off_dropout(scored)
        if self.config.fresh_classifier:
            _draw_classifier(scored, generator)
        temperature = self.config.temperature if task.info.kind == "classification" else 1.0
        losses = [partial(scoring_loss, scored, half, task, temperature=temperature) for half in _halves(samples)]
        scores = removal_scores(losses, prunable_weights(scored))
        return score_masks([-score for score in scores], pruning_rate=self.config.pruning_rate)

    def _samples(self, task: Task, generator: torch.Generator) -> Split:
        per_class = self.config.samples_per_class
        if task.info.kind == "regression":
            return random_samples(task.train, count=per_class * _REGRESSION_CLASSES, generator=generator)
        return balanced_samples(task.train, per_class=per_class, generator=generator)


def _halves(samples: Split) -> list[Split]:
    """Two halves; one where they would be single samples, from which batch normalisation cannot learn."""
    middle = len(samples) // 2
    if middle < 2:
        return [samples]
    return [
        Split(samples.inputs[:middle], samples.targets[:middle]),
        Split(samples.inputs[middle:], samples.targets[middle:]),
    ]


@torch.no_grad()
def _draw_classifier(network: Network, generator: torch.Generator) -> None:
    """Give the last layer weights of Xavier's normal distribution, in place."""
    weight = network.nodes[network.architecture.nodes[-1].name].get_parameter("weight")
    drawn = torch.empty(weight.shape, dtype=weight.dtype)
    weight.copy_(nn.init.xavier_normal_(drawn, generator=generator))
