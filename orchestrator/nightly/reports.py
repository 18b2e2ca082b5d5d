"""What a night says, for machines and people: JUnit XML, Markdown, a picture of the nights."""

from __future__ import annotations

import xml.etree.ElementTree as Xml
from collections.abc import Sequence
from datetime import date

from methods.figures import Line, LineChart
from orchestrator.nightly.model import Judgement, Metric, Night
from orchestrator.report.chart_png import chart_png

_UNITS: dict[Metric, str] = {
    "accuracy": "validation accuracy",
    "size": "share of the dense network's size",
    "seconds": "seconds of training",
    "latency": "latency of one sample in ms",
}
_MARKS = {"ok": "✓", "improved": "▲", "flaky": "~", "regressed": "▼", "broken": "✗"}


def junit_xml(night: Night) -> bytes:
    """A test case for each figure, as CI services read it: a failure where it regressed, an error where broken."""
    counts = {"tests": len(night.judgements), "failures": _count(night, "regressed"), "errors": _count(night, "broken")}
    told = {"name": night.study, "timestamp": night.started, "time": f"{night.seconds:g}"}
    suite = Xml.Element("testsuite", told | {name: str(count) for name, count in counts.items()})
    for one in night.judgements:
        case = Xml.SubElement(suite, "testcase", classname=f"{one.task}.{one.method}", name=one.metric)
        if one.verdict in ("regressed", "broken"):
            Xml.SubElement(case, "failure" if one.verdict == "regressed" else "error", message=_said(one))
        elif one.verdict == "flaky":
            Xml.SubElement(case, "system-out").text = f"flaky: {_said(one)}"
    if night.problem:
        case = Xml.SubElement(suite, "testcase", classname=night.study, name="the study")
        Xml.SubElement(case, "error", message=night.problem)
        suite.set("tests", str(counts["tests"] + 1))
        suite.set("errors", str(counts["errors"] + 1))
    Xml.indent(suite)
    data: bytes = Xml.tostring(suite, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def markdown(night: Night) -> str:
    """What changed, short enough for a chat; what did not is a number."""
    told = [one for one in night.judgements if one.verdict != "ok"]
    lines = [f"# {night.study}, {night.date}: {night.verdict}", ""]
    if night.problem:
        lines += [f"The study ended without its figures: {night.problem}", ""]
    if told:
        lines += ["| | task | method | metric | change | why |", "| --- | --- | --- | --- | ---: | --- |"]
        lines += [
            f"| {_MARKS[one.verdict]} {one.verdict} | {one.task} | {one.method} | {one.metric} | {_change(one)} | "
            f"{_cell(_evidence(one))} |"
            for one in sorted(told, key=lambda one: (one.verdict != "broken", one.verdict != "regressed"))
        ]
        lines.append("")
    lines.append(f"{len(night.judgements) - len(told)} of {len(night.judgements)} figures as before.")
    lines += [f"- {note}" for note in night.notes]
    commit = night.environment.get("git") or "unknown"
    lines += ["", f"Commit {commit} on {night.environment.get('cpu', 'an unknown processor')}, {night.seconds:.0f} s."]
    return "\n".join(lines) + "\n"


def history_png(nights: Sequence[Night], metric: Metric = "accuracy") -> bytes | None:
    """The means over seeds by night; a night without a result is a gap. None where no night has the metric.

    Args:
        nights: The oldest first.
    """
    places = sorted({(one.task, one.method) for night in nights for one in night.figures if one.metric == metric})
    if not places:
        return None
    first = date.fromisoformat(nights[0].date)
    days = tuple(float((date.fromisoformat(night.date) - first).days) for night in nights)
    lines = []
    for task, method in places:
        means = []
        for night in nights:
            found = next((f for f in night.figures if f.place == (task, method, metric)), None)
            means.append(sum(found.values.values()) / len(found.values) if found and found.values else None)
        lines.append(Line(label=f"{task}/{method}", x=days, y=tuple(means)))
    return chart_png(
        LineChart(
            name="history",
            title=f"{nights[-1].study}: {_UNITS[metric]} by night",
            x_label=f"days since {nights[0].date}",
            y_label=_UNITS[metric],
            lines=tuple(lines),
        )
    )


def summary(night: Night) -> list[str]:
    """Lines for a terminal: the verdict, and every figure that is not as before."""
    lines = [f"{night.study} {night.date}: {night.verdict}"]
    lines += [f"  {one.verdict:9} {one.task}/{one.method} {one.metric}: {_said(one)}" for one in night.judgements
              if one.verdict != "ok"]  # fmt: skip
    if night.problem:
        lines.append(f"  {night.problem}")
    return [*lines, *(f"  {note}" for note in night.notes)]


def _said(one: Judgement) -> str:
    return ", ".join(part for part in (_change(one), _evidence(one)) if part)


def _change(one: Judgement) -> str:
    if one.change is None:
        return ""
    return f"{one.change:+.4f}" if one.metric == "accuracy" else f"{-100 * one.change:+.1f} %"


def _evidence(one: Judgement) -> str:
    certainty = "" if one.p_value is None else "p < 0.001" if one.p_value < 0.001 else f"p = {one.p_value:.3f}"
    nights = f"against {one.nights} nights" if one.nights else ""
    return ", ".join(part for part in (certainty, nights, one.why) if part)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _count(night: Night, verdict: str) -> int:
    return sum(one.verdict == verdict for one in night.judgements)
