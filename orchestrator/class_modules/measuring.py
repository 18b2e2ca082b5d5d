"""How right a composition across runs is, and what each run's own modules reach on the same samples.

Shapes: N = samples, K = classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from methods.contract import Normalization, Split
from methods.measure import predict
from methods.measure.quality import Quality, classification_quality
from methods.networks.graph import Network
from orchestrator.class_modules.composing import as_deployed
from orchestrator.class_modules.judging import Judging
from orchestrator.class_modules.sources import SourceRun


@dataclass(frozen=True)
class Measured:
    """Figures of a composition on validation samples of its classes."""

    accuracy: float | None = None
    """None for one class, or where samples are not at hand."""
    num_samples: int = 0
    measured_on: str = ""
    """Whose samples these are; empty where it was not measured."""
    not_measured: str = ""
    """Why there are no figures; empty where there are."""
    values: Mapping[str, float] = field(default_factory=dict)
    """As `Quality.values`."""
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    single_runs: Mapping[str, float] = field(default_factory=dict)
    """Run key -> accuracy, on the same samples, of that run's own modules of these classes; empty where some run does
    not know them all."""


def measured(
    network: Network,
    names: Sequence[str],
    judging: Judging,
    *,
    normalization: Normalization,
    sources: Sequence[SourceRun],
) -> Measured:
    """Measure a composition and, where all runs know all of its classes, those that it competes with.

    Args:
        network: As deployed; score j is that of `names[j]`.
        names: The classes that the targets of `judging` number.
        normalization: Of the network's inputs.
        sources: All runs that modules were chosen from.
    """
    found = _quality(_scores(network, judging.split, normalization), judging.split.targets, names)
    comparable = all(source.knows(name) for source in sources for name in names)
    return Measured(
        accuracy=found.values["accuracy"],
        num_samples=len(judging.split),
        measured_on=judging.told,
        values=found.values,
        per_class=found.per_class,
        single_runs={source.key: _accuracy_alone(source, names, judging.split) for source in sources}
        if comparable
        else {},
    )


def _accuracy_alone(source: SourceRun, names: Sequence[str], split: Split) -> float:
    """Of the run's own modules of these classes, deployed as the composition across runs is."""
    library = source.library
    ascending = library.indices(names)
    network = as_deployed(library.compose(names), source.normalization).network
    columns = [ascending.index(library.class_names.index(name)) for name in names]
    scores = _scores(network, split, source.normalization)[:, columns]
    return _quality(scores, split.targets, names).values["accuracy"]


def _scores(network: Network, split: Split, normalization: Normalization) -> Tensor:
    return predict(network, split, normalization=normalization, device="cpu")


def _quality(scores_NK: Tensor, targets_N: Tensor, names: Sequence[str]) -> Quality:
    return classification_quality(scores_NK.argmax(dim=1), targets_N, class_names=names)
