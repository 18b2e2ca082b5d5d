"""The tables of one task: accuracy at equal size, who differs from whom, every confirmed configuration."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import orchestrator.report.words as words
from orchestrator.comparison import Configuration, MethodSummary, TaskComparison, Terms
from orchestrator.report.marks import Mark
from orchestrator.report.markup import Markup, element
from orchestrator.report.picture import row_id, swatch
from orchestrator.results import SIZE_MEASURES
from orchestrator.statistics import Estimate


def table(caption: str, head: Sequence[Markup], body: Sequence[Markup]) -> Markup:
    """A table that scrolls sideways on a narrow screen; `head` holds cells, `body` whole rows."""
    return element(
        "div",
        element(
            "table",
            element("caption", element("div", caption)),
            element("thead", element("tr", *head)),
            element("tbody", *body),
        ),
        class_="wide",
    )


def head(*lines: str, number: bool = False) -> Markup:
    """Head of a column, its lines one under the other."""
    parts = [part for line in lines for part in (element("br"), line)][1:]
    return element("th", *parts, scope="col", class_="n" if number else "text")


def rerun_command(run_key: str, store: str) -> Markup:
    """What to type to train one run again; a click marks the whole of it."""
    return element("code", f"pare rerun {run_key} --store {shlex.quote(store)}", class_="copy")


def at_equal_size(task: TaskComparison, terms: Terms, marks: Mapping[str, Mark]) -> Markup:
    """Rows: methods. Columns: size budgets, smallest within tolerance, hypervolume."""
    measure = words.MEASURE_WORDS[terms.measure]
    best = {budget: _best(task, budget) for budget in terms.size_budgets}
    rows = [_size_row(one, task, terms, marks[one.method], best) for one in task.methods]
    return table(
        f"Best {task.split} {words.METRIC_WORDS[task.metric]} within each share of the dense network's {measure}, "
        "chosen by validation: mean ± standard deviation and 95 % interval over seeds; the highest mean is bold. "
        "Hypervolume: the score one can have under a size budget, averaged over budgets from 0.1 % to 100 % on a "
        "logarithmic scale (reference point: score 0 at the size of dense; higher is better). Below the smallest size "
        "within tolerance the range that resampling the seeds gives (95 %, the choice made anew each time; too narrow "
        "with few seeds), then its score."
        f"{_mse_note(task)}",
        [
            head("method"),
            *(head("size at most", words.budget_percent(budget), number=True) for budget in terms.size_budgets),
            head("smallest within", f"{terms.tolerance:g} of dense", number=True),
            head("hypervolume", number=True),
        ],
        rows,
    )


def _mse_note(task: TaskComparison) -> str:
    """What a reader of a regression's figures has to know."""
    if task.metric != "r2":
        return ""
    return (
        " MSE: mean squared error, in the square of the target's unit; lower is better. R² below 0 is worse than "
        "always predicting the mean, and counts as 0 in the hypervolume."
    )


def _best(task: TaskComparison, budget: float) -> str | None:
    """The method with the highest mean at a budget; None when no method fits it."""
    means = {one.method: chosen.score(task.split).mean for one in task.methods if (chosen := one.at_budget[budget])}
    return max(sorted(means), key=lambda method: means[method], default=None)


def _size_row(
    one: MethodSummary, task: TaskComparison, terms: Terms, mark: Mark, best: Mapping[float, str | None]
) -> Markup:
    cells = [
        _chosen_cell(one.at_budget[budget], task, is_best=best[budget] == one.method) for budget in terms.size_budgets
    ]
    within = one.within_tolerance
    if within is None:
        cells.append(element("td", "none", class_="n quiet"))
    else:
        link = element("a", words.percent(within.ratios[terms.measure].mean), href=f"#{row_id(task.task, within)}")
        small = element("small", words.score_and_spread(within.score(task.split)))
        sure = element("small", words.size_range(one.smallest))
        cells.append(element("td", link, sure, small, _mse_line(within.mse(task.split)), class_="n"))
    if one.hypervolume is None:
        cells.append(element("td", "none", class_="n quiet"))
    else:
        cells.append(estimate_cell(one.hypervolume))
    return element("tr", method_head(one.method, mark), *cells)


def _chosen_cell(chosen: Configuration | None, task: TaskComparison, *, is_best: bool) -> Markup:
    if chosen is None:
        return element("td", "none so small", class_="n quiet")
    found = chosen.score(task.split)
    link = element("a", words.score_and_spread(found), href=f"#{row_id(task.task, chosen)}")
    small = element("small", words.interval(found))
    return element("td", link, small, _mse_line(chosen.mse(task.split)), class_="n best" if is_best else "n")


def _mse_line(found: Estimate | None) -> Markup:
    """The squared error under a regression's score; nothing for a classification."""
    return element("small", words.mse_and_spread(found)) if found else Markup()


def estimate_cell(found: Estimate | None, *, mse: Estimate | None = None) -> Markup:
    """Mean and spread, the interval below, and a regression's squared error below that."""
    if found is None:
        return element("td", "not tested", class_="n quiet")
    interval = element("small", words.interval(found))
    return element("td", words.score_and_spread(found), interval, _mse_line(mse), class_="n")


def method_head(method: str, mark: Mark | None) -> Markup:
    """Head of a row: a method with its mark in the picture."""
    return element("th", swatch(mark), method, scope="row", class_="mark")


def configurations(task: TaskComparison, terms: Terms, marks: Mapping[str, Mark], store: str) -> Markup:
    """Every confirmed configuration with all that was measured of it; latency only where it was."""
    batches = [batch for batch in ("1", "256") if any(batch in one.latency_ms for one in task.configurations)]
    metric = words.METRIC_WORDS[task.metric]
    return table(
        "Mean ± standard deviation and 95 % interval over seeds; sizes as a share of the dense network's, the mean "
        "itself below. Front: no confirmed configuration of the same method is as good on validation and smaller, "
        f"counted in {words.MEASURE_WORDS[terms.measure]}.",
        [
            head("method"),
            head("configuration"),
            head("front"),
            head("validation", metric, number=True),
            head("test", metric, number=True),
            head("n", number=True),
            *(head(words.MEASURE_WORDS[measure], number=True) for measure in SIZE_MEASURES),
            *(head("latency, ms", f"batch {batch}", number=True) for batch in batches),
        ],
        [_configuration_row(one, task, terms, marks.get(one.method), store, batches) for one in task.configurations],
    )


def _configuration_row(
    one: Configuration, task: TaskComparison, terms: Terms, mark: Mark | None, store: str, batches: Sequence[str]
) -> Markup:
    return element(
        "tr",
        method_head(one.method, mark),
        _what_cell(one, store),
        element("td", "reference" if one.method in terms.dense_labels else "front" if one.on_front else ""),
        estimate_cell(one.validation, mse=one.validation_mse),
        estimate_cell(one.test, mse=one.test_mse),
        element("td", str(one.validation.n), class_="n"),
        *(_size_cell(one, measure) for measure in SIZE_MEASURES),
        *(_latency_cell(one, batch) for batch in batches),
        id=row_id(task.task, one),
    )


def _what_cell(one: Configuration, store: str) -> Markup:
    """Which configuration this is, and how to train it again."""
    commands = [
        element("div", f"seed {seed}: ", rerun_command(key, store))
        for seed, key in zip(one.seeds, one.run_keys, strict=True)
    ]
    return element(
        "td",
        f"#{one.trial} {one.variant}",
        element("small", words.settings({**one.config, **one.settings}) or "defaults"),
        element("details", element("summary", "run again"), *commands),
    )


def _size_cell(one: Configuration, measure: str) -> Markup:
    ratio = one.ratios[measure]
    # Sizes that hardly move with the seed need no second number.
    moves = ratio.std is not None and ratio.std > 0.01 * ratio.mean
    spread = element("small", f"± {words.percent(ratio.std or 0.0, digits=2)}") if moves else Markup()
    return element(
        "td",
        words.percent(ratio.mean),
        spread,
        element("small", words.amount(measure, one.sizes[measure])),
        class_="n",
    )


def _latency_cell(one: Configuration, batch: str) -> Markup:
    if batch not in one.latency_ms:
        return element("td", "not timed", class_="n quiet")
    return element("td", words.milliseconds(one.latency_ms[batch]), class_="n")
