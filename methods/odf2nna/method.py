"""ODF2NNA: optimising dense feed-forward networks by dropping units and keeping their neighbours' weights.

Source: Balderas, Lastra, Benitez, "Optimizing Dense Feed-Forward Neural Networks", Neural Networks 2024,
arXiv 2312.10560. Only its abstract and short summaries were at hand: three steps, units judged by the variability of
their output against a tolerance epsilon, learned weights reused, light retraining. All figures below that (statistic,
scale, grid, budget, selection) are [design], ours; no number of ours is the paper's.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, UnsupportedTask, Variant
from methods.networks.dense_head import find_head
from methods.networks.graph import Network
from methods.odf2nna import usefulness_report
from methods.odf2nna.config import Odf2nnaConfig
from methods.odf2nna.refining import Refinement, refine
from methods.training.config import TrainingConfig
from methods.training.loop import Phase, train
from methods.training.targets import in_standard_units, to_raw_units, to_standard_units
from methods.training.together import train_together

_RETRAIN = "retrain"


class Odf2nna:
    """Trains a wide network, drops hidden units of its dense head that respond too little, retrains what is left.

    Scores are computed in one pass over the training samples, every tolerance of a grid is screened on validation
    without building a network, and only the front of score against size is retrained, all members at once. They are
    delivered smallest first; the run's headline picks the one to deploy.

    Of a convolutional network the dense head is cut and everything is retrained. With `transfer: none` and with other
    `units` it is its own control.

    While the original trains it is reported as it is, at size 1: what a cut is worth shows after retraining only, so
    that until then early stopping compares originals by their scores alone.
    """

    name = "odf2nna"
    version = 1
    Config = Odf2nnaConfig

    def __init__(self, config: Odf2nnaConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        if self.config.start == "own":
            return ()
        recipe = {name: getattr(self.config, name) for name in TrainingConfig.model_fields}
        return (Prerequisite("dense", TrainingConfig(**recipe).changed()),)

    def check(self, info: TaskInfo) -> None:
        """Refuse networks that have no hidden linear layer before their output, and balancing without classes."""
        if find_head(info.architecture) is None:
            raise UnsupportedTask(
                f"odf2nna: network '{info.network}' has no hidden dense layer to cut; use one that ends in linear "
                "layers with ReLUs between (mlp, small_cnn), or a method for any network: hypersparse, magnitude, "
                "scratch"
            )
        if self.config.balance_classes and info.kind == "regression":
            raise UnsupportedTask("odf2nna: balance_classes needs classes, and this task is a regression; leave it out")

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        """See `Method.fit`.

        Raises:
            UnsupportedTask: The budget leaves no epoch to train before cutting.
        """
        original_epochs, retrain_epochs = self._budget(task)
        scaled = in_standard_units(task)
        original = self._original(task, given, monitor, original_epochs)
        found = refine(original, scaled, self.config, note=monitor.note)
        variants = _variants(found, task, "cut") if self.config.stages else []
        total = original_epochs + retrain_epochs
        train_together(
            found.networks,
            scaled,
            config=self.config,
            epochs=retrain_epochs,
            monitor=monitor,
            phase=Phase(
                name=_RETRAIN,
                first_epoch=original_epochs,
                progress=(original_epochs / total, 1.0),
                size=min(1.0, _count(found.networks[-1]) / found.total_parameters),
            ),
            carry={"original": original.state_dict()} if self.config.start == "own" else None,
        )
        variants += _variants(found, task, "refined")
        facts = {
            "start": self.config.start,
            "original_epochs": original_epochs,
            "retrain_epochs": retrain_epochs,
            "networks_retrained": len(found.networks),
            **usefulness_report.facts(found),
        }
        return Outcome(
            variants=tuple(variants),
            epochs=original_epochs + retrain_epochs,
            facts=facts,
            figures=usefulness_report.figures(found, task.info),
        )

    def _budget(self, task: Task) -> tuple[int, int]:
        """Epochs of the original and of retraining."""
        retrain = max(1, round(self.config.retrain_share * task.epochs))
        if self.config.scratch_epochs == "full":
            return 0, task.epochs + retrain
        if self.config.start == "dense":
            return 0, retrain
        if retrain >= task.epochs:
            raise UnsupportedTask(
                f"odf2nna: a budget of {task.epochs} epochs leaves none to train before cutting; give the task at "
                "least 2 epochs and a smaller retrain_share, or set start to 'dense'"
            )
        return task.epochs - retrain, retrain

    def _original(self, task: Task, given: Given, monitor: Monitor, epochs: int) -> Network:
        """The trained wide network in standard units."""
        if self.config.start == "dense":
            return to_standard_units(copy.deepcopy(given["dense"]).to(task.device), task)
        network = task.network()
        stored: Mapping[str, Any] | None = monitor.resume()
        if stored is not None and stored["phase"] == _RETRAIN:
            network.load_state_dict(stored["carry"]["original"])
            # As training left it: convolutions round otherwise in another layout, and scores are computed anew.
            laid_out: Network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            return laid_out
        share = epochs / task.epochs
        phase = Phase(name="original", progress=(0.0, share))
        return train(network, in_standard_units(task), config=self.config, epochs=epochs, monitor=monitor, phase=phase)


def _variants(found: Refinement, task: Task, stage: str) -> list[Variant]:
    """One for each network, in raw units; copies, as training goes on in place."""
    variants = []
    for rank, (cut, network) in enumerate(zip(found.chosen, found.networks, strict=True), start=1):
        # Of the network, and not of the cut: layers may have been merged since.
        head = find_head(network.architecture)
        settings = {
            "epsilon": cut.epsilon,
            "widths": list(head.widths[1:-1]) if head else [],
            "keep_share": _count(network) / found.total_parameters,
        }
        label = f"{stage}-{rank}" if found.from_grid else stage
        delivered = to_raw_units(copy.deepcopy(network), task)
        variants.append(Variant(label, kind="whole", network=delivered, settings=settings))
    return variants


def _count(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
