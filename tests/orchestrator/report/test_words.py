"""Numbers as people read them."""

from __future__ import annotations

import pytest

from orchestrator.report import words
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
