"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from orchestrator.comparison import Configuration, Effort, MethodSummary, SizeRange, TaskComparison, Terms
from orchestrator.report import words
from orchestrator.report.facts import SharedRun
from orchestrator.report.markup import Markup, element, joined
from orchestrator.statistics import estimate


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        (1.0, "100 %"),
        (0.9996, "100 %"),
        (0.253, "25.3 %"),
        (0.0417, "4.17 %"),
        (0.00052, "0.0520 %"),
        (1.7, "170 %"),
        (0.0, "0 %"),
    ],
)
def test_percent_has_three_significant_digits(ratio: float, shown: str) -> None:
    assert words.percent(ratio) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.42, "0.4 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7_500, "2 h 05 min"), (3_599.6, "1 h 00 min")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert words.duration(seconds) == shown


@pytest.mark.parametrize(
    ("measure", "value", "shown"),
    [
        ("stored_bytes", 312, "312 B"),
        ("stored_bytes", 12_345, "12.3 kB"),
        ("stored_bytes", 3_400_000, "3.4 MB"),
        ("parameters", 466_906, "466,906"),
        ("macs", 69_124_480, "69.1 million"),
    ],
)
def test_amounts_carry_their_unit(measure: str, value: float, shown: str) -> None:
    assert words.amount(measure, value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(3021.4, "3,021"), (12.345, "12.3"), (0.04119, "0.0412"), (2.314e-6, "2.31e-06"), (4e12, "4.00e+12"), (0, "0")],
)
def test_squared_errors_have_three_digits_in_any_unit(value: float, shown: str) -> None:
    assert words.squared_error(value) == shown


def test_a_score_just_below_zero_has_no_sign() -> None:
    assert [words.score(value) for value in (-0.0001, -0.001, 0.0004)] == ["0.000", "-0.001", "0.000"]


def test_a_squared_error_is_shown_with_its_spread_where_there_is_one() -> None:
    assert words.mse_and_spread(estimate([3000.0, 3100.0])) == "MSE 3,050 ± 70.7"
    assert words.mse_and_spread(estimate([3000.0])) == "MSE 3,000"
    assert words.mse_and_spread(None) == ""


def test_markup_escapes_text_and_attributes_but_not_markup() -> None:
    inner = element("b", "<i>")
    assert element("p", inner, " & ", title='"<') == '<p title="&quot;&lt;"><b>&lt;i&gt;</b> &amp; </p>'
    assert joined("<", Markup("<br>")) == "&lt;<br>"
    assert (
        element("rect", class_="band", stroke_width=1.0, viewBox="0 0")
        == '<rect class="band" stroke-width="1" viewBox="0 0"></rect>'
    )


def test_ranges_of_sizes_say_where_none_is_small_enough() -> None:
    assert words.size_range(SizeRange(low=0.07, high=0.25, reached=1.0)) == "[7.00 %, 25.0 %]"
    assert words.size_range(SizeRange(low=0.07, high=None, reached=0.6)) == "[7.00 %, none]"
    assert words.size_range(SizeRange(low=None, high=None, reached=0.0)) == ""
    assert words.size_range(None) == ""


def test_results_of_two_versions_or_machines_are_flagged_and_of_one_are_not() -> None:
    assert words.mixtures({"git": ("0123", "4567"), "torch": ("2.13.0",), "host": ("a", "b")}) == [
        "they come from 2 versions of the code (0123, 4567); differences between methods may be differences between "
        "these."
    ]


def test_what_training_once_for_all_spared_is_counted_by_uses() -> None:
    shared = [
        SharedRun("digits", "dense", 0, uses=10, fit_seconds=3.0),
        SharedRun("digits", "dense", 1, uses=5, fit_seconds=4.0),
    ]
    assert words.sharing(shared) == (
        "15 runs start from a trained network (dense) of their task and seed. Each of these 2 was trained once, "
        "7.0 s in all; trained anew for every run it would have been 50 s."
    )
    assert words.sharing([]) == ""


def _task(methods: Sequence[MethodSummary], configurations: Sequence[Configuration] = ()) -> TaskComparison:
    return TaskComparison("digits", "accuracy", "validation", None, tuple(configurations), (), tuple(methods), (), ())


def _searched(method: str, seconds: float, *, trials: int = 5) -> MethodSummary:
    effort = Effort(trials=trials, stopped_early=0, failed=0, search_seconds=seconds, confirm_seconds=0.0)
    return MethodSummary(method, None, {}, None, effort=effort)


def test_unequal_times_of_equal_trials_are_said() -> None:
    said = words.unequal_effort(_task([_searched("a", 30.0), _searched("b", 400.0), _searched("c", 1.0, trials=1)]))
    assert said.startswith("Budgets are equal in trials, not in time: the search of b took 6 min 40 s of a device, 13 ")
    assert words.unequal_effort(_task([_searched("a", 30.0), _searched("b", 59.0)])) == ""
    assert words.unequal_effort(_task([_searched("a", 30.0)])) == ""


def test_a_task_that_tells_nothing_apart_and_methods_without_an_answer_are_named() -> None:
    terms = Terms(seeds=(0, 1), measure="stored_bytes", tolerance=0.01, size_budgets=(0.1,))
    still = Configuration(
        "a", 0, "final", {}, {}, estimate([0.9, 0.9]), None, {}, {"stored_bytes": estimate([0.1, 0.1])}, {}, ("x", "y")
    )
    lines = words.task_lines(
        _task([MethodSummary("b", None, {}, None, no_answer="unsupported: no layers")], [still, still]), terms
    )
    assert "No answer here: b (unsupported: no layers)." in lines
    assert any("tells nothing apart" in line for line in lines)
    moving = replace(still, validation=estimate([0.9, 0.91]))
    assert not any("tells nothing apart" in line for line in words.task_lines(_task([], [still, moving]), terms))
