"""Figures on the page: all that can be shown is, in few points and inside the frame; oddities break nothing."""

from __future__ import annotations

import math
import re
import struct
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from methods.figures import Figure, Heatmap, Line, LineChart
from orchestrator.report.cells import MOST_COLUMNS, MOST_ROWS, cells_of, shade
from orchestrator.report.chart_png import chart_png
from orchestrator.report.charts import HEIGHT, MOST_POINTS, WIDTH, chart, scales_of, segments, thinned
from orchestrator.report.style import style_sheet


def _chart(*lines: Line, **fields: bool) -> LineChart:
    return LineChart(name="a", title="A title", x_label="epoch", y_label="loss", lines=lines, **fields)


def _line(*y: float | None, label: str = "one", first: float = 1.0) -> Line:
    return Line(label=label, x=tuple(first + i for i in range(len(y))), y=y)


def _map(rows: int, columns: int, value: float | None = 0.5) -> Heatmap:
    return Heatmap(
        name="m",
        title="M",
        x_label="unit",
        y_label="class",
        rows=tuple(f"r{i}" for i in range(rows)),
        columns=tuple(f"c{i}" for i in range(columns)),
        values=((value,) * columns,) * rows,
    )


def _drawn(figure: Figure) -> ElementTree.Element:
    return ElementTree.fromstring(chart(figure))


def _paths(figure: LineChart) -> list[str]:
    return [path.attrib["d"] for path in _drawn(figure).findall("./svg/g/path")]


def _points(path: str) -> list[tuple[float, float]]:
    """Corners of a path of M, L, H and V."""
    x = y = 0.0
    found = []
    for letter, numbers in re.findall(r"([MLHV])([-0-9. ]+)", path):
        values = [float(number) for number in numbers.split()]
        x = values[0] if letter in "MLH" else x
        y = values[-1] if letter in "MLV" else y
        found.append((x, y))
    return found


def test_a_line_rises_where_its_values_do_and_stays_inside_the_frame() -> None:
    (path,) = _paths(_chart(_line(0.0, 1.0, 4.0)))
    (x0, y0), (x1, y1), (x2, y2) = _points(path)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y1 - y2 == pytest.approx(3 * (y0 - y1), abs=0.3), "y grows downwards"
    assert 0 < x0 < x2 < WIDTH
    assert 0 < y2 < y0 < HEIGHT


def test_a_logarithmic_axis_gives_every_factor_the_same_distance() -> None:
    line = Line(label="one", x=(1.0, 10.0, 100.0), y=(1e-4, 1e-2, 1.0))
    (path,) = _paths(_chart(line, log_x=True, log_y=True))
    (x0, y0), (x1, y1), (x2, y2) = _points(path)
    assert (x1 - x0, y1 - y0) == pytest.approx((x2 - x1, y2 - y1), abs=0.2)


def test_a_step_holds_until_the_next_place_and_before_a_gap_until_there() -> None:
    chart = _chart(_line(1.0, 3.0, None, 2.0, 2.0), steps=True)
    assert segments(chart.lines[0], chart) == [[(1.0, 1.0), (2.0, 3.0), (3.0, 3.0)], [(4.0, 2.0), (5.0, 2.0)]]
    corners = _points(_paths(chart)[0])
    assert all(x0 == x1 or y0 == y1 for (x0, y0), (x1, y1) in pairwise(corners[:5]))


def test_gaps_are_values_that_are_not_finite_or_that_the_axis_cannot_show() -> None:
    line = _line(1.0, None, 2.0, math.nan, math.inf, 3.0, 0.0, -1.0, 4.0)
    plain, log = _chart(line), _chart(line, log_y=True)
    assert [len(part) for part in segments(line, plain)] == [1, 1, 4]
    assert [len(part) for part in segments(line, log)] == [1, 1, 1, 1]
    assert scales_of(log)[1].low > 0
    assert len(_drawn(log).findall("./svg/g/circle")) == 4, "lone points show as dots"


def test_long_lines_keep_their_peaks_and_lose_points() -> None:
    points = [(float(i), math.sin(i / 50)) for i in range(5000)]
    points[3333] = (3333.0, 9.0)
    kept = thinned(points, most=300)
    assert len(kept) <= 300
    assert kept == sorted(kept)
    assert (3333.0, 9.0) in kept
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert thinned(points[:300], most=300) == points[:300]


@pytest.mark.parametrize("gap_every", [0, 2, 3, 100])
def test_no_line_costs_more_than_some_hundred_points(gap_every: int) -> None:
    values = [None if gap_every and i % gap_every == 0 else math.sin(i) for i in range(20_000)]
    html = chart(_chart(_line(*values)))
    assert html.count("L") + html.count("M") + html.count("<circle") <= 2 * MOST_POINTS


def test_several_lines_have_a_legend_and_looks_of_their_own() -> None:
    lines = [_line(float(i), 1.0, label=f"<line {i}>") for i in range(32)]
    root = _drawn(_chart(*lines))
    looks = {(path.attrib["stroke"], path.attrib.get("stroke-dasharray")) for path in root.findall("./svg/g/path")}
    assert len(looks) == 32
    assert ["".join(item.itertext()) for item in root.findall("./ul/li")] == [f"<line {i}>" for i in range(32)]
    assert _drawn(_chart(lines[0])).find("./ul") is None


def test_colours_are_the_style_sheets_so_that_dark_pages_and_paper_work() -> None:
    html = chart(_chart(_line(1.0, 2.0), _line(2.0, 1.0))) + chart(_map(2, 2))
    assert not re.search(r"#[0-9a-f]{3}|rgb", html)
    for name in ("curve", "grid", "cells", "axis", "charts"):
        assert f".{name}" in style_sheet()


def test_a_chart_says_in_words_what_it_shows() -> None:
    root = _drawn(_chart(_line(1.0, 3.0, 2.0, label="train"), _line(1.0, label="test")))
    drawing = root.find("./svg")
    assert drawing is not None
    assert drawing.attrib["aria-label"] == "A title: loss against epoch; lines: train, test"
    assert [title.text for title in root.findall("./svg/g/title")] == ["train: 1 to 3, last 2", "test: 1 to 1, last 1"]


@pytest.mark.parametrize("values", [(), (None, math.nan), (0.0, -1.0)])
def test_a_chart_without_values_says_so(values: tuple[float | None, ...]) -> None:
    assert "no value can be shown" in chart(_chart(_line(*values), log_y=True))


def test_cells_are_shaded_from_faint_to_full_and_name_their_values() -> None:
    figure = _map(2, 2).model_copy(update={"values": ((0.0, 0.25), (None, 1.0))})
    root = _drawn(figure)
    squares = root.findall("./svg/g/path")
    assert [square.find("./title").text for square in squares] == [  # type: ignore[union-attr]
        "r0, c0: 0",
        "r0, c1: 0.25",
        "r1, c0: empty",
        "r1, c1: 1",
    ]
    shades = [float(square.attrib["fill-opacity"]) for square in squares if "fill-opacity" in square.attrib]
    assert shades == sorted(shades)
    assert (shades[0], shades[-1]) == (0.07, 1.0)
    assert shade(3.0, low=3.0, high=3.0) == pytest.approx(0.535)


def test_a_large_heatmap_is_averaged_over_blocks_and_says_so() -> None:
    values = tuple(tuple(float(row * 200 + column) for column in range(200)) for row in range(90))
    figure = _map(90, 200).model_copy(update={"values": values})
    cells = cells_of(figure)
    assert len(cells.rows) <= MOST_ROWS
    assert len(cells.columns) <= MOST_COLUMNS
    assert cells.values[0][0] == pytest.approx(sum(values[i][j] for i in range(3) for j in range(4)) / 12)
    assert cells.values[-1][-1] == pytest.approx(sum(values[i][j] for i in (87, 88, 89) for j in range(196, 200)) / 12)
    assert (cells.rows[0], cells.columns[1]) == ("r0–r2", "c4–c7")  # noqa: RUF001
    assert "Each cell is the mean of 3 x 4 of the 90 x 200 values." in chart(figure)
    assert len(chart(figure)) < 250_000


def test_blocks_of_a_heatmap_are_means_of_what_is_there() -> None:
    figure = _map(1, 4).model_copy(update={"values": ((1.0, None, math.nan, None),)})
    assert cells_of(figure, most_columns=2).values == ((1.0, None),)


@pytest.mark.parametrize(
    "figure",
    [
        _chart(_line(1.0, None, 3.0), _line(2.0, label="$x$"), steps=True),
        _chart(_line(0.0, math.nan), log_y=True, log_x=True),
        _chart(_line(*[math.sin(i) for i in range(9000)], first=0.0)),
        _map(3, 4),
        _map(1, 1, None),
        _map(100, 300),
    ],
    ids=["steps", "nothing", "long", "map", "empty", "large"],
)
@pytest.mark.filterwarnings("error")
def test_every_figure_has_a_picture_and_a_drawing(figure: Figure) -> None:
    assert _drawn(figure).find("./svg") is not None
    png = chart_png(figure)
    assert png.startswith(b"\x89PNG")
    assert struct.unpack(">II", png[16:24]) == (960, 585)
