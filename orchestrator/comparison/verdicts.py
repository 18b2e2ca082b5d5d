"""Which methods differ, pair by pair: better, worse, or not distinguishable."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

from orchestrator.comparison.model import MethodSummary, Split, Terms, Verdict, VerdictWord
from orchestrator.statistics import Estimate, estimate, holm, moderated_p_values

MINIMUM_EFFECT = 0.005
"""Differences of score smaller than this count as none, however certain they are."""
SIGNIFICANCE = 0.05
_ROUNDING = 1e-9
"""Scores closer than this are the same one."""

_BySeed = Mapping[int, float]


def verdicts_of(methods: Sequence[MethodSummary], terms: Terms, split: Split) -> tuple[Verdict, ...]:
    """Every pair of methods in each respect in which both have something to show."""
    # Extra seeds are spent after a look at the results, so there are two chances to find a difference.
    looks = 2 if terms.extra_seeds else 1
    step = score_step(methods, split)
    verdicts: list[Verdict] = []
    for budget in (None, *terms.size_budgets):
        values = {one.method: _values(one, budget, terms, split) for one in methods}
        known = {method: found for method, found in values.items() if found is not None}
        # The hypervolume is made of many scores and has no steps.
        verdicts += _judge(budget, known, looks=looks, step=0.0 if budget is None else step)
    return tuple(verdicts)


def score_step(methods: Sequence[MethodSummary], split: Split) -> float:
    """The smallest difference between two scores: of an accuracy on 100 samples, a hundredth.

    Few seeds on few samples often have equal scores, whose lack of spread would pass for certainty: of five equal
    methods with three seeds and 100 samples, two were told apart in 22 % of simulated studies by plain tests. A rounded
    score is uncertain by its step over the square root of 12, and with that they are told apart in none.
    """
    chosen = [one for summary in methods for one in summary.at_budget.values() if one is not None]
    values = sorted({value for one in chosen for value in one.score(split).values})
    gaps = [gap for low, high in pairwise(values) if (gap := high - low) > _ROUNDING]
    return min(gaps, default=0.0)


def _values(summary: MethodSummary, budget: float | None, terms: Terms, split: Split) -> _BySeed | None:
    """One value per seed in this respect; None where the method has nothing to show."""
    if budget is None:
        volume = summary.hypervolume
        return dict(zip(terms.seeds, volume.values, strict=True)) if volume else None
    chosen = summary.at_budget[budget]
    return dict(zip(chosen.seeds, chosen.score(split).values, strict=True)) if chosen else None


def _judge(budget: float | None, values: Mapping[str, _BySeed], *, looks: int, step: float) -> list[Verdict]:
    """Every pair of methods in one respect: one family of tests, corrected together; each by the seeds both have."""
    pairs = list(combinations(sorted(values), 2))
    differences = [
        estimate([a - values[second][seed] for seed, a in values[first].items() if seed in values[second]])
        for first, second in pairs
    ]
    # Two rounded scores in each difference.
    raw = moderated_p_values(differences, num_methods=len(values), rounding=step * math.sqrt(2 / 12))
    known = [p for p in raw if p is not None]
    corrected: Sequence[float | None] = holm(known) if len(known) == len(raw) else raw
    p_values = [None if p is None else min(1.0, looks * p) for p in corrected]
    respect = "hypervolume" if budget is None else f"score at {budget:g}"
    return [
        Verdict(respect, budget, first, second, difference, p_value, _word(difference, p_value))
        for (first, second), difference, p_value in zip(pairs, differences, p_values, strict=True)
    ]


def _word(difference: Estimate, p_value: float | None) -> VerdictWord:
    if p_value is None or p_value >= SIGNIFICANCE or abs(difference.mean) < MINIMUM_EFFECT:
        return "not distinguishable"
    return "better" if difference.mean > 0 else "worse"
