"""Verdicts on a night by its figures and those of the nights before. Pure functions.

[design] A figure has changed when three things agree: the change is at least the minimum effect; a paired t test over
seeds says that it is not the seeds' scatter (moderated by the other figures of its metric, as few seeds say little, and
p < 0.05 by Holm's correction over all figures of the night); and it exceeds three standard deviations of how such
figures changed from night to night before. One that is large enough and fails the others is flaky: the measurement
cannot tell, and says so instead of "ok".
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from orchestrator.nightly.model import ORDER, Figure, Judgement, Metric, Night, Verdict
from orchestrator.statistics import Estimate, estimate, holm, moderated_p_values

MINIMUM_EFFECT: Mapping[Metric, float] = {"accuracy": 0.005, "size": 0.02, "seconds": 0.1, "latency": 0.1}
"""Of accuracy in its own unit; of the others as a share of what they were."""
_SIGNIFICANCE = 0.05
_NOISES = 3.0
_NIGHTS_FOR_NOISE = 3


def judge(
    tonight: Sequence[Figure], before: Sequence[Night], *, minimum_effect: Mapping[Metric, float] = MINIMUM_EFFECT
) -> list[Judgement]:
    """Judge tonight's figures, one by one and with each other.

    Args:
        tonight: Each place (task, method, metric) once.
        before: Accepted nights, the oldest first.
        minimum_effect: Smaller changes are none, whatever the tests say.

    Returns:
        One for each figure of tonight, and `broken` for each that the last night had and tonight has not.
    """
    earlier = {place: [night[place] for night in map(_by_place, before) if place in night] for place in _places(before)}
    found = [_changed(figure, earlier.get(figure.place, []), minimum_effect[figure.metric]) for figure in tonight]
    p_values = _p_values(found)
    there = {figure.place for figure in tonight}
    gone = [figure for figure in (before[-1].figures if before else ()) if figure.place not in there]
    return [
        *(
            _judged(one.model_copy(update={"p_value": p_value}), minimum_effect[one.metric])
            for (one, _), p_value in zip(found, p_values, strict=True)
        ),
        *(_verdict(one, "broken", why="it was measured the night before and is not there tonight") for one in gone),
    ]


def overall(judgements: Sequence[Judgement]) -> Verdict:
    """The night's: that of its worst figure."""
    return max((one.verdict for one in judgements), key=ORDER.index, default="ok")


def _changed(tonight: Figure, before: Sequence[Figure], minimum_effect: float) -> tuple[Judgement, Estimate | None]:
    """A judgement whose verdict is still to come, and the change over seeds where there is something to be tested."""
    if not tonight.values:
        return _verdict(tonight, "broken", why=tonight.reason or "no result"), None
    nights = [figure for figure in before if set(tonight.values) <= set(figure.values)]
    if not nights:
        return _verdict(tonight, "ok", why="no earlier night to compare with"), None
    seeds = sorted(tonight.values)
    changes = [
        _better(tonight.metric, statistics.fmean(one.values[seed] for one in nights), tonight.values[seed])
        for seed in seeds
    ]
    found = estimate(changes)
    judgement = Judgement(
        task=tonight.task,
        method=tonight.method,
        metric=tonight.metric,
        verdict="ok",
        change=found.mean,
        noise=_noise(tonight.metric, nights, seeds),
        nights=len(nights),
        why="" if abs(found.mean) >= minimum_effect else f"below the minimum effect of {minimum_effect:g}",
    )
    return judgement, found


def _p_values(found: Sequence[tuple[Judgement, Estimate | None]]) -> list[float | None]:
    """In the same order, corrected for all that are tested tonight; None where a single seed, or nothing, was."""
    raw: list[float | None] = [None] * len(found)
    for metric in {one.metric for one, _ in found}:
        own = [(place, change) for place, (one, change) in enumerate(found) if change and one.metric == metric]
        tested = moderated_p_values([change for _, change in own], num_methods=len(own) + 1)
        for (place, _), p_value in zip(own, tested, strict=True):
            raw[place] = p_value
    corrected = iter(holm([p_value for p_value in raw if p_value is not None]))
    return [None if p_value is None else next(corrected) for p_value in raw]


def _judged(one: Judgement, minimum_effect: float) -> Judgement:
    if one.change is None or abs(one.change) < minimum_effect:
        return one
    by_chance = one.p_value is not None and one.p_value >= _SIGNIFICANCE
    as_ever = one.noise is not None and abs(one.change) <= _NOISES * one.noise
    if by_chance or as_ever:
        why = "seeds disagree" if by_chance else f"nights differ by {one.noise:.2g} anyway"
        return one.model_copy(update={"verdict": "flaky", "why": why})
    return one.model_copy(update={"verdict": "improved" if one.change > 0 else "regressed"})


def _noise(metric: Metric, nights: Sequence[Figure], seeds: Sequence[int]) -> float | None:
    """Standard deviation of a night's mean change against the mean of all, from night to night."""
    if len(nights) < _NIGHTS_FOR_NOISE:
        return None
    means = {seed: statistics.fmean(one.values[seed] for one in nights) for seed in seeds}
    shifts = [statistics.fmean(_better(metric, means[seed], one.values[seed]) for seed in seeds) for one in nights]
    # Tonight is compared with the mean of n nights, which has a part of the noise as well.
    return statistics.stdev(shifts) * math.sqrt(1 + 1 / len(nights))


def _better(metric: Metric, before: float, now: float) -> float:
    """By how much it got better: accuracy by its difference, what should be small by its share."""
    if metric == "accuracy":
        return now - before
    return (before - now) / before if before > 0 else 0.0


def _verdict(figure: Figure, verdict: Verdict, *, why: str) -> Judgement:
    return Judgement(task=figure.task, method=figure.method, metric=figure.metric, verdict=verdict, why=why)


def _by_place(night: Night) -> dict[tuple[str, str, Metric], Figure]:
    return {figure.place: figure for figure in night.figures if figure.values}


def _places(nights: Sequence[Night]) -> set[tuple[str, str, Metric]]:
    return {figure.place for night in nights for figure in night.figures}
