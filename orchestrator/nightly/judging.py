"""Verdicts on a night by its figures and those of the nights before. Pure functions.

[design] A figure has changed when four things agree: the change is at least the minimum effect; it is more than other
seeds would have brought about; no seed moved the other way by as much; and it exceeds three standard deviations of how
such figures changed from night to night. One that is large enough and fails the others is flaky: the measurement cannot
tell, and says so instead of "ok".

More than other seeds: a change of the code that only draws other random numbers gives each seed a new value. So the
mean difference is tested twice, and twice the smaller p-value counts: against how tonight's differences scatter, which
finds a small change that all seeds share, and against sqrt(2) of how seeds scattered before, which finds a large one
that scatters itself. Both tests are moderated by the other figures of their metric, as few seeds say little (see
`moderated_p_values`); p < 0.05 by Holm's correction over all figures of the night.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.nightly.model import ORDER, Figure, Judgement, Metric, Night, Verdict
from orchestrator.statistics import Estimate, estimate, holm, moderated_p_values

MINIMUM_EFFECT: Mapping[Metric, float] = {"accuracy": 0.005, "size": 0.02, "seconds": 0.1, "latency": 0.1}
"""Of accuracy in its own unit; of the others as a share of what they were."""
_SIGNIFICANCE = 0.05
_NOISES = 3.0
_NIGHTS_FOR_NOISE = 3
_OF_THE_MACHINE: tuple[Metric, ...] = ("seconds", "latency")
"""What depends on who else is at work on it."""


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
    found = [_changed(figure, earlier.get(figure.place, [])) for figure in tonight]
    there = {figure.place for figure in tonight}
    gone = [figure for figure in (before[-1].figures if before else ()) if figure.place not in there]
    return [
        *(
            _judged(one, p_value, minimum_effect[one.judgement.metric])
            for one, p_value in zip(found, _p_values(found), strict=True)
        ),
        *(_verdict(one, "broken", why="it was measured the night before and is not there tonight") for one in gone),
    ]


def overall(judgements: Sequence[Judgement]) -> Verdict:
    """The night's: that of its worst figure."""
    return max((one.verdict for one in judgements), key=ORDER.index, default="ok")


@dataclass(frozen=True)
class _Change:
    """A figure of tonight beside the nights before."""

    judgement: Judgement
    """Its verdict is still to come, unless there is nothing to be tested."""
    over_seeds: Estimate | None = None
    """None: nothing to be tested."""
    beside_seeds: Estimate | None = None
    """The same mean with the scatter that other seeds alone would have brought about."""


def _changed(tonight: Figure, before: Sequence[Figure]) -> _Change:
    if not tonight.values:
        return _Change(_verdict(tonight, "broken", why=tonight.reason or "no result"))
    nights = [figure for figure in before if set(tonight.values) <= set(figure.values)]
    if not nights:
        return _Change(_verdict(tonight, "ok", why="no earlier night to compare with"))
    seeds = sorted(tonight.values)
    usual = {seed: statistics.fmean(one.values[seed] for one in nights) for seed in seeds}
    changes = [_better(tonight.metric, usual[seed], tonight.values[seed]) for seed in seeds]
    found = estimate(changes)
    judgement = Judgement(
        task=tonight.task,
        method=tonight.method,
        metric=tonight.metric,
        verdict="ok",
        change=found.mean,
        noise=_noise(tonight.metric, nights, usual),
        nights=len(nights),
    )
    return _Change(judgement, found, replace(found, std=_reshuffled(tonight.metric, nights, usual)))


def _p_values(found: Sequence[_Change]) -> list[float | None]:
    """In the same order, corrected for all that are tested tonight; None where a single seed, or nothing, was."""
    by_tonight = _tested(found, [one.over_seeds for one in found])
    by_before = _tested(found, [one.beside_seeds for one in found])
    raw = [None if p is None or q is None else 2 * min(p, q) for p, q in zip(by_tonight, by_before, strict=True)]
    corrected = iter(holm([p_value for p_value in raw if p_value is not None]))
    return [None if p_value is None else next(corrected) for p_value in raw]


def _tested(found: Sequence[_Change], changes: Sequence[Estimate | None]) -> list[float | None]:
    """P-values of the changes, those of one metric moderated by each other."""
    p_values: list[float | None] = [None] * len(found)
    for metric in {one.judgement.metric for one in found}:
        own = {
            place: change
            for place, change in enumerate(changes)
            if change is not None and found[place].judgement.metric == metric
        }
        tested = moderated_p_values(list(own.values()), num_methods=len(own) + 1)
        for place, p_value in zip(own, tested, strict=True):
            p_values[place] = p_value
    return p_values


def _judged(found: _Change, p_value: float | None, minimum_effect: float) -> Judgement:
    one = found.judgement.model_copy(update={"p_value": p_value})
    if one.change is None:
        return one
    if abs(one.change) < minimum_effect:
        return one.model_copy(update={"why": f"below the minimum effect of {minimum_effect:g}"})
    if why := _doubt(one, one.change, found.over_seeds, minimum_effect):
        return one.model_copy(update={"verdict": "flaky", "why": why})
    return one.model_copy(update={"verdict": "improved" if one.change > 0 else "regressed"})


def _doubt(one: Judgement, change: float, over_seeds: Estimate | None, minimum_effect: float) -> str:
    """Why a change that is large enough may be none; empty: it is one."""
    if over_seeds and any(abs(own) >= minimum_effect and own * change < 0 for own in over_seeds.values):
        return "seeds disagree"
    if one.p_value is not None and one.p_value >= _SIGNIFICANCE:
        return "other seeds differ as much"
    if one.noise is not None and abs(change) <= _NOISES * one.noise:
        return f"nights differ by {one.noise:.2g} anyway"
    if one.noise is None and one.metric in _OF_THE_MACHINE:
        return f"fewer than {_NIGHTS_FOR_NOISE} nights to tell how much times differ anyway"
    return ""


def _noise(metric: Metric, nights: Sequence[Figure], usual: Mapping[int, float]) -> float | None:
    """Standard deviation of a night's mean change against the mean of all, from night to night."""
    if len(nights) < _NIGHTS_FOR_NOISE:
        return None
    shifts = [
        statistics.fmean(_better(metric, mean, one.values[seed]) for seed, mean in usual.items()) for one in nights
    ]
    # Tonight is compared with the mean of n nights, which has a part of the noise as well.
    return statistics.stdev(shifts) * math.sqrt(1 + 1 / len(nights))


def _reshuffled(metric: Metric, nights: Sequence[Figure], usual: Mapping[int, float]) -> float | None:
    """How much differences between nights would scatter over seeds if all drew other random numbers."""
    if len(usual) < 2:
        return None
    mean = statistics.fmean(usual.values())
    within = [statistics.variance([_better(metric, mean, one.values[seed]) for seed in usual]) for one in nights]
    return math.sqrt(2 * statistics.fmean(within))


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
