"""Training sets whose classes are unequally large, as the source models of CNN decomposition are trained on.

Paper: Qi et al., "Reusing Convolutional Neural Network Models through Modularization and Composition" (TOSEM 2023).
Reference: the drawing of subsets in qibinhang/GradSplitter at 014f405.
Shapes: N = samples, C = classes, n = samples drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from methods.data.dataset import DataError
from methods.data.splits import Indices, require_samples

_MOST_DRAWS = 10_000
"""Ten seconds on CIFAR-10. The subsets of the paper take one to six draws."""


def dirichlet_subset(
    labels: NDArray[np.int64],
    *,
    seed: int,
    concentration: float,
    minimum: int,
    class_names: Sequence[str] | None = None,
) -> Indices:
    """Draw a share of every class at random, so that the largest class is whole and the others are smaller.

    Proportions p come from a symmetric Dirichlet distribution and are divided by their largest; int(p_c * n_c) random
    samples of class c are taken; all is drawn again while a class has fewer than `minimum`. The order is random.

    A set rejected took numbers from the stream for its samples as well, as in the reference, so that a seed names the
    subset that it names there. NumPy promises to keep this stream (`RandomState`) as it is for ever.

    Args:
        labels: (N,) class of each sample; only classes that appear are counted.
        seed: In 0..2**32 - 1.
        concentration: Of the Dirichlet distribution, above 0; the smaller, the more unequal the classes.
        minimum: Samples that each class must keep, at least 1.
        class_names: Name of each class, for the error.

    Returns:
        (n,) indices into `labels`.

    Raises:
        DataError: A class has fewer than `minimum` samples, or so few that no subset keeps `minimum` of all classes.
    """
    purpose = f"a skew with `minimum: {minimum}` (lower it if you can)"
    require_samples(labels, minimum=minimum, purpose=purpose, class_names=class_names)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    random = np.random.RandomState(seed)
    for _ in range(_MOST_DRAWS):
        drawn = _draw(members, random, concentration=concentration)
        if min(len(index_n) for index_n in drawn) >= minimum:
            subset_n = np.concatenate(drawn).astype(np.int64)
            random.shuffle(subset_n)
            return subset_n
    smallest = min(len(index_N) for index_N in members)
    raise DataError(
        f"no skew of {_MOST_DRAWS:,} with `concentration: {concentration:g}` and `seed: {seed}` keeps "
        f"`minimum: {minimum}` samples of each of {len(members)} classes, the smallest of which has {smallest}; "
        "lower `minimum` or raise `concentration`."
    )


def _draw(
    members: Sequence[Indices], random: np.random.RandomState, *, concentration: float
) -> list[NDArray[np.signedinteger[Any]]]:
    share_C = random.dirichlet([concentration] * len(members))
    # A tiny concentration can make all proportions 0, and their ratios no numbers.
    share_C = np.nan_to_num(share_C / (share_C.max() or 1.0))
    return [
        random.choice(index_N, int(share * len(index_N)), replace=False)
        for index_N, share in zip(members, share_C, strict=True)
    ]
