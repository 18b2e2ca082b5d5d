"""The uncompressed network, trained: what every comparison is measured against."""

from __future__ import annotations

from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, Variant
from methods.training.config import DenseConfig
from methods.training.loop import Phase, spent_epochs, train
from methods.training.targets import in_standard_units, to_raw_units


class Dense:
    """Trains the task's network, for the whole budget unless told, and delivers it as it is."""

    name = "dense"
    version = 1
    Config = DenseConfig

    def __init__(self, config: DenseConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return ()

    def check(self, info: TaskInfo) -> None:
        """Every task will do."""

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        del given
        epochs = spent_epochs(self.config, task, method=self.name)
        network = train(
            task.network(),
            in_standard_units(task),
            config=self.config,
            epochs=epochs,
            monitor=monitor,
            phase=Phase(name="dense"),
        )
        variant = Variant("dense", kind="whole", network=to_raw_units(network, task))
        return Outcome(variants=(variant,), epochs=epochs)
