"""Sub-tasks: subsets of the classes of a task, which of them to measure, and how well given logits tell them apart.

Reference: the evaluation protocol of Ngo et al., "DNN Modularization via Activation-Driven Training" (ICSE 2026): all
subsets of two or more of 10 classes, a sample of them for 100.
Shapes: N = samples, K = classes, S = subsets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from statistics import NormalDist

import torch
from torch import Tensor

_MOST_CLASSES_IN_FULL = 10
SUBTASK_SAMPLES = 200
"""Of each class, for all that is said of sub-tasks on validation, which every trial of a search pays for: a thousand
compositions at once cost over a second a sample where their units differ much (ResNet18, one thread). The test split
is asked in full."""
_CHUNK_VALUES = 2**24
"""Float32 values in memory at a time: 64 MB."""


def subtask_sample_size(num_classes: int, size: int, *, margin: float = 0.08, confidence: float = 0.95) -> int:
    """How many subsets of one size to measure, so that their mean is known to a margin (Cochran's formula).

    Args:
        num_classes: Of the task.
        size: Classes in each subset, 1 to `num_classes`.
        margin: Half the width of the interval of a proportion, in (0, 1).
        confidence: Of that interval, in (0, 1).

    Returns:
        At least 1, at most the number of such subsets.

    Raises:
        ValueError: A size that no subset has, or a margin or confidence outside of its range.
    """
    _check_size(size, num_classes=num_classes)
    for name, value in (("margin", margin), ("confidence", confidence)):
        if not 0 < value < 1:
            raise ValueError(f"{name} is {value}; give a share between 0 and 1, without them")
    population = math.comb(num_classes, size)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    # z^2/4 * N/(N-1) / (e^2 + z^2/4/(N-1)), multiplied out so that N = 1 divides by nothing; 1/N takes any integer N.
    rest = 1 / population
    wanted = z**2 / 4 / (margin**2 * (1 - rest) + z**2 / 4 * rest)
    return min(population, math.ceil(wanted))


def first_of_each(labels_N: Tensor, *, num_classes: int, most: int) -> Tensor:
    """Indices of the first `most` samples of each class, or of all that it has; by class."""
    return torch.cat([(labels_N == one).nonzero().flatten()[:most] for one in range(num_classes)])


def graded_sizes(num_classes: int) -> tuple[int, ...]:
    """The numbers of classes that the ruler looks at: 2 to 10, then a few up to all of them.

    With 100 classes the paper's protocol has all 99 of them, 14,697 subsets; these make 1,656, of which every network
    that is graded has its accuracy.
    """
    few = {*range(2, _MOST_CLASSES_IN_FULL + 1), 20, 50, 100, 200, 500, num_classes}
    return tuple(size for size in sorted(few) if 2 <= size <= num_classes)


@cache
def graded_subsets(num_classes: int) -> Tensor:
    """`choose_subsets` of the sizes that the ruler looks at, bool (S, K); none below two classes. Not to be changed."""
    sizes = graded_sizes(num_classes)
    return choose_subsets(num_classes, sizes=sizes) if sizes else torch.zeros(0, num_classes, dtype=torch.bool)


def choose_subsets(num_classes: int, *, seed: int = 42, sizes: Sequence[int] | None = None) -> Tensor:
    """The sub-tasks to measure: all subsets of up to 10 classes; of more, as many of each size as the rule asks for.

    Args:
        num_classes: Of the task.
        seed: Of the draw among the subsets of a size; distinct ones are drawn, all alike likely.
        sizes: Of these sizes alone; None: of all from 2 on.

    Returns:
        Bool (S, K), ordered by size, then by the classes in ascending order. Smaller sizes asked for on top change no
        subset of the others.

    Raises:
        ValueError: There is no size to choose, or one that no subset has.
    """
    wanted_sizes = sorted(range(2, num_classes + 1) if sizes is None else sizes, reverse=True)
    if not wanted_sizes:
        raise ValueError(f"no sub-tasks of {num_classes} classes to choose; a sub-task has at least two")
    generator = torch.Generator().manual_seed(seed)
    by_size: dict[int, list[tuple[int, ...]]] = {}
    # From the largest down, so that smaller sizes asked for on top change no draw of the others.
    for size in wanted_sizes:
        _check_size(size, num_classes=num_classes)
        population = math.comb(num_classes, size)
        wanted = population if num_classes <= _MOST_CLASSES_IN_FULL else subtask_sample_size(num_classes, size)
        if wanted == population:
            by_size[size] = list(combinations(range(num_classes), size))
        else:
            by_size[size] = _drawn(num_classes, size, wanted, generator)
    chosen = [classes for size in sorted(by_size) for classes in by_size[size]]
    subsets_SK = torch.zeros(len(chosen), num_classes, dtype=torch.bool)
    for subset_K, classes in zip(subsets_SK, chosen, strict=True):
        subset_K[list(classes)] = True
    return subsets_SK


def beaten_by(logits_NK: Tensor, labels_N: Tensor) -> Tensor:
    """Which classes would be predicted rather than a sample's own, bool (N, K); equal logits favour the lower class.

    A sample is right in a subset if no class of the subset beats its own. Its own class beats itself where the logit is
    NaN, so such a sample is right nowhere.
    """
    own_N1 = logits_NK.gather(1, labels_N[:, None])
    classes_K = torch.arange(logits_NK.shape[1], device=logits_NK.device)
    return ~((own_N1 > logits_NK) | ((own_N1 == logits_NK) & (labels_N[:, None] <= classes_K)))


def restricted_accuracy(logits: Tensor, labels: Tensor, classes: Sequence[int]) -> float:
    """Accuracy over the samples of some classes when only these can be predicted; ties go to the lower class.

    Args:
        logits: (N, K) of all classes.
        labels: int64 (N,).
        classes: Indices of logits, in any order.

    Raises:
        ValueError: Shapes or labels that do not fit, an unknown class, one named twice, none at all, or no sample of
            any of them.
    """
    _check_samples(logits, labels)
    num_classes = logits.shape[1]
    unknown = [index for index in classes if not 0 <= index < num_classes]
    if unknown:
        raise ValueError(f"no class {unknown[0]}; classes are numbered 0 to {num_classes - 1}")
    if not classes or len(set(classes)) != len(classes):
        raise ValueError(f"classes are {list(classes)}; name at least one, and each once")
    subset_1K = torch.zeros(1, num_classes, dtype=torch.bool)
    subset_1K[0, list(classes)] = True
    accuracy = float(restricted_accuracies(logits, labels, subset_1K))
    if math.isnan(accuracy):
        raise ValueError(f"there is no sample of the classes {sorted(classes)}; give a split that has some")
    return accuracy


def restricted_accuracies(logits_NK: Tensor, labels_N: Tensor, subsets_SK: Tensor) -> Tensor:
    """`restricted_accuracy` of each of many subsets at once.

    Args:
        logits_NK: Of all classes, on any device.
        labels_N: int64.
        subsets_SK: Bool, each row with at least one class.

    Returns:
        Float64 (S,) on the CPU; NaN where there is no sample of the subset's classes.

    Raises:
        ValueError: Shapes, types or labels that do not fit, or an empty subset.
    """
    _check_samples(logits_NK, labels_N)
    check_subsets(subsets_SK, num_classes=logits_NK.shape[1])
    device = logits_NK.device
    labels_N = labels_N.to(device)
    beaten_NK = beaten_by(logits_NK, labels_N)
    subsets_SK = subsets_SK.to(device)
    right_S = torch.zeros(len(subsets_SK), dtype=torch.int64, device=device)
    for index in range(logits_NK.shape[1]):
        concerned = subsets_SK[:, index].nonzero().flatten()
        members_KS = subsets_SK[concerned].float().T
        samples_NK = beaten_NK[labels_N == index]
        # 0-1 products are exact in float32: no subset has 2^24 classes.
        rows = max(1, _CHUNK_VALUES // max(1, len(concerned)))
        for start in range(0, len(samples_NK), rows):
            right_S[concerned] += (samples_NK[start : start + rows].float() @ members_KS == 0).sum(dim=0)
    return right_S.cpu().double() / num_samples(labels_N, subsets_SK)


def mean_by_size(subsets_SK: Tensor, value_S: Tensor) -> dict[int, float]:
    """Number of classes -> mean over the subsets of so many; those without a value (NaN) are left out."""
    size_S = subsets_SK.sum(dim=1)
    known_S = ~value_S.isnan()
    return {
        int(size): float(value_S[known_S & (size_S == size)].mean()) for size in sorted(set(size_S[known_S].tolist()))
    }


def num_samples(labels_N: Tensor, subsets_SK: Tensor) -> Tensor:
    """Samples of each subset's classes, float64 (S,) on the CPU."""
    counts_K = torch.bincount(labels_N, minlength=subsets_SK.shape[1])
    return subsets_SK.cpu().double() @ counts_K.cpu().double()


def _check_size(size: int, *, num_classes: int) -> None:
    if not 1 <= size <= num_classes:
        raise ValueError(f"no subset of {num_classes} classes has {size} of them; give a size of 1 to {num_classes}")


def check_labels(labels: Tensor, *, num_classes: int) -> None:
    """Raise a ValueError unless they are int64 (N,) indices of these classes."""
    if labels.dim() != 1 or labels.dtype != torch.int64:
        raise ValueError(f"labels are {labels.dtype} {tuple(labels.shape)}; give int64 (samples,) class indices")
    if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= num_classes):
        raise ValueError(
            f"labels reach from {int(labels.min())} to {int(labels.max())}, but there are {num_classes} classes; give "
            "the labels of the task that the network was trained on"
        )


def check_subsets(subsets_SK: Tensor, *, num_classes: int) -> None:
    """Raise a ValueError unless they are bool (S, K), each with at least one class."""
    if subsets_SK.dtype != torch.bool or subsets_SK.dim() != 2 or subsets_SK.shape[1] != num_classes:
        raise ValueError(
            f"subsets are {subsets_SK.dtype} {tuple(subsets_SK.shape)}; give bool (subsets, {num_classes}), "
            "as `choose_subsets` does"
        )
    empty = (~subsets_SK.any(dim=1)).nonzero().flatten()
    if len(empty):
        raise ValueError(f"subset {int(empty[0])} has no class; name at least one")


def _check_samples(logits: Tensor, labels: Tensor) -> None:
    if logits.dim() != 2 or labels.dim() != 1 or len(logits) != len(labels):
        raise ValueError(
            f"logits {tuple(logits.shape)} for labels {tuple(labels.shape)}; give (samples, classes) and (samples,)"
        )
    check_labels(labels, num_classes=logits.shape[1])


def _drawn(num_classes: int, size: int, wanted: int, generator: torch.Generator) -> list[tuple[int, ...]]:
    """So many distinct subsets of one size, in ascending order."""
    found: set[tuple[int, ...]] = set()
    while len(found) < wanted:
        missing = wanted - len(found)
        order = torch.rand(missing, num_classes, generator=generator).argsort(dim=1)
        found.update(map(tuple, order[:, :size].sort(dim=1).values.tolist()))
    return sorted(found)
