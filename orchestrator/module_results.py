"""What is stored of a run's class modules beside the library itself: a card for each, figures for compositions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.sizes import Sizes

COMPOSED_ROW = "@composed"
"""Stands for a run's compositions where a variant's label would stand; no variant can have it for a label."""


class ModuleCard(BaseModel):
    """One class module under the ruler. By itself it tells nothing apart, so its scores are those of its class in the
    composition of all classes, on validation."""

    model_config = ConfigDict(frozen=True)

    class_name: str
    units_kept: float
    """Share of all units over all sites, in [0, 1]."""
    sizes: Sizes
    """Of the one-class network as deployed."""
    precision: float
    recall: float
    f1: float
    kernels_kept: float | None = None
    """Share of the convolution kernels, each layer counted by itself: the kernel retention rate of papers. None where
    there are none, and in results of earlier versions."""


class SubtaskSize(BaseModel):
    """Compositions for sub-tasks of one number of classes: means over subsets of the classes."""

    model_config = ConfigDict(frozen=True)

    num_classes: int
    subsets: int
    """How many were evaluated: all there are, or a sample."""
    accuracy: float
    """On validation samples of the subset's classes, 200 of each at the most, mean over subsets."""
    parameters_ratio: float
    """Parameters as deployed, as a share of the dense network's, mean over subsets; what modules side by side share
    counts once."""
    macs_ratio: float
    """Multiply-accumulates likewise; of modules side by side those of all together."""


class ClassPair(BaseModel):
    """How much two classes of a library hang together, see `methods.modules.dependence`; on validation."""

    model_config = ConfigDict(frozen=True)

    classes: tuple[str, str]
    risk: float
    """The chance that the module of one of them, by itself, scores a sample of the other above one of its own."""
    confusion: float
    """Share of their samples that the whole network takes for the other one."""
    coupling: float
    """Jaccard index of the units that their modules keep."""
    lost: float | None
    """Accuracy on the two that composing their modules loses against the whole network with its other logits cut off;
    None where this pair was not composed."""


class ModulesResult(BaseModel):
    """The class modules of one run."""

    model_config = ConfigDict(frozen=True)

    variant: str
    """Label of the run's variant that the modules share their weights with."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """How units were chosen, e.g. `{"threshold": 0.9}`."""
    composition: Literal["union", "side_by_side"] = "union"
    """How modules are composed, see `methods.modules.library.Composition`."""
    cards: tuple[ModuleCard, ...]
    """In the order of the classes."""
    module_size: float
    """Trainable parameters of a one-class module as a share of the whole network's, mean over classes."""
    module_macs: float
    """Multiply-accumulates likewise."""
    units_kept: float
    """Mean over classes."""
    kernels_kept: float | None = None
    """Mean over classes of `ModuleCard.kernels_kept`."""
    overlap: float
    """Trainable parameters that two modules share, as a share of the whole network's, mean over pairs of classes."""
    coupling: float
    """Jaccard index of the units of two modules, mean over pairs of classes."""
    cohesion: float | None = None
    """Jaccard index of the units of their module that two validation samples of one class fire, mean over pairs, then
    over classes; None where no class has two."""
    united_accuracy: float
    """Of the composition of all classes, on all validation samples."""
    subtasks: tuple[SubtaskSize, ...]
    """Ascending by number of classes; empty where there are fewer than two classes to tell apart."""
    pairs: tuple[ClassPair, ...] = ()
    """The pairs of classes that cutting apart endangers most, riskiest first; empty in results of earlier versions."""
    foretold: float | None = None
    """Rank correlation (Spearman) of the risk of pairs with what composing them lost; None where nothing was lost, or
    fewer than three pairs were composed."""

    @property
    def reuse_accuracy(self) -> float | None:
        """Unweighted mean over the numbers of classes, as in the paper of MODA; None without sub-tasks."""
        if not self.subtasks:
            return None
        return sum(one.accuracy for one in self.subtasks) / len(self.subtasks)

    def ratio(self, measure: str, reference: Sizes) -> float:
        """Mean size of a deployed module as a share of the dense network's; `measure` is a field of `Sizes`."""
        sizes = [float(getattr(card.sizes, measure)) for card in self.cards]
        return sum(sizes) / len(sizes) / float(getattr(reference, measure))
