"""MODA: training that gives each class units of its own, so that a network can be cut into class modules.

Source: Ngo, Hassan, Shafiq, Medvidovic, "DNN Modularization via Activation-Driven Training", ICSE 2026, doi
10.1145/3744916.3773190 (arXiv 2411.01074), and its public code (dnn-modularization/MODA). Of the paper itself only
abstract, tables and figures were at hand: formulas are those of the code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.activation_driven import pictures
from methods.activation_driven.config import ActivationDrivenConfig
from methods.activation_driven.modularize import select_units
from methods.activation_driven.observing import Observation, observe, sample_of
from methods.activation_driven.recording import RecordingNetwork, modular_loss
from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, UnsupportedTask, Variant
from methods.figures import Figure
from methods.json_value import Json
from methods.measure import count_parameters
from methods.modules.counting import cut_sizes
from methods.modules.library import ModuleLibrary
from methods.modules.metrics import modularity
from methods.networks.graph import Network
from methods.networks.sites import sites_of
from methods.surgery import extract
from methods.training.loop import Phase, train

_UNIT_CHOICE = ("minimum_share", "spatial_share", "augmented_rates")
_SAMPLE = 1000
"""Training samples on which modules are sized while the network trains."""
_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
"""Drawn beside the configured one."""


class ActivationDriven:
    """Trains with three more losses, then gives each class the units that fire for it.

    No mask, gate or weight is added. Delivered are the network as trained, "whole", the union of all modules, "union",
    which still tells all classes apart, and the library of class modules, from which any of them or any composition is
    cut without training. While it trains, validation accuracy is reported with the mean size of the modules that a
    sample of the training samples would give now.

    The masks of MwT (the predecessor of this method) are not offered.
    """

    name = "activation_driven"
    version = 1
    Config = ActivationDrivenConfig

    def __init__(self, config: ActivationDrivenConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return ()

    def check(self, info: TaskInfo) -> None:
        """Refuse regressions, and networks without any ReLU."""
        if info.kind == "regression":
            raise UnsupportedTask(
                "activation_driven: modules serve classes, and this task is a regression; use hypersparse, magnitude, "
                "odf2nna or scratch"
            )
        if info.num_outputs < 2:
            raise UnsupportedTask(
                "activation_driven: this task has one class, and modules tell classes apart; give it at least two"
            )
        if not sites_of(info.architecture):
            raise UnsupportedTask(
                f"activation_driven: network '{info.network}' has no ReLU, and modules are made of units that ReLUs "
                "switch off; use a network with hidden layers"
            )

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        """See `Method.fit`.

        Raises:
            ValueError: A class has no training sample.
        """
        del given
        _refuse_missing_classes(task)
        epochs = max(1, round(self.config.epochs_share * task.epochs))
        network = self._train(task, monitor, epochs)
        seen = observe(
            network,
            task.train,
            task,
            spatial_share=self.config.spatial_share,
            augmentation=task.augmentation if self.config.augmented_rates else "none",
            seed=task.seed,
        )
        library = ModuleLibrary(
            network, task.info.class_names, tuple(self._masks(seen.rates)), settings=self._settings()
        )
        union = extract(network, library.keep(task.info.class_names))
        variants = (
            Variant("whole", kind="whole", network=network),
            Variant("union", kind="whole", network=union, settings=self._settings()),
        )
        return Outcome(
            variants=variants,
            epochs=epochs,
            facts=self._facts(seen, library),
            figures=self._figures(seen, library, task.info),
            library=library,
        )

    def _train(self, task: Task, monitor: Monitor, epochs: int) -> Network:
        network = task.network()
        config = self.config
        sample = sample_of(task.train, num_classes=task.info.num_outputs, most=_SAMPLE, seed=task.seed)

        def module_size(_: nn.Module) -> float:
            seen = observe(
                network, sample, task, spatial_share=config.spatial_share, augmentation="none", seed=task.seed
            )
            return float(_module_shares(network, self._masks(seen.rates)).mean())

        recording = RecordingNetwork(network, record=max(config.alpha, config.beta, config.gamma) > 0)
        train(
            recording,
            task,
            config=config,
            epochs=epochs,
            monitor=monitor,
            phase=Phase(name="train"),
            size=module_size,
            loss=modular_loss(task, recording, affinity=config.alpha, dispersion=config.beta, compactness=config.gamma),
            reading=recording.logits,
        )
        return network

    def _masks(self, rates: Sequence[Tensor], *, threshold: float | None = None) -> list[Tensor]:
        chosen = self.config.threshold if threshold is None else threshold
        return select_units(rates, threshold=chosen, minimum_share=self.config.minimum_share)

    def _settings(self) -> dict[str, Json]:
        """How units were chosen: the threshold, and the rest where it is not as in the paper's code."""
        changed = self.config.changed()
        others: dict[str, Json] = {name: changed[name] for name in _UNIT_CHOICE if name in changed}
        return {"threshold": self.config.threshold, **others}

    def _facts(self, seen: Observation, library: ModuleLibrary) -> dict[str, Json]:
        shares = _module_shares(library.network, library.masks)
        return {
            "affinity_loss": seen.affinity,
            "dispersion_loss": seen.dispersion,
            "compactness_loss": seen.compactness,
            "module_size": float(shares.mean()),
            "smallest_module": float(shares.min()),
            "largest_module": float(shares.max()),
        }

    def _figures(self, seen: Observation, library: ModuleLibrary, info: TaskInfo) -> tuple[Figure, ...]:
        sizes = {}
        for threshold in sorted({*_THRESHOLDS, self.config.threshold}):
            masks = self._masks(seen.rates, threshold=threshold)
            union = [mask_KU.any(dim=0, keepdim=True) for mask_KU in masks]
            everything = torch.ones(1, info.num_outputs, dtype=torch.bool)
            sizes[threshold] = (
                float(_module_shares(library.network, masks).mean()),
                float(_shares(library.network, union, everything)),
            )
        return pictures.figures(
            seen.rates, modularity(library).overlap, sizes, sites=library.network.sites, class_names=info.class_names
        )


def _refuse_missing_classes(task: Task) -> None:
    counts = torch.bincount(task.train.targets, minlength=task.info.num_outputs).tolist()
    missing = [f"'{name}'" for name, count in zip(task.info.class_names, counts, strict=True) if not count]
    if missing:
        raise ValueError(
            f"activation_driven: task {task.info.name}: class {', '.join(missing)} has no training sample, so no unit "
            "can be found for it; add samples, or leave the class out of the data"
        )


def _module_shares(network: Network, masks: Sequence[Tensor]) -> Tensor:
    """Parameters of each one-class module as a share of the whole network's, float64 (K,)."""
    return _shares(network, masks, torch.eye(len(masks[0]), dtype=torch.bool))


def _shares(network: Network, masks: Sequence[Tensor], outputs_SK: Tensor) -> Tensor:
    return cut_sizes(network.architecture, masks, outputs_SK).parameters.double() / count_parameters(network)
