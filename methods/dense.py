"""The uncompressed network, trained: what every comparison is measured against."""

from __future__ import annotations

from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, Variant
from methods.training.config import TrainingConfig
from methods.training.loop import Phase, train
from methods.training.targets import in_standard_units, to_raw_units


class Dense:
    """Trains the task's network for the whole budget and delivers it as it is."""

    name = "dense"
    version = 1
    Config = TrainingConfig

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return ()

    def check(self, info: TaskInfo) -> None:
        """Every task will do."""

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        del given
        network = train(
            task.network(),
            in_standard_units(task),
            config=self.config,
            epochs=task.epochs,
            monitor=monitor,
            phase=Phase(name="dense"),
        )
        variant = Variant("dense", kind="whole", network=to_raw_units(network, task))
        return Outcome(variants=(variant,), epochs=task.epochs)
