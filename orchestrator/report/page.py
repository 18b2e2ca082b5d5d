"""The page: what was asked, what came out, how sure that is, and how to check it. One file, no script, no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import orchestrator.report.words as words
from orchestrator.comparison import Comparison, TaskComparison
from orchestrator.report.effort_table import effort_section
from orchestrator.report.facts import Facts, RunLine
from orchestrator.report.families import family_sections
from orchestrator.report.marks import Mark, marks_of
from orchestrator.report.markup import Markup, element
from orchestrator.report.picture import picture
from orchestrator.report.reuse import reuse_section
from orchestrator.report.reuse_words import reuse_lines
from orchestrator.report.style import style_sheet
from orchestrator.report.subtask_words import subtask_lines
from orchestrator.report.subtasks import subtask_section
from orchestrator.report.tables import at_equal_size, head, rerun_command, table
from orchestrator.report.verdict_tables import verdict_section
from orchestrator.report.widths import width_section
from orchestrator.reuse.summary import Reuse
from orchestrator.subtask_comparison import SubtaskComparison

MOST_RUN_LINES = 2_000
"""Runs listed one by one; 2,000 are about a megabyte of page."""

_ENVIRONMENT_WORDS = {"git": "code", "gpu": "GPU", "cpu": "CPU", "torch": "PyTorch", "python": "Python"}


def page(
    comparison: Comparison, subtasks: Mapping[str, SubtaskComparison], facts: Facts, reuse: Reuse | None = None
) -> str:
    """The whole page.

    Args:
        comparison: What the study says.
        subtasks: Task -> what it says of k of N classes, where class modules were confirmed.
        facts: Everything else worth knowing of it.
        reuse: What class modules were good for elsewhere; None: nothing was tried.

    Returns:
        HTML that opens without a server or network.
    """
    marks = marks_of(one.method for task in comparison.tasks for one in task.methods)
    body = element(
        "body",
        element("header", *_opening(comparison, subtasks, facts, reuse)),
        element(
            "main",
            *(_task(task, subtasks.get(task.task), comparison, facts, marks) for task in comparison.tasks),
            *([element("section", element("h2", "Reuse"), *reuse_section(reuse), id="reuse")] if reuse else []),
            *_closing(comparison, facts),
        ),
    )
    title = f"{comparison.study}: comparison"
    # The style sheet is ours and holds characters such as > that must not be escaped.
    style = Markup(f"<style>{style_sheet()}</style>")
    charset = element("meta", charset="utf-8")
    viewport = element("meta", name="viewport", content="width=device-width, initial-scale=1")
    top = element("head", charset, viewport, element("title", title), style)
    return "<!doctype html>\n" + element("html", top, body, lang="en")


def _opening(
    comparison: Comparison, subtasks: Mapping[str, SubtaskComparison], facts: Facts, reuse: Reuse | None
) -> list[Markup]:
    said = {task.task: words.task_lines(task, comparison.terms) for task in comparison.tasks}
    for name, found in subtasks.items():
        said[name] += subtask_lines(found)
    if reuse is not None:
        said["reuse"] = reuse_lines(reuse)
    answers = [element("li", element("strong", f"{name}: "), line) for name, lines in said.items() for line in lines]
    answers += [element("li", element("strong", "Mixed results: "), line) for line in words.mixtures(facts.environment)]
    failed = Counter(line.status for line in facts.runs)["failed"]
    if failed:
        answers.append(element("li", element("a", f"{_count(failed, 'run')} failed", href="#failures"), "."))
    tests = f"Test split opened {facts.opened_at}." if facts.opened_at else "The test split is locked: validation only."
    links = [(f"task-{task.task}", task.task) for task in comparison.tasks]
    links += [("reuse", "reuse")] if reuse is not None else []
    links += [
        ("cost", "time and cost"),
        ("failures", "failures"),
        ("origin", "where it was made"),
        ("runs", "all runs"),
    ]
    return [
        element("h1", comparison.study),
        element("p", comparison.question or "This study states no question.", class_="question"),
        element(
            "nav",
            element("ul", *(element("li", element("a", name, href=f"#{place}")) for place, name in links)),
            aria_label="Sections",
        ),
        element(
            "section",
            element("h2", "What it says"),
            element("ul", *answers),
            element("p", " ".join([tests, *words.limits(comparison)]), class_="quiet"),
            class_="answers",
        ),
    ]


def _task(
    task: TaskComparison,
    subtasks: SubtaskComparison | None,
    comparison: Comparison,
    facts: Facts,
    marks: Mapping[str, Mark],
) -> Markup:
    terms = comparison.terms
    parts = [element("h2", task.task)]
    if task.configurations or task.trials:
        parts.append(picture(task, terms, marks))
    if any(one.at_budget[budget] for one in task.methods for budget in terms.size_budgets) or task.configurations:
        parts += [element("h3", "At equal size"), at_equal_size(task, terms, marks)]
    if task.verdicts:
        parts += [element("h3", "Who differs from whom"), *verdict_section(task, terms)]
    if any(one.effort for one in task.methods):
        parts += [element("h3", "What it cost, and how far validation flattered"), *effort_section(task, marks)]
    parts += width_section(task)
    if subtasks is not None:
        parts += subtask_section(subtasks, terms, marks)
    parts += family_sections(task, terms, marks, facts)
    if task.incomplete:
        named = [element("li", line) for line in task.incomplete]
        parts += [element("h3", "Left out, because a seed is missing"), element("ul", *named)]
    return element("section", *parts, id=f"task-{task.task}")


def _closing(comparison: Comparison, facts: Facts) -> list[Markup]:
    return [
        element("section", element("h2", "Time and cost"), *_cost(facts), id="cost"),
        element("section", element("h2", "Failures"), *_failures(facts), id="failures"),
        element("section", element("h2", "Where it was made"), *_origin(comparison, facts), id="origin"),
        element("section", element("h2", "All runs"), *_runs(comparison, facts), id="runs"),
    ]


def _cost(facts: Facts) -> list[Markup]:
    kind = "on the clock" if facts.wall_clock else "device time, summed over runs"
    stages = ", ".join(f"{stage} {words.duration(seconds)}" for stage, seconds in facts.stage_seconds.items())
    by_method: dict[tuple[str, str], list[RunLine]] = {}
    for line in facts.runs:
        by_method.setdefault((line.task, line.method), []).append(line)
    rows = [_cost_row((task, method), lines) for (task, method), lines in sorted(by_method.items())]
    rows.append(_cost_row(("all", ""), facts.runs))
    names = ("trained", "cached", "stopped early", "failed", "device time")
    return [
        element("p", f"Stages ({kind}): {stages or 'nothing yet'}."),
        *([element("p", sharing)] if (sharing := words.sharing(facts.shared)) else []),
        table(
            "Runs by how they ended. Cached: the result was in the store already and cost nothing.",
            [head("task"), head("method"), *(head(name, number=True) for name in names)],
            rows,
        ),
    ]


def _cost_row(place: tuple[str, str], lines: Iterable[RunLine]) -> Markup:
    count: Counter[str] = Counter()
    seconds = 0.0
    for line in lines:
        count["cached" if line.cached and line.status == "finished" else line.status] += 1
        seconds += line.device_seconds
    shown = [str(count[status]) for status in ("finished", "cached", "stopped_early", "failed")]
    numbers = (element("td", value, class_="n") for value in (*shown, words.duration(seconds)))
    return element("tr", *(element("th", name, scope="row") for name in place), *numbers)


def _failures(facts: Facts) -> list[Markup]:
    failed = [line for line in facts.runs if line.status == "failed"]
    if not failed:
        return [element("p", "No run failed.")]
    return [
        table(
            "Runs that failed for good, with every attempt.",
            [head("run"), head("reason")],
            [_failure_row(line, facts) for line in failed],
        )
    ]


def _failure_row(line: RunLine, facts: Facts) -> Markup:
    attempts = [
        element(
            "details",
            element("summary", f"{failure.at}: {failure.kind}: {failure.message}"),
            element("pre", failure.traceback or "no traceback"),
        )
        for failure in facts.failures.get(line.run_key, ())
    ]
    return element(
        "tr",
        element("th", _run_name(line), element("small", words.settings(line.config) or "defaults"), scope="row"),
        element("td", line.reason or "no reason recorded", *attempts),
    )


def _origin(comparison: Comparison, facts: Facts) -> list[Markup]:
    pairs = [
        (_ENVIRONMENT_WORDS.get(name, name), ", ".join(facts.environment[name])) for name in sorted(facts.environment)
    ]
    pairs += [(f"data of {task}", ", ".join(found)) for task, found in sorted(facts.fingerprints.items())]
    pairs.append(("seeds", ", ".join(map(str, comparison.terms.seeds))))
    pairs.append(("test split", f"opened {facts.opened_at}" if facts.opened_at else "locked"))
    listed = (cell for name, value in pairs for cell in (element("dt", name), element("dd", value)))
    return [
        element("dl", *listed),
        element(
            "p",
            "The whole study again: ",
            element("code", f"pare run {comparison.study}.yaml --store {facts.store}", class_="copy"),
            ". A single point: “run again” in its row. Further questions: results.parquet, subtasks.parquet and, "
            "with scenarios, reuse.parquet beside this page.",
        ),
        element("details", element("summary", "study file"), element("pre", facts.spec_text)),
    ]


def _runs(comparison: Comparison, facts: Facts) -> list[Markup]:
    listed = facts.runs[:MOST_RUN_LINES]
    cut = len(facts.runs) - len(listed)
    rest = f" The other {cut:,} are in results.parquet." if cut else ""
    measure = words.MEASURE_WORDS[comparison.terms.measure]
    whole = table(
        f"Every run of the ledger; score on validation and share of {measure} are those of its headline network.{rest}",
        [
            head("run"),
            head("phase"),
            head("how it ended"),
            head("score", number=True),
            head("size", number=True),
            head("device time", number=True),
            head("run again"),
        ],
        [_run_row(line, facts) for line in listed],
    )
    return [element("details", element("summary", f"{_count(len(facts.runs), 'run')}, one by one"), whole)]


def _run_row(line: RunLine, facts: Facts) -> Markup:
    ended = (
        line.status.replace("_", " ")
        + (" (cached)" if line.cached else "")
        + (f": {line.reason}" if line.reason else "")
    )
    return element(
        "tr",
        element("th", _run_name(line), element("small", words.settings(line.config) or "defaults"), scope="row"),
        element("td", line.phase),
        element("td", ended, *(element("small", note) for note in line.notes)),
        element("td", "" if line.score is None else words.score(line.score), _squared_error(line), class_="n"),
        element("td", "" if line.ratio is None else words.percent(line.ratio), class_="n"),
        element("td", words.duration(line.device_seconds), class_="n"),
        # Only a finished run has something to be compared with.
        element("td", rerun_command(line.run_key, facts.store) if line.status == "finished" else ""),
    )


def _squared_error(line: RunLine) -> Markup:
    return Markup() if line.mse is None else element("small", f"MSE {words.squared_error(line.mse)}")


def _run_name(line: RunLine) -> str:
    return f"{line.task}: {line.method} #{line.trial} seed {line.seed}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
