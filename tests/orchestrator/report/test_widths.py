from __future__ import annotations

from typing import Any

from orchestrator.comparison import Configuration, TaskComparison
from orchestrator.report.chart_png import chart_png
from orchestrator.report.widths import width_chart, width_section, width_series
from orchestrator.statistics import estimate


def _configuration(method: str, *, trial: int = 0, accuracy: float = 0.8, **settings: Any) -> Configuration:
    values = (accuracy - 0.02, accuracy, accuracy + 0.02)
    share = float(settings.get("width", 1.0))
    return Configuration(
        method=method,
        trial=trial,
        variant=f"width_{share:g}",
        config={},
        settings=settings,
        validation=estimate(values),
        test=None,
        sizes={"parameters": 1000 * share, "macs": 5000 * share},
        ratios={"parameters": estimate([share] * 3), "macs": estimate([share] * 3)},
        latency_ms={},
        run_keys=("a", "b", "c"),
    )


def _of_width(method: str, width: float, *, trial: int = 0, accuracy: float = 0.8, **more: Any) -> Configuration:
    return _configuration(method, trial=trial, accuracy=accuracy, width=width, compression_ratio=1 - width, **more)


TRAINED = {"lowest_width": 0.5, "highest_width": 1.0}


def _task(*configurations: Configuration) -> TaskComparison:
    dense = _configuration("dense", accuracy=0.9)
    return TaskComparison(
        task="digits",
        metric="accuracy",
        split="validation",
        dense=dense,
        configurations=(dense, *configurations),
        trials=(),
        methods=(),
        verdicts=(),
        incomplete=(),
    )


TASK = _task(
    _of_width("metamorphic", 1.0, accuracy=0.85, seen=True, generator_parameters=1234567, **TRAINED),
    _of_width("metamorphic", 0.25, accuracy=0.3, seen=False, **TRAINED),
    _of_width("scratch", 0.5, trial=1, accuracy=0.7),
    _of_width("scratch", 0.25, trial=0, accuracy=0.6),
    _configuration("scratch", trial=2, width=0.3, keep_share=0.1),
)


def test_networks_trained_each_for_a_width_are_one_line_and_others_are_left_out() -> None:
    assert [(one.label, list(one.points)) for one in width_series(TASK)] == [
        ("metamorphic", [0.25, 1.0]),
        ("scratch", [0.25, 0.5]),
    ]


def test_configurations_with_several_widths_each_are_lines_of_their_own() -> None:
    task = _task(*(_of_width("slimmable", width, trial=trial) for trial in (0, 3) for width in (0.5, 1.0)))
    assert [one.label for one in width_series(task)] == ["slimmable #0", "slimmable #3"]


def test_the_chart_has_the_dense_network_deviations_and_the_trained_range() -> None:
    drawn = width_chart(TASK)
    assert drawn is not None
    assert [line.label for line in drawn.lines] == ["metamorphic", "scratch", "dense"]
    assert drawn.lines[0].y == (0.3, 0.85)
    assert drawn.lines[0].spread[0] is not None
    assert abs(drawn.lines[0].spread[0] - 0.02) < 1e-12
    assert drawn.lines[2].y == (0.9, 0.9)
    assert drawn.shade is not None
    assert (drawn.shade.low, drawn.shade.high) == (0.5, 1.0)
    assert chart_png(drawn).startswith(b"\x89PNG")


def test_the_table_stars_widths_that_were_not_trained_and_shows_sizes_with_them() -> None:
    section = "".join(width_section(TASK))
    assert "0.300 ± 0.020*" in section
    assert "0.850 ± 0.020*" not in section
    assert "metamorphic, from a generator of 1,234,567 parameters" in section
    for name in ("compression ratio", "parameters", "multiply-accumulates"):
        assert f'<th scope="row">{name}</th>' in section


def test_a_study_without_widths_has_no_such_section() -> None:
    assert width_section(_task()) == []
    assert width_chart(_task(_configuration("scratch", width=0.3, keep_share=0.1))) is None
