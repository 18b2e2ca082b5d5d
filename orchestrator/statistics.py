"""Statistics over seeds as pure functions: intervals, paired differences, correction for many comparisons.

The replicate is the seed: a value here is one trained network's score or size, never one sample's.
Letters in shapes: N = seeds, R = resamples.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
SMALLEST_BOOTSTRAP = 10
"""Fewer seeds than this get Student's t interval.

A bootstrap of the mean never leaves the range of the data, and the range itself holds the true mean of a symmetric
distribution with probability 1 - 2**(1-N): 75 % for 3 seeds, whatever the kind of bootstrap. For 10 normal values
the one below holds the mean in 94 % of all cases, and with that many it need not rely on the normal distribution.
"""
_RESAMPLES = 9_999
_SEED = 0

Kind = Literal["t", "bootstrap", "none"]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and how well it is known."""

    values: tuple[float, ...]
    """One per seed, in the order of the seeds."""
    mean: float
    std: float | None
    """Sample standard deviation (N - 1); None for one seed."""
    low: float | None
    high: float | None
    """95 % interval of the mean; None for one seed, which says nothing about spread."""
    kind: Kind

    @property
    def n(self) -> int:
        return len(self.values)


def estimate(values: Sequence[float], *, highest: float = math.inf) -> Estimate:
    """Mean, spread and 95 % interval of one quantity over seeds.

    Args:
        values: One finite value per seed, at least one.
        highest: The quantity cannot exceed this, e.g. 1 for an accuracy; the interval ends there.

    Raises:
        ValueError: No value, or one that is not finite.
    """
    sample_N = np.asarray(values, dtype=np.float64)
    if sample_N.size == 0 or not np.isfinite(sample_N).all():
        raise ValueError(f"estimate: need finite values, at least one, got {list(values)}.")
    kept = tuple(float(value) for value in sample_N)
    # A sum of equal floats divided by their number may differ in the last digit: no spread must mean no spread.
    if np.ptp(sample_N) == 0:
        constant = kept[0]
        if len(kept) == 1:
            return Estimate(kept, constant, None, None, None, "none")
        return Estimate(kept, constant, 0.0, constant, constant, interval_kind(len(kept)))
    mean, std = float(sample_N.mean()), float(sample_N.std(ddof=1))
    kind = interval_kind(len(kept))
    low, high = _t_interval(sample_N) if kind == "t" else _bootstrap_interval(sample_N)
    return Estimate(kept, mean, std, low, min(high, highest), kind)


def interval_kind(n: int) -> Kind:
    """How the interval of `n` seeds is made."""
    if n < 2:
        return "none"
    return "t" if n < SMALLEST_BOOTSTRAP else "bootstrap"


def t_reach(n: int) -> float:
    """Half the width of Student's 95 % interval of a mean, in standard deviations; `n` at least 2.

    With 3 seeds it is 2.5: a difference must be that many times its spread before anything can be said about it.
    """
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) / math.sqrt(n)


def _t_interval(sample_N: NDArray[np.float64]) -> tuple[float, float]:
    half = t_reach(len(sample_N)) * float(sample_N.std(ddof=1))
    mean = float(sample_N.mean())
    return mean - half, mean + half


def _bootstrap_interval(sample_N: NDArray[np.float64]) -> tuple[float, float]:
    """Percentile bootstrap with its tails widened for few replicates; the same for the same values.

    The plain percentile interval is too narrow by sqrt((N-1)/N) and by the normal in place of t: 90 % instead of
    95 % at 10 seeds. Hesterberg (2015, What Teachers Should Know About the Bootstrap, section 3.2) asks for the
    tail Phi(-sqrt(N/(N-1)) * t) instead of 2.5 %, which undoes both.
    """
    n = len(sample_N)
    tail = float(stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)))
    resample_RN = np.random.default_rng(_SEED).integers(0, n, size=(_RESAMPLES, n))
    # Sorted first, so that the interval does not depend on the order of the seeds.
    means_R = np.sort(sample_N)[resample_RN].mean(axis=1)
    low, high = np.quantile(means_R, [tail, 1 - tail])
    return float(low), float(high)


def paired_p_value(difference: Estimate) -> float | None:
    """Two-sided p-value of Student's paired t test; None for one seed.

    Differences without any spread give 0, or 1 when they are all zero.
    """
    if difference.std is None:
        return None
    if difference.std == 0:
        return 1.0 if difference.mean == 0 else 0.0
    with warnings.catch_warnings():
        # Differences equal but for rounding: the p-value is as good as 0 or computed from rounding, both harmless.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(stats.ttest_1samp(difference.values, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for being several (Holm, 1979), in the order given; each at most 1."""
    p_K = np.asarray(p_values, dtype=np.float64)
    order_K = np.argsort(p_K, kind="stable")
    steps_K = np.arange(len(p_K), 0, -1) * p_K[order_K]
    corrected_K = np.empty_like(p_K)
    corrected_K[order_K] = np.minimum(np.maximum.accumulate(steps_K), 1.0)
    return [float(p) for p in corrected_K]
