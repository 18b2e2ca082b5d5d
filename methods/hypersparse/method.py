"""HyperSparse: pruning by Adaptive Regularized Training (ART).

Source: Glandorf, Kaiser, Rosenhahn, "HyperSparse Neural Networks: Shifting Exploration to Exploitation through Adaptive
Regularization", ICCV workshops 2023, arXiv 2308.07163, and its public code (GreenAutoML4FAS/HyperSparse).
"""

from __future__ import annotations

from torch import Tensor

from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, Variant
from methods.hypersparse.budget import Phases, plan_phases
from methods.hypersparse.config import HyperSparseConfig
from methods.hypersparse.diagnostics import RampRecord, ramp_figures
from methods.hypersparse.exploration import Chosen, Exploration
from methods.networks.graph import Network
from methods.training.loop import Phase, train
from methods.training.masks import kept_share, masked_gradients, prunable_weights
from methods.training.targets import in_standard_units, to_raw_units

_FINETUNE = "finetune"


class HyperSparse:
    """Trains densely, squeezes small weights until cutting them is harmless, then fine-tunes the survivors.

    Three phases: warm-up; a ramp in which the penalty grows each epoch and ends when the pruned network is as accurate
    as the dense one; fine-tuning with fresh momentum and a frozen mask. Removed weights are exact zeros in the one
    variant, "sparse". The paper's 285 epochs are scaled to the task's budget, total pull included: see `budget.py`,
    which is ours.

    Guards that the authors' code lacks: the ramp has a limit; the penalty pauses when tau = 0; a pruning rate outside
    [0, 1) is refused. What counts is the last epoch, where the authors print the best one on the test set.
    """

    name = "hypersparse"
    version = 1
    Config = HyperSparseConfig

    def __init__(self, config: HyperSparseConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return ()

    def check(self, info: TaskInfo) -> None:
        """Every task will do; a budget too small for the schedule is refused by `fit`."""

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        """See `Method.fit`.

        Raises:
            ValueError: The task's epochs leave no room for the ramp; the message says what to change.
        """
        del given
        phases = self._phases(task)
        scaled = in_standard_units(task)
        chosen = self._explore(scaled, monitor, phases)
        ramp_epochs = int(chosen.facts["regularised_epochs"])
        dense_epochs, finetune_epochs = phases.warmup + ramp_epochs, phases.finetune_after(ramp_epochs)
        total = dense_epochs + finetune_epochs
        kept = kept_share(chosen.masks)
        network = train(
            chosen.network,
            scaled,
            config=self.config.model_copy(update={"milestones": self.config.finetune_milestones}),
            epochs=finetune_epochs,
            monitor=monitor,
            phase=Phase(name=_FINETUNE, first_epoch=dense_epochs, progress=(dense_epochs / total, 1.0), size=kept),
            after_backward=masked_gradients(prunable_weights(chosen.network), chosen.masks),
            carry={"masks": chosen.masks, "facts": chosen.facts, "record": chosen.record.state()},
        )
        facts = {
            "warmup_epochs": phases.warmup,
            **chosen.facts,
            "finetune_epochs": finetune_epochs,
            "total_epochs": total,
            "prunable_weights": _count(chosen.masks),
            "kept_weights": round(kept * _count(chosen.masks)),
            "sparsity": 1 - kept,
        }
        settings = {"penalty": self.config.penalty, "pruning_rate": self.config.pruning_rate, "sparsity": 1 - kept}
        variant = Variant("sparse", kind="whole", network=to_raw_units(network, task), settings=settings)
        figures = ramp_figures(chosen.record, metric="accuracy" if task.info.kind == "classification" else "R2")
        return Outcome(variants=(variant,), epochs=total, facts=facts, figures=figures)

    def _phases(self, task: Task) -> Phases:
        config = self.config
        return plan_phases(
            task.epochs,
            warmup_epochs=config.warmup_epochs,
            finetune_epochs=config.finetune_epochs,
            cap_epochs=config.cap_epochs,
            window=config.window,
        )

    def _explore(self, task: Task, monitor: Monitor, phases: Phases) -> Chosen:
        """The pruned network as fine-tuning begins, from a checkpoint if that is how far an earlier attempt came."""
        stored = monitor.resume()
        if stored is not None and stored["phase"] == _FINETUNE:
            network: Network = task.network()
            masks = [mask.to(task.device) for mask in stored["carry"]["masks"]]
            record = RampRecord.from_state(stored["carry"]["record"])
            return Chosen(network, masks, dict(stored["carry"]["facts"]), record)
        return Exploration(self.config, task, monitor, phases).run(stored)


def _count(masks: list[Tensor]) -> int:
    return sum(mask.numel() for mask in masks)
