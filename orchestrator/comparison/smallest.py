"""How sure the smallest size within tolerance of dense is: other seeds could have chosen another configuration."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from orchestrator.comparison.model import Configuration, SizeRange, Terms
from orchestrator.statistics import CONFIDENCE
from orchestrator.tolerance import SLACK

_MOST_IN_FULL = 5
"""Seeds up to which every resample is looked at: 3,125 for 5."""
_RESAMPLES = 4_000
_SEED = 0


def size_range(own: Sequence[Configuration], dense: Configuration | None, terms: Terms) -> SizeRange | None:
    """Percentile bootstrap over the study's seeds of the smallest size within tolerance, chosen anew in each resample.

    Seeds are resampled for all configurations and dense together, so pairing is kept. With a few seeds it is too
    narrow, as any bootstrap is: read it as which sizes these seeds could have led to.

    Args:
        own: Confirmed configurations of one method.
        dense: The reference; None: nothing can be said.
        terms: Tolerance and measure.

    Returns:
        None for a single seed, without a reference, and without configurations.
    """
    if dense is None or not own or len(terms.seeds) < 2:
        return None
    n = len(terms.seeds)
    counts_RN = _resamples(n)
    scores_RC = counts_RN @ np.array([one.validation.values[:n] for one in own]).T
    floor_R = counts_RN @ np.array(dense.validation.values[:n]) - terms.tolerance
    sizes_RC = counts_RN @ np.array([one.ratios[terms.measure].values[:n] for one in own]).T
    smallest_R = np.where(scores_RC >= floor_R[:, None] - SLACK, sizes_RC, np.inf).min(axis=1)
    tail = (1 - CONFIDENCE) / 2
    # No interpolation: between a size and none there is nothing.
    low, high = np.quantile(smallest_R, [tail, 1 - tail], method="inverted_cdf")
    return SizeRange(low=_finite(low), high=_finite(high), reached=float(np.isfinite(smallest_R).mean()))


def _resamples(n: int) -> NDArray[np.float64]:
    """Shares of each seed in each resample, (R, N); rows sum to 1."""
    if n <= _MOST_IN_FULL:
        drawn = np.array(list(product(range(n), repeat=n)))
    else:
        drawn = np.random.default_rng(_SEED).integers(0, n, size=(_RESAMPLES, n))
    return np.stack([(drawn == seed).mean(axis=1) for seed in range(n)], axis=1)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
