"""Which methods differ, pair by pair: better, worse, or not distinguishable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from orchestrator.comparison.model import MethodSummary, Split, Terms, Verdict, VerdictWord
from orchestrator.statistics import Estimate, estimate, holm, moderated_p_values

MINIMUM_EFFECT = 0.005
"""Differences of score smaller than this count as none, however certain they are."""
SIGNIFICANCE = 0.05


def verdicts_of(methods: Sequence[MethodSummary], terms: Terms, split: Split) -> tuple[Verdict, ...]:
    verdicts: list[Verdict] = []
    for budget in (None, *terms.size_budgets):
        values = {one.method: _values(one, budget, split) for one in methods}
        verdicts += _judge(budget, {method: found for method, found in values.items() if found is not None})
    return tuple(verdicts)


def _values(summary: MethodSummary, budget: float | None, split: Split) -> tuple[float, ...] | None:
    """One value per seed in this respect; None where the method has nothing to show."""
    if budget is None:
        return summary.hypervolume.values if summary.hypervolume else None
    chosen = summary.at_budget[budget]
    return chosen.score(split).values if chosen else None


def _judge(budget: float | None, values: Mapping[str, tuple[float, ...]]) -> list[Verdict]:
    """Every pair of methods in one respect: one family of tests, corrected together."""
    pairs = list(combinations(sorted(values), 2))
    differences = [
        estimate([a - b for a, b in zip(values[first], values[second], strict=True)]) for first, second in pairs
    ]
    raw = moderated_p_values(differences, num_methods=len(values))
    known = [p for p in raw if p is not None]
    p_values: Sequence[float | None] = holm(known) if len(known) == len(raw) else raw
    respect = "hypervolume" if budget is None else f"score at {budget:g}"
    return [
        Verdict(respect, budget, first, second, difference, p_value, _word(difference, p_value))
        for (first, second), difference, p_value in zip(pairs, differences, p_values, strict=True)
    ]


def _word(difference: Estimate, p_value: float | None) -> VerdictWord:
    if p_value is None or p_value >= SIGNIFICANCE or abs(difference.mean) < MINIMUM_EFFECT:
        return "not distinguishable"
    return "better" if difference.mean > 0 else "worse"
