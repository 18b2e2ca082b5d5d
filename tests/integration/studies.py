"""A study that takes seconds and uses every real part, and methods that go wrong on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field

from methods.config import MethodConfig, Range
from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, TrainingDiverged, Variant
from orchestrator.spec import Study
from orchestrator.spec.study_file import parse_study

TEXT = """
study: {name}
question: Does a small study run end to end?
tasks:
  digits: {{data: digits, network: small_cnn, epochs: 6, fraction: 0.25, validation_share: 0.2}}
methods:
  dense: {{search: none}}
  magnitude: {{search: {{pruning_rate: [0.8, 0.95]}}}}
  hypersparse: {{search: {{pruning_rate: [0.8, 0.95]}}}}
{more_methods}
seeds: [0, 1]
search: {{trials: 3, confirm: 2, early_stopping: none}}
executor: {executor}
tracking: {tracking}
store: {store}
"""


def study_text(store: Path, *, name: str, executor: str, tracking: str, more_methods: str = "") -> str:
    return TEXT.format(name=name, executor=executor, tracking=tracking, store=store, more_methods=more_methods)


def small_study(
    store: Path, *, name: str = "small", executor: str = "inline", tracking: str = "none", more_methods: str = ""
) -> Study:
    text = study_text(store, name=name, executor=executor, tracking=tracking, more_methods=more_methods)
    return parse_study(text, file=f"{name}.yaml")


class TroubleConfig(MethodConfig):
    level: Annotated[float, Field(ge=0, le=1), Range(0.0, 1.0)] = 0.5


class _Trouble:
    version = 1
    Config = TroubleConfig

    def __init__(self, config: Any) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return ()

    def check(self, info: TaskInfo) -> None:
        del info


class Raises(_Trouble):
    """A method with a fault of its own."""

    name = "raises"

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        del task, given, monitor
        raise KeyError("a fault in the method's code")


class Diverges(_Trouble):
    """A method whose training blows up."""

    name = "diverges"

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        del task, given, monitor
        raise TrainingDiverged("epoch 2: the loss became nan")


class NotFinite(_Trouble):
    """A method that delivers a network of NaNs without noticing."""

    name = "not_finite"

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        del given, monitor
        network = task.network()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(float("nan"))
        return Outcome(variants=(Variant("nan", kind="whole", network=network),), epochs=0)
