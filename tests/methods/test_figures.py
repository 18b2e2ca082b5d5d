"""Charts as data survive JSON and refuse what cannot be drawn."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from methods.figures import FIGURES, Heatmap, Line, LineChart

CURVE = Line(label="c", x=(0.0, 1.0), y=(1.0, None))
CHART = LineChart(name="pull", title="Pull", x_label="epoch", y_label="c", lines=(CURVE,), log_y=True)
MAP = Heatmap(
    name="overlap",
    title="Overlap",
    x_label="a",
    y_label="b",
    rows=("1",),
    columns=("x", "y"),
    values=((0.5, None),),
)


def test_figures_survive_json() -> None:
    assert FIGURES.validate_json(FIGURES.dump_json((CHART, MAP))) == (CHART, MAP)


def test_a_line_has_a_place_for_each_value() -> None:
    with pytest.raises(ValidationError, match="1 places for 2 values"):
        Line(label="c", x=(0.0,), y=(1.0, 2.0))


def test_a_heatmap_is_a_rectangle() -> None:
    with pytest.raises(ValidationError, match="no 1 x 2 matrix"):
        Heatmap(name="m", title="", x_label="", y_label="", rows=("1",), columns=("x", "y"), values=((0.5,),))


def test_a_spread_is_one_for_each_value_and_gives_the_bars_that_can_be_shown() -> None:
    with pytest.raises(ValidationError, match="1 spreads for 2 values"):
        Line(label="c", x=(0.0, 1.0), y=(1.0, 2.0), spread=(0.5,))
    line = Line(label="c", x=(0.0, 1.0, None), y=(1.0, 2.0, 3.0), spread=(0.5, None, 0.5))
    assert line.bars() == [(0.0, 0.5, 1.5)]
    assert Line(label="c", x=(0.0,), y=(1.0,)).bars() == []
