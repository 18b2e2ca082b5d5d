"""Splitting samples so that every class is on both sides.

N = samples. A split is drawn from the raw stream of PCG64, which NumPy promises to keep for ever (the methods of
`Generator` it may change), so a seed names the same split on every machine and in every release.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from methods.data.dataset import DataError

Indices = NDArray[np.int64]

_REGRESSION_STRATA = 10


def strata(targets: NDArray[Any]) -> NDArray[np.int64]:
    """The stratum of each sample: its class, or for real-valued targets the tenth of the ranking it lies in.

    Fewer than 40 real-valued samples form a single stratum, so that no stratum is too small to split.
    """
    if np.issubdtype(targets.dtype, np.integer):
        return targets.astype(np.int64)
    if len(targets) < 4 * _REGRESSION_STRATA:
        return np.zeros(len(targets), dtype=np.int64)
    rank_N = np.argsort(np.argsort(targets, kind="stable"), kind="stable")
    return (rank_N * _REGRESSION_STRATA // len(targets)).astype(np.int64)


def stratified_split(targets: NDArray[Any], share: float, *, seed: int) -> tuple[Indices, Indices]:
    """Divide samples into the rest and a part that holds `share` of every stratum.

    Each stratum gives at least one sample to each side. For one seed the part of a smaller share lies inside that
    of a larger one.

    Args:
        targets: (N,) integer classes or real values, see `strata`.
        share: Size of the part, in (0, 1).
        seed: At least 0.

    Returns:
        Indices of the rest and of the part, each ascending.

    Raises:
        DataError: A stratum holds fewer than two samples.
    """
    stratum_N = strata(targets)
    require_samples(stratum_N, minimum=2, purpose="splitting")
    in_part_N = _choose(stratum_N, share, seed=seed, leave=1)
    return np.flatnonzero(~in_part_N), np.flatnonzero(in_part_N)


def stratified_subset(targets: NDArray[Any], fraction: float, *, seed: int) -> Indices:
    """Ascending indices of `fraction` (0 to 1, rounded, at least one sample) of every stratum.

    For one seed the subset of a smaller fraction lies inside that of a larger one.
    """
    return np.flatnonzero(_choose(strata(targets), fraction, seed=seed, leave=0))


def require_samples(
    targets: NDArray[np.int64], *, minimum: int, purpose: str, class_names: Sequence[str] | None = None
) -> None:
    """Make sure that every class has enough samples.

    Args:
        targets: (N,) class of each sample.
        minimum: Samples that each class must have.
        purpose: What they are needed for; shown in the error.
        class_names: Name of every class that must appear; None: only those that do appear are counted.

    Raises:
        DataError: Some class has fewer, or there are no samples at all; names the first few such classes.
    """
    if len(targets) == 0:
        raise DataError(f"no samples at all, but {purpose} needs at least {minimum} of each class.")
    counts = np.bincount(targets, minlength=len(class_names or ()))
    scarce = [index for index, count in enumerate(counts) if count < minimum and (class_names or count)]
    if scarce:
        shown = ", ".join(f"{_name(index, class_names)} ({counts[index]})" for index in scarce[:5])
        more = f" and {len(scarce) - 5} more" if len(scarce) > 5 else ""
        raise DataError(
            f"{purpose} needs at least {minimum} samples of each class; too few of: {shown}{more}. "
            "Add samples or remove these classes."
        )


def _choose(stratum_N: NDArray[np.int64], share: float, *, seed: int, leave: int) -> NDArray[np.bool_]:
    """Mark round(share * n) samples of each stratum, at least 1 and at most n - leave."""
    order_N = np.argsort(np.random.PCG64([seed, len(stratum_N)]).random_raw(len(stratum_N)), kind="stable")
    # Stable: within a stratum the samples stay in random order, so a larger share only adds to a smaller one.
    by_stratum_N = order_N[np.argsort(stratum_N[order_N], kind="stable")]
    _, starts, counts = np.unique(stratum_N[by_stratum_N], return_index=True, return_counts=True)
    chosen_N = np.zeros(len(stratum_N), dtype=np.bool_)
    for start, count in zip(starts, counts, strict=True):
        wanted = min(max(int(count * share + 0.5), 1), count - leave)
        chosen_N[by_stratum_N[start : start + wanted]] = True
    return chosen_N


def _name(index: int, class_names: Sequence[str] | None) -> str:
    return f"class {index}" if class_names is None else f"'{class_names[index]}'"
