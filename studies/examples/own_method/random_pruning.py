"""Random pruning at initialisation: what every criterion for choosing weights has to beat."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from methods.config import Range
from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo
from methods.networks.graph import Network
from methods.training.config import PruningConfig
from methods.training.masked import fit_masked
from methods.training.masks import prunable_weights


class RandomPruningConfig(PruningConfig):
    pruning_rate: Annotated[float, Field(gt=0, lt=1), Range(0.3, 0.95)] = 0.5
    """Share of the weights that go; a study may fix it, or search within the range."""


class RandomPruning:
    """Keeps weights drawn by chance before training, in every layer the same share, and trains these alone."""

    name = "random_pruning"
    version = 1  # part of every run's key: raise it when the same settings would give other weights
    Config = RandomPruningConfig

    def __init__(self, config: RandomPruningConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return ()  # with (Prerequisite("dense"),) `given["dense"]` is the trained network of task and seed

    def check(self, info: TaskInfo) -> None:
        """Every task will do; others raise UnsupportedTask here, saying what is missing."""

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        del given

        def choose(network: Network, task: Task) -> list[Tensor]:
            draw = torch.Generator().manual_seed(task.seed)  # equal seeds, equal weights
            return [
                (torch.rand(weight.shape, generator=draw) >= self.config.pruning_rate).to(weight.device)
                for weight in prunable_weights(network)
            ]

        # Trains, reports to the search, checkpoints, and delivers the network with its zeros: see methods/snip.
        return fit_masked(task, choose=choose, config=self.config, monitor=monitor, method=self.name)
