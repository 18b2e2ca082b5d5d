"""A method for tests whose class modules run side by side: units of the dense network, drawn by chance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from pydantic import Field

from methods import registry
from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, Variant
from methods.data.load import load_dataset
from methods.modules.heads import ModuleHeads
from methods.modules.library import ModuleLibrary
from methods.task_spec import TaskSpec
from methods.tasks import TaskData, prepare
from methods.training.config import TrainingConfig
from orchestrator.execution import execute
from orchestrator.runs import Run, RunResult
from orchestrator.store import Store
from orchestrator.work import Work, WorkerSettings
from tests.fakes import a_task

TASK = a_task(epochs=3, validation_share=0.2)


class DecomposedConfig(TrainingConfig):
    heads: bool = True
    kept: float = Field(0.6, ge=0, le=1)


class Decomposed:
    """Trains nothing: the modules of a trained network keep a share of its units, their heads are as drawn."""

    name = "decomposed"
    version = 1
    Config = DecomposedConfig

    def __init__(self, config: DecomposedConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return (Prerequisite("dense"),)

    def check(self, info: TaskInfo) -> None:
        del info

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        del monitor
        network = given["dense"].eval()
        num_classes = len(task.info.class_names)
        draw = torch.Generator().manual_seed(task.seed)
        heads = ModuleHeads(num_classes, num_classes) if self.config.heads else None
        if heads is not None:
            heads.initialise(draw)
        masks = [torch.rand(num_classes, site.units, generator=draw) < self.config.kept for site in network.sites]
        library = ModuleLibrary(
            network,
            task.info.class_names,
            tuple(masks),
            {"kept": self.config.kept},
            heads=heads,
            composition="side_by_side",
        )
        composed = library.compose(task.info.class_names)
        variants = (Variant("source", "whole", network), Variant("composed", "composed", composed))
        return Outcome(variants, epochs=0, library=library)


@contextmanager
def known() -> Iterator[None]:
    """Inside, the method is known under its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._registered, Decomposed.name, Decomposed)
        yield


def digits(task: TaskSpec = TASK) -> TaskData:
    return prepare(task, load_dataset(task.data, test_share=task.test_share))


def run_of(data: TaskData, method: str, *, seed: int = 0, task: TaskSpec = TASK, **config: Any) -> Run:
    return Run(
        task_name="digits", task=task, data_fingerprint=data.fingerprint, method=method, config=config, seed=seed
    )


def trained(store: Store, data: TaskData, *, seed: int = 0, task: TaskSpec = TASK, **config: Any) -> RunResult:
    """The finished run of the method, after the dense one that it needs."""
    for method, fields in (("dense", {}), (Decomposed.name, config)):
        work = Work(run_of(data, method, seed=seed, task=task, **fields))
        result = execute(work, data, WorkerSettings(store.uri), lambda _: False).result
        assert result is not None
    return result
