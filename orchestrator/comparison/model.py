"""What a comparison says, as data: per task the front of each method, accuracy at equal size, and which methods differ.

Two rules keep it honest. Whatever is chosen is chosen by validation means over all seeds, and the figures shown of it
are those of the test split, once that is open. And only configurations that were confirmed with every seed of the study
count. A `module` variant serves some classes only, so it takes no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.statistics import Estimate

VerdictWord = Literal["better", "worse", "not distinguishable"]
Split = Literal["test", "validation"]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Terms:
    """What a comparison depends on besides the results."""

    seeds: tuple[int, ...]
    measure: str
    """The size that counts, a field of `Sizes`."""
    tolerance: float
    """Score below dense that is accepted."""
    size_budgets: tuple[float, ...]
    """Shares of the dense network's size, ascending."""
    dense_labels: tuple[str, ...] = ("dense",)
    """Methods of the study that are the uncompressed network: the reference, no competitor."""
    extra_seeds: int = 0
    """Further seeds that configurations too close to call could get, after a look at the results."""


@dataclass(frozen=True)
class Configuration:
    """One network of one configuration, trained with every seed."""

    method: str
    trial: int
    variant: str
    config: Mapping[str, Any]
    """Fields that differ from the method's defaults."""
    settings: Mapping[str, Any]
    validation: Estimate
    test: Estimate | None
    """None until the test split is opened."""
    sizes: Mapping[str, float]
    """Measure -> mean over seeds."""
    ratios: Mapping[str, Estimate]
    """Measure -> share of the dense network's size."""
    latency_ms: Mapping[str, float]
    """Batch size ("1", "256") -> median milliseconds, mean over the seeds that were timed (the first may suffice)."""
    run_keys: tuple[str, ...]
    """In the order of the seeds."""
    seeds: tuple[int, ...] = ()
    """Those of the study, then the extra ones that this configuration got; all its values are in this order."""
    on_front: bool = False
    """Whether no other configuration of its method beats its means on validation."""
    validation_mse: Estimate | None = None
    """Mean squared error in the square of the target's unit; None for classification."""
    test_mse: Estimate | None = None
    """Likewise; None also until the test split is opened."""

    def score(self, split: Split) -> Estimate:
        """Its score on one split; validation while there is none on test."""
        return self.test if split == "test" and self.test is not None else self.validation

    def mse(self, split: Split) -> Estimate | None:
        """Its squared error on the split that `score` speaks of; None for classification."""
        return self.test_mse if split == "test" and self.test is not None else self.validation_mse


@dataclass(frozen=True)
class Trial:
    """One network of one search run: a single seed, validation only."""

    method: str
    trial: int
    variant: str
    run_key: str
    score: float
    ratio: float


@dataclass(frozen=True)
class SizeRange:
    """Shares of the dense network's size that the smallest configuration within tolerance may have, with 95 %."""

    low: float | None
    """None: not even one resample in forty reaches the tolerance."""
    high: float | None
    """None: in more than one resample in forty no configuration is within tolerance."""
    reached: float
    """Share of the resamples in which one is."""


@dataclass(frozen=True)
class Effort:
    """What a method had to find its figures with."""

    trials: int
    stopped_early: int
    failed: int
    """Of all its runs."""
    search_seconds: float
    """Of a device, of results that were in the store already as well."""
    confirm_seconds: float
    """Beyond the search, whose runs count for their seed."""


@dataclass(frozen=True)
class MethodSummary:
    """What one method reaches on one task."""

    method: str
    hypervolume: Estimate | None
    """Of its front's scores with each seed; None when no configuration was confirmed."""
    at_budget: Mapping[float, Configuration | None]
    """Size budget -> most accurate configuration that fits, None when none does."""
    within_tolerance: Configuration | None
    """Smallest configuration within tolerance of dense; None when there is none, or no dense result."""
    smallest: SizeRange | None = None
    """How sure its size is; None for a single seed and where nothing was confirmed."""
    gap: Estimate | None = None
    """Validation score minus test score, the mean over all its confirmed configurations; None until the test split is
    opened. Above 0: the choice by validation flattered."""
    effort: Effort | None = None
    """None where it has no run."""
    no_answer: str = ""
    """Why none of its configurations can be compared; empty where one can."""


@dataclass(frozen=True)
class Verdict:
    """Whether two methods differ in one respect; `first` comes before `second` in the alphabet."""

    respect: str
    """`hypervolume` or `score at <budget>`."""
    budget: float | None
    """The size budget; None for the hypervolume."""
    first: str
    second: str
    difference: Estimate
    """First minus second, paired by seed."""
    p_value: float | None
    """Corrected after Holm for all pairs of methods in this respect, and for two looks where the study had extra
    seeds; None for a single seed."""
    word: VerdictWord
    """What the first is, compared with the second."""


@dataclass(frozen=True)
class TaskComparison:
    """Everything there is to say about one task."""

    task: str
    metric: str
    """`accuracy` or `r2`."""
    split: Split
    """Where all figures come from: `test` once every confirmed configuration has its test score, never a mixture."""
    dense: Configuration | None
    configurations: tuple[Configuration, ...]
    """All confirmed ones, dense included; by method, then smallest first."""
    trials: tuple[Trial, ...]
    """The networks of the search."""
    methods: tuple[MethodSummary, ...]
    """The competitors in alphabetical order."""
    verdicts: tuple[Verdict, ...]
    incomplete: tuple[str, ...]
    """Configurations that were to be confirmed but miss a seed, in words."""
    extra_runs: Mapping[int, int] = field(default_factory=dict)
    """Seed beside those of the study -> finished runs with it."""


@dataclass(frozen=True)
class Comparison:
    """The whole study."""

    study: str
    question: str
    terms: Terms
    tasks: tuple[TaskComparison, ...]
