"""Nights of constructed figures whose verdict is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from orchestrator.nightly.judging import judge, overall
from orchestrator.nightly.model import Figure, Judgement, Metric, Night

SEEDS = (0, 1, 2)


def figure(method: str, values: Sequence[float], metric: Metric = "accuracy", reason: str = "") -> Figure:
    return Figure(
        task="digits", method=method, metric=metric, values=dict(zip(SEEDS, values, strict=False)), reason=reason
    )


def night(*figures: Figure, day: int = 1) -> Night:
    return Night(
        study="gate", date=f"2026-01-{day:02}", started="", seconds=1.0, environment={}, figures=tuple(figures)
    )


def verdicts(found: Sequence[Judgement]) -> Mapping[tuple[str, str], str]:
    return {(one.method, one.metric): one.verdict for one in found}


STEADY = [night(figure("a", (0.98, 0.97, 0.96)), figure("b", (0.9, 0.91, 0.92)), day=day) for day in (1, 2, 3)]


def test_the_first_night_has_nothing_to_compare_with_and_is_ok() -> None:
    [found] = judge([figure("a", (0.9, 0.9, 0.9))], [])
    assert (found.verdict, found.change, found.nights) == ("ok", None, 0)
    assert found.why == "no earlier night to compare with"
    assert overall([found]) == "ok"


def test_the_same_figures_again_are_ok() -> None:
    found = judge(STEADY[0].figures, STEADY)
    assert verdicts(found) == {("a", "accuracy"): "ok", ("b", "accuracy"): "ok"}
    assert [one.change for one in found] == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize(("shift", "verdict"), [(-0.02, "regressed"), (0.02, "improved"), (-0.004, "ok")])
def test_a_shift_of_all_seeds_counts_from_the_minimum_effect_on(shift: float, verdict: str) -> None:
    tonight = [figure("a", (0.98 + shift, 0.97 + shift, 0.96 + shift)), figure("b", (0.9, 0.91, 0.92))]
    found = judge(tonight, STEADY)
    assert verdicts(found) == {("a", "accuracy"): verdict, ("b", "accuracy"): "ok"}
    assert found[0].change == pytest.approx(shift)
    assert overall(found) == verdict


def test_seeds_that_disagree_make_a_figure_flaky_and_not_ok() -> None:
    found = judge([figure("a", (0.90, 1.0, 0.95)), figure("b", (0.9, 0.91, 0.92))], STEADY)
    assert (found[0].verdict, found[0].why) == ("flaky", "seeds disagree")


@pytest.mark.parametrize("metric", ["size", "seconds", "latency"])
def test_of_what_should_be_small_a_share_counts_and_less_is_better(metric: Metric) -> None:
    before = [night(figure("a", (10.0, 20.0, 40.0), metric), day=day) for day in (1, 2, 3)]
    [worse] = judge([figure("a", (13.0, 26.0, 52.0), metric)], before)
    assert (worse.verdict, worse.change) == ("regressed", pytest.approx(-0.3))
    [better] = judge([figure("a", (7.0, 14.0, 28.0), metric)], before)
    assert (better.verdict, better.change) == ("improved", pytest.approx(0.3))


def test_nights_that_differ_by_themselves_excuse_a_change() -> None:
    loud = [night(figure("a", (t, t + 1, t + 2), "seconds"), day=day) for day, t in enumerate((100, 130, 90, 120), 1)]
    [found] = judge([figure("a", (150.0, 151.0, 152.0), "seconds")], loud)
    assert found.verdict == "flaky"
    assert "nights differ by" in found.why
    quiet = [night(figure("a", (t, t + 1, t + 2), "seconds"), day=day) for day, t in enumerate((100, 101, 99, 100), 1)]
    [found] = judge([figure("a", (150.0, 151.0, 152.0), "seconds")], quiet)
    assert found.verdict == "regressed"


def test_times_need_three_nights_before_they_can_alarm() -> None:
    before = [night(figure("a", (10.0,), "latency"), figure("b", (0.5, 0.5, 0.5), "size"), day=day) for day in (1, 2)]
    found = judge([figure("a", (20.0,), "latency"), figure("b", (0.6, 0.6, 0.6), "size")], before)
    assert verdicts(found) == {("a", "latency"): "flaky", ("b", "size"): "regressed"}
    assert "fewer than 3 nights" in found[0].why


def test_a_method_without_a_result_and_one_that_is_gone_are_broken() -> None:
    found = judge([figure("a", (), reason="the loss became nan")], STEADY)
    assert verdicts(found) == {("a", "accuracy"): "broken", ("b", "accuracy"): "broken"}
    assert found[0].why == "the loss became nan"
    assert "not there tonight" in found[1].why
    assert overall(found) == "broken"


def test_a_night_without_a_method_is_passed_over_and_a_new_method_is_ok() -> None:
    gap = [STEADY[0], night(figure("a", (), reason="killed"), day=2), STEADY[2]]
    found = judge([figure("a", (0.9, 0.89, 0.88)), figure("c", (0.5, 0.5, 0.5))], gap)
    assert verdicts(found) == {("a", "accuracy"): "regressed", ("c", "accuracy"): "ok", ("b", "accuracy"): "broken"}
    assert found[0].nights == 2


def test_one_seed_is_judged_by_effect_and_nights_alone() -> None:
    before = [night(figure("a", (0.9,)), day=day) for day in (1, 2, 3)]
    [found] = judge([figure("a", (0.8,))], before)
    assert (found.verdict, found.p_value, found.noise) == ("regressed", None, 0.0)


def test_more_seeds_than_before_find_no_pairs() -> None:
    before = [night(figure("a", (0.9, 0.9)), day=1)]
    [found] = judge([figure("a", (0.8, 0.8, 0.8))], before)
    assert (found.verdict, found.nights) == ("ok", 0)


def _simulated(random: np.random.Generator, *, shift: float, scatter: float) -> list[Judgement]:
    """Eight methods, five nights before; tonight one is worse by `shift` on every seed."""
    nights = []
    for day in range(1, 7):
        figures = [
            figure(f"m{index}", tuple(0.9 + random.normal(scale=scatter, size=3) - shift * (day == 6 and index == 0)))
            for index in range(8)
        ]
        nights.append(night(*figures, day=day))
    return judge(nights[-1].figures, nights[:-1])


def test_false_alarms_are_rare_and_a_clear_regression_is_found() -> None:
    random = np.random.default_rng(5)
    alarms = [overall(_simulated(random, shift=0.0, scatter=0.01)) for _ in range(300)]
    assert sum(one in ("regressed", "broken") for one in alarms) / 300 <= 0.05
    found = [_simulated(random, shift=0.06, scatter=0.01)[0].verdict for _ in range(100)]
    assert found.count("regressed") >= 80
