"""Statistics over seeds as pure functions: intervals, paired differences, correction for many comparisons.

The replicate is the seed: a value here is one trained network's score or size, never one sample's.
Letters in shapes: N = seeds, R = resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

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


def estimate(values: Sequence[float], *, lowest: float = -math.inf, highest: float = math.inf) -> Estimate:
    """Mean, spread and 95 % interval of one quantity over seeds.

    Args:
        values: One finite value per seed, at least one.
        lowest, highest: The quantity cannot lie outside, as an accuracy has 0 and 1; the interval ends there.

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
    return Estimate(kept, mean, std, max(low, lowest), min(high, highest), kind)


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
    return _p_value(abs(difference.mean), difference.std**2, difference.n)


def moderated_p_values(
    differences: Sequence[Estimate], *, num_methods: int, rounding: float = 0.0
) -> list[float | None]:
    """Two-sided p-values of paired t tests that learn from each other how much seeds scatter; None for one seed.

    Two or three seeds say little about scatter: by chance it looks tiny for some pair, so a plain t test has to expect
    that of every pair and, corrected for many pairs, hardly ever finds anything. Here a scatter below what the other
    pairs lead one to expect is raised to the moderated one of Smyth (2004, "Linear models and empirical Bayes methods",
    equations 3 to 8), and gains its degrees of freedom. Ours: a scatter above it is never lowered, and gains them only
    as far as it is not unlikely beside the others (twice its upper tail of the F distribution), so that a method much
    less steady than the rest is not flattered; and there are never more degrees of freedom than the (M - 1)(N - 1)
    that a comparison of M methods holds, as pairs share methods.

    With three seeds, 16 equally steady methods and Holm's correction, a difference of six standard deviations is found
    in 82 % of all cases instead of 2 %. The chance of any false finding is 5 % or less, also where methods are up to
    five times less steady than others, and 7 % where one of 16 is ten times less steady.

    Args:
        differences: One for each pair of methods.
        num_methods: M, that the pairs were made of.
        rounding: Standard deviation by which rounding alone blurs a difference; no scatter counts as smaller than what
            this adds, so that equal rounded scores do not pass for certainty.
    """
    known = [one for one in differences if one.std is not None]
    if len(known) < len(differences):
        return [None if one.std is None else paired_p_value(one) for one in differences]
    mean_P = np.abs([one.mean for one in differences])
    n_P = np.array([one.n for one in differences], dtype=np.float64)
    own_P = n_P - 1
    variance_P = np.array([one.std for one in known], dtype=np.float64) ** 2 + rounding**2
    prior = _expected_variance(variance_P, own_P) if len(differences) > 1 else None
    if prior is None:
        return [_p_value(mean, variance, n) for mean, variance, n in zip(mean_P, variance_P, n_P, strict=True)]
    expected, weight = prior
    weight_P = np.minimum(weight, (num_methods - 2) * own_P)
    moderated_P = (weight_P * expected + own_P * variance_P) / (weight_P + own_P)
    likely_P = np.minimum(1.0, 2 * stats.f.sf(variance_P / expected, own_P, weight_P))
    gained_P = np.where(variance_P > moderated_P, weight_P * likely_P, weight_P)
    t_P = mean_P / np.sqrt(np.maximum(variance_P, moderated_P) / n_P)
    p_P = np.atleast_1d(2 * stats.t.sf(t_P, gained_P + own_P))
    return [float(p) for p in p_P]


def _p_value(mean: float, variance: float, n: float) -> float:
    """Two-sided, of Student's t; without any variance 0, or 1 where the mean is 0 too."""
    if variance == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(mean / math.sqrt(variance / n), n - 1))


def _expected_variance(variance_P: NDArray[np.float64], degrees_P: NDArray[np.float64]) -> tuple[float, float] | None:
    """Variance that these lead one to expect, and how many degrees of freedom that is worth; None without any scatter.

    From mean and variance of the logarithms (Smyth, 2004, section 6.2). Values far below the median, down to 0 where
    scores are counts of few samples, enter as 1e-5 of it.
    """
    median = float(np.median(variance_P))
    if median == 0:
        return None
    log_P = np.log(np.maximum(variance_P, 1e-5 * median)) - special.digamma(degrees_P / 2) + np.log(degrees_P / 2)
    excess = float(log_P.var(ddof=1)) - float(special.polygamma(1, degrees_P / 2).mean())
    if excess <= 0:
        return math.exp(log_P.mean()), math.inf
    weight = 2 * _inverse_trigamma(excess)
    return math.exp(log_P.mean() + special.digamma(weight / 2) - math.log(weight / 2)), weight


def _inverse_trigamma(value: float) -> float:
    """The argument at which the trigamma function has a value above 0; by Newton's method on its reciprocal."""
    found = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(special.polygamma(1, found))
        step = trigamma * (1 - trigamma / value) / float(special.polygamma(2, found))
        found += step
        if abs(step) < 1e-10 * found:
            break
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for being several (Holm, 1979), in the order given; each at most 1."""
    p_K = np.asarray(p_values, dtype=np.float64)
    order_K = np.argsort(p_K, kind="stable")
    steps_K = np.arange(len(p_K), 0, -1) * p_K[order_K]
    corrected_K = np.empty_like(p_K)
    corrected_K[order_K] = np.minimum(np.maximum.accumulate(steps_K), 1.0)
    return [float(p) for p in corrected_K]
