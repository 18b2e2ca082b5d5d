"""GradSplitter: decomposes a trained CNN into one module per class by kernel masks learned along gradients.

Source: Qi, Sun, Zhang, Gao, "Reusing Convolutional Neural Network Models through Modularization and Composition", ACM
TOSEM 2023, arXiv 2311.04438, and its public code (qibinhang/GradSplitter). Of the paper itself only the abstract was at
hand: behaviour is that of the code.
"""

from __future__ import annotations

from methods.cnn_decomposition import pictures
from methods.cnn_decomposition.decomposed import decomposed_outcome
from methods.cnn_decomposition.gradsplitter import CYCLE_EPOCHS, CYCLES, Epoch, cycles_within, schedule
from methods.cnn_decomposition.gradsplitter_config import GradSplitterConfig
from methods.cnn_decomposition.requirements import check_task, require_every_class, source_network, source_prerequisite
from methods.cnn_decomposition.splitting import split_network
from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, UnsupportedTask


class GradSplitter:
    """Learns, over a network that is not touched, which kernels the module of each class keeps, and a head for each.

    Delivered are the trained network, "source", all modules side by side, "composed", and the library of modules. While
    it learns, the accuracy and the mean module size of the epoch that would be delivered now are reported.
    """

    name = "gradsplitter"
    version = 1
    Config = GradSplitterConfig

    def __init__(self, config: GradSplitterConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return (source_prerequisite(self.config),)

    def check(self, info: TaskInfo) -> None:
        """Refuse regressions, single classes, networks without convolutions, and too few epochs."""
        check_task(info, method=self.name)
        self._schedule(info.epochs)

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        """See `Method.fit`.

        Raises:
            UnsupportedTask: The cycles do not fit the task's epochs.
            ValueError: A class has no training or no validation sample.
        """
        epochs = self._schedule(task.epochs)
        require_every_class(task, method=self.name)
        source = source_network(given, task)
        found = split_network(source, task, config=self.config, epochs=epochs, monitor=monitor)
        history = found.history
        return decomposed_outcome(
            source,
            task.info,
            found.kept,
            heads=found.heads,
            reference=found.reference,
            accuracy=history.accuracies[found.epoch],
            epochs=len(epochs),
            facts={"selected_epoch": found.epoch, "epochs_by_schedule": len(epochs)},
            settings={"size_weight": self.config.size_weight, "objective": self.config.objective},
            figures=(
                pictures.accuracy_by_retention(
                    history.retentions,
                    history.accuracies,
                    selected=found.epoch,
                    reference=found.reference,
                    step="epoch",
                ),
            ),
        )

    def _schedule(self, budget: int) -> list[Epoch]:
        config = self.config
        room = cycles_within(budget, head_epochs=config.head_epochs)
        cycles = config.cycles or min(CYCLES, room)
        if not 0 < cycles <= room:
            needed = config.head_epochs + CYCLE_EPOCHS * max(1, cycles)
            mend = f"set cycles to at most {room} or" if room else "lower head_epochs or"
            raise UnsupportedTask(
                f"gradsplitter: {config.head_epochs} epochs of heads and {max(1, cycles)} cycle(s) of {CYCLE_EPOCHS} "
                f"take {needed} epochs, and the task has {budget}; {mend} give the task at least {needed} epochs"
            )
        return schedule(
            config.head_epochs,
            cycles,
            head_learning_rate=config.head_learning_rate,
            learning_rate=config.learning_rate,
            size_weight=config.size_weight,
        )
