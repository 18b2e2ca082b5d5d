"""What class modules are worth under the ruler: each module deployed and written, every composition on samples.

Shapes: N = samples, K = classes, S = subsets of the classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from methods.contract import Split, Task
from methods.measure.grade import deployed_sizes
from methods.measure.predict import predict
from methods.measure.quality import Quality, classification_quality, quality
from methods.measure.subtasks import SUBTASK_SAMPLES, first_of_each, graded_subsets, restricted_accuracies
from methods.modules.activity import active_units
from methods.modules.counting import composition_sizes
from methods.modules.dependence import Dependence, dependence
from methods.modules.evaluation import composed_accuracies
from methods.modules.library import ModuleLibrary
from methods.modules.metrics import Modularity, cohesion, modularity
from methods.modules.side_by_side import as_network
from methods.networks.folding import fold_batch_norm
from methods.networks.graph import Network

_COHESION_SAMPLES = 100
"""Of each class: pairs grow with the square."""


@dataclass(frozen=True)
class SubtaskGrades:
    """Compositions for many subsets of the classes, ascending by number of classes."""

    subsets: Tensor
    """Bool (S, K)."""
    accuracy: Tensor
    """float64 (S,): on validation samples of the subset's classes, `SUBTASK_SAMPLES` of each at the most; not a number
    where there is none."""
    whole_accuracy: Tensor
    """float64 (S,): of the whole network with its other logits cut off, on the same samples."""
    parameters: Tensor
    """int64 (S,): of the network as deployed, batch normalisation folded in; the few units that then turn out to be
    dead are still counted."""
    macs: Tensor
    """int64 (S,): multiply-accumulates likewise."""


@dataclass(frozen=True)
class LibraryGrades:
    """All figures of one library."""

    modularity: Modularity
    cohesion: float | None
    """Of validation samples, mean over classes; None where no class has two of them."""
    dependence: Dependence
    """Of each two classes, on the samples that compositions are evaluated on."""
    deployed: tuple[Mapping[str, int], ...]
    """`parameters`, `nonzeros`, `stored_bytes`, `macs` of each one-class module through the ruler's export."""
    united: Quality
    """Of the composition of all classes, on validation."""
    subtasks: SubtaskGrades


def grade_library(library: ModuleLibrary, task: Task) -> LibraryGrades:
    """Cut, deploy and write every module, and evaluate compositions on the task's validation split.

    Compositions are evaluated by masking, which computes what cut networks do up to rounding; weights are the trained
    ones, not yet rounded to the artefact's float16.

    Args:
        library: Its network lies on the task's device.
    """
    names = library.class_names
    subsets_SK = graded_subsets(len(names))
    # The samples on which whole networks are graded too, so that the two can be compared.
    samples = _part_of(task.validation, library, most=SUBTASK_SAMPLES)
    sizes = composition_sizes(replace(library, network=fold_batch_norm(library.network)), subsets_SK)
    whole_NK = predict(library.network, samples, normalization=task.normalization, device=task.device)
    shared = modularity(library)
    return LibraryGrades(
        modularity=shared,
        cohesion=_cohesion(library, task),
        dependence=dependence(
            library,
            samples,
            whole_NK=whole_NK,
            coupling_KK=shared.coupling,
            normalization=task.normalization,
            device=task.device,
        ),
        deployed=tuple(deployed_sizes(library.compose([name])) for name in names),
        united=quality(as_network(library.compose(names)), task.validation, task),
        subtasks=SubtaskGrades(
            subsets=subsets_SK,
            accuracy=subtask_accuracies(library, subsets_SK, samples, task),
            whole_accuracy=restricted_accuracies(whole_NK, samples.targets, subsets_SK).cpu(),
            parameters=sizes.parameters,
            macs=sizes.macs,
        ),
    )


def _cohesion(library: ModuleLibrary, task: Task) -> float | None:
    part = _part_of(task.validation, library, most=_COHESION_SAMPLES)
    # Units fire here as they did when they were chosen.
    share = library.settings.get("spatial_share", 0.0)
    active = active_units(library.network, part, task, spatial_share=float(share) if isinstance(share, float) else 0.0)
    return cohesion(library, active, part.targets, samples_per_class=_COHESION_SAMPLES, seed=task.seed).mean


def _part_of(split: Split, library: ModuleLibrary, *, most: int) -> Split:
    """Of each class the first `most` samples, or all that it has."""
    chosen = first_of_each(split.targets, num_classes=len(library.class_names), most=most)
    return Split(split.inputs[chosen], split.targets[chosen])


@dataclass(frozen=True)
class CompositionQuality:
    """How right one composition is on the samples of its classes."""

    values: Mapping[str, float]
    """As `Quality.values`."""
    per_class: Mapping[str, Mapping[str, float]]
    num_samples: int


def composition_quality(network: Network, classes: Sequence[int], split: Split, task: Task) -> CompositionQuality:
    """Quality of a network for some of the classes, on the samples of these classes.

    Args:
        network: Its logit j belongs to `classes[j]`; on the task's device.
        classes: Ascending.
        split: Of the task.

    Raises:
        ValueError: The split has no sample of these classes.
    """
    wanted = torch.tensor(classes, device=split.targets.device)
    own = Split(*(part[torch.isin(split.targets, wanted)] for part in (split.inputs, split.targets)))
    logits = predict(network, own, normalization=task.normalization, device=task.device)
    targets = torch.searchsorted(wanted, own.targets).to(logits.device)
    names = [task.info.class_names[index] for index in classes]
    found = classification_quality(logits.argmax(dim=1), targets, class_names=names)
    return CompositionQuality(found.values, found.per_class, len(own))


def subtask_accuracies(library: ModuleLibrary, subsets_SK: Tensor, split: Split, task: Task) -> Tensor:
    """Accuracy of the composition for each subset on a split of the task, float64 (S,) on the CPU."""
    return composed_accuracies(library, subsets_SK, split, normalization=task.normalization, device=task.device).cpu()
