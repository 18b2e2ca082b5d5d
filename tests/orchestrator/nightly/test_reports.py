"""What a night tells machines and people."""

from __future__ import annotations

import io
import xml.etree.ElementTree as Xml

import pytest
from PIL import Image

from orchestrator.nightly.model import Figure, Judgement, Night
from orchestrator.nightly.reports import history_png, junit_xml, markdown, summary

OK = Judgement(task="digits", method="dense", metric="accuracy", verdict="ok", change=0.001, p_value=0.9, nights=3)
WORSE = Judgement(
    task="digits", method="magnitude", metric="accuracy", verdict="regressed", change=-0.0213, p_value=0.0004, nights=3
)
SLOW = Judgement(
    task="digits",
    method="dense",
    metric="seconds",
    verdict="flaky",
    change=-0.25,
    p_value=0.4,
    nights=3,
    why="seeds disagree",
)
GONE = Judgement(task="digits", method="rigl", metric="size", verdict="broken", why="a | b")


def _night(*judgements: Judgement, date: str = "2026-02-01", problem: str = "", accuracy: float = 0.9) -> Night:
    figures = (Figure(task="digits", method="dense", metric="accuracy", values={0: accuracy, 1: accuracy + 0.02}),)
    return Night(
        study="gate",
        date=date,
        started="2026-02-01T02:00:00+00:00",
        seconds=61.0,
        environment={"git": "0123456789ab", "cpu": "a CPU"},
        figures=figures,
        judgements=judgements,
        verdict="broken" if problem else "regressed",
        problem=problem,
        notes=("another machine",),
    )


def test_junit_counts_regressions_as_failures_and_what_is_broken_as_errors() -> None:
    suite = Xml.fromstring(junit_xml(_night(OK, WORSE, SLOW, GONE)))
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["4", "1", "1"]
    cases = {(case.get("classname"), case.get("name")): case for case in suite.iter("testcase")}
    failure = cases["digits.magnitude", "accuracy"].find("failure")
    assert failure is not None
    assert failure.get("message") == "-0.0213, p < 0.001, against 3 nights"
    assert cases["digits.dense", "accuracy"].find("failure") is None
    out = cases["digits.dense", "seconds"].find("system-out")
    assert out is not None
    assert (out.text or "").startswith("flaky: +25.0 %")
    assert cases["digits.rigl", "size"].find("error") is not None


def test_a_study_that_ended_without_figures_is_an_error_of_its_own() -> None:
    suite = Xml.fromstring(junit_xml(_night(problem='no "data" < here')))
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")
    error = suite.find("testcase/error")
    assert error is not None
    assert error.get("message") == 'no "data" < here'


def test_markdown_has_a_row_for_all_that_changed_the_worst_first() -> None:
    text = markdown(_night(OK, SLOW, WORSE, GONE))
    assert text.startswith("# gate, 2026-02-01: regressed\n")
    rows = [line for line in text.splitlines() if line.startswith("| ") and " digits " in line]
    assert [row.split("|")[1].split()[1] for row in rows] == ["broken", "regressed", "flaky"]
    assert "a \\| b" in text
    assert "1 of 4 figures as before." in text
    assert "- another machine" in text
    assert "Commit 0123456789ab on a CPU, 61 s." in text


def test_the_terminal_names_what_is_not_ok() -> None:
    lines = summary(_night(OK, WORSE))
    assert lines[0] == "gate 2026-02-01: regressed"
    assert lines[1] == "  regressed digits/magnitude accuracy: -0.0213, p < 0.001, against 3 nights"
    assert lines[2:] == ["  another machine"]


def test_the_picture_of_the_nights_draws_and_nothing_is_no_picture() -> None:
    nights = [_night(OK, date=f"2026-02-{day:02}", accuracy=0.9 + day / 100) for day in (1, 2, 5)]
    data = history_png(nights)
    assert data is not None
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.width > 500
    assert history_png(nights, "latency") is None


@pytest.mark.parametrize("verdict", ["regressed", "broken"])
def test_every_verdict_has_a_mark(verdict: str) -> None:
    one = WORSE.model_copy(update={"verdict": verdict})
    assert f" {verdict} |" in markdown(_night(one))
