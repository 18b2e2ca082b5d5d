"""Numbers and verdicts in words, the same on the page and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.comparison import Comparison, Configuration, SizeRange, TaskComparison, Terms, Verdict
from orchestrator.report.facts import SharedRun
from orchestrator.statistics import Estimate, interval_kind, t_reach
from orchestrator.tolerance import within

MEASURE_WORDS = {
    "parameters": "parameters",
    "nonzeros": "non-zeros",
    "stored_bytes": "stored bytes",
    "macs": "MACs",
}
METRIC_WORDS = {"accuracy": "accuracy", "r2": "R²"}


def score(value: float) -> str:
    # z: a score that rounds to 0 from below is 0.
    return f"{value:z.3f}"


def score_and_spread(found: Estimate) -> str:
    """`0.961 ± 0.004`: mean and standard deviation; the mean alone for one seed."""
    return score(found.mean) if found.std is None else f"{score(found.mean)} ± {score(found.std)}"


def squared_error(value: float) -> str:
    """A mean squared error in the square of whatever unit: `3,021`, `0.0412`, `2.31e-06`; three digits that count."""
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e9:
        return f"{value:.2e}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def mse_and_spread(found: Estimate | None) -> str:
    """`MSE 3,021 ± 112`; empty for classification."""
    if found is None:
        return ""
    spread = "" if found.std is None else f" ± {squared_error(found.std)}"
    return f"MSE {squared_error(found.mean)}{spread}"


def interval(found: Estimate) -> str:
    """`[0.952, 0.970]`, or `no interval` for one seed."""
    if found.low is None or found.high is None:
        return "no interval"
    return f"[{score(found.low)}, {score(found.high)}]"


def percent(ratio: float, *, digits: int = 3) -> str:
    """A share with so many significant digits: `100 %`, `25.3 %`, `4.17 %`, `0.0520 %`."""
    value = 100 * ratio
    if value < 1e-4 or value >= 99.95:
        return f"{value:.0f} %"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(value)))}f} %"


def budget_percent(ratio: float) -> str:
    """A size budget as its author wrote it: `5 %`, `12.5 %`."""
    return f"{100 * ratio:.4g} %"


def amount(measure: str, value: float) -> str:
    """A size: `466,906`, `69.1 million`, `12.3 kB`."""
    units = {"MB": 1e6, "kB": 1e3} if measure == "stored_bytes" else {"million": 1e6}
    for unit, size in units.items():
        if value >= size:
            return f"{value / size:,.1f} {unit}"
    return f"{value:,.0f} B" if measure == "stored_bytes" else f"{value:,.0f}"


def milliseconds(value: float) -> str:
    """`0.307`, `23.1`: three significant digits, so that columns line up."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:,.1f}"


def duration(seconds: float) -> str:
    """`8 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"


def settings(values: Mapping[str, Any]) -> str:
    """`eta=1.05, width=0.5`; empty for none."""
    return ", ".join(f"{name}={value(given)}" for name, given in values.items())


def value(given: object) -> str:
    """A setting: floats with four digits that count."""
    return f"{given:.4g}" if isinstance(given, float) else str(given)


def signed(value: float, digits: int = 3) -> str:
    """`+0.004`, `−0.012`; what rounds to 0 has no minus."""  # noqa: RUF002 a minus, as in the tables
    return f"{value:+z.{digits}f}".replace("-", "−")  # noqa: RUF001 likewise


def signed_interval(found: Estimate) -> str:
    """`[−0.002, +0.010]`; empty for one seed."""  # noqa: RUF002 likewise
    return "" if found.low is None or found.high is None else f"[{signed(found.low)}, {signed(found.high)}]"


def evidence(one: Verdict) -> str:
    """What a verdict rests on: `by +0.021, p = 0.013`."""
    certainty = "one seed" if one.p_value is None else "p < 0.001" if one.p_value < 0.001 else f"p = {one.p_value:.3f}"
    return f"by {signed(one.difference.mean)}, {certainty}"


def task_lines(task: TaskComparison, terms: Terms) -> list[str]:
    """What the study says about one task, a sentence or two each."""
    if not task.configurations:
        return ["No configuration has been trained with every seed yet, so nothing can be compared."]
    lines = [_within_tolerance(task, terms), *_over_all_sizes(task), *_extra_seeds(task)]
    lines += [*_without_answer(task), *_without_variance(task)]
    return [line for line in lines if line]


def _within_tolerance(task: TaskComparison, terms: Terms) -> str:
    if task.dense is None:
        return "There is no dense network with every seed, so loss against dense cannot be stated."
    reference = task.dense.score(task.split)
    figures = f"{score(reference.mean)}{_mse(task.dense, task)}"
    start = f"Within {terms.tolerance:g} of dense ({task.split} {METRIC_WORDS[task.metric]} {figures})"
    reached = [(one.method, one.within_tolerance) for one in task.methods if one.within_tolerance]
    ranked = sorted(reached, key=lambda item: item[1].ratios[terms.measure].mean)
    if not ranked:
        return f"{start}, no method is smaller." if task.methods else f"{start}: nothing was compared with it."
    named = "; ".join(_reached(method, one, task, terms) for method, one in ranked)
    rest = sorted({one.method for one in task.methods} - {method for method, _ in ranked})
    missing = f" Not within: {', '.join(rest)}." if rest else ""
    return f"{start}, by share of its {MEASURE_WORDS[terms.measure]}: {named}.{missing}"


def _reached(method: str, one: Configuration, task: TaskComparison, terms: Terms) -> str:
    assert task.dense is not None
    found = one.score(task.split)
    dense = task.dense.score(task.split).mean
    # Chosen by validation: that the test agrees is not certain, and a reader must see when it does not.
    agrees = within(found.mean, dense, terms.tolerance)
    doubt = "" if agrees else f", but {score(dense - found.mean)} below dense on {task.split}"
    return f"{method} {percent(one.ratios[terms.measure].mean)} ({score(found.mean)}{_mse(one, task)}{doubt})"


def _mse(one: Configuration, task: TaskComparison) -> str:
    """`, MSE 3,021`; empty for classification."""
    found = one.mse(task.split)
    return f", MSE {squared_error(found.mean)}" if found else ""


def _over_all_sizes(task: TaskComparison) -> list[str]:
    measured = {one.method: one.hypervolume for one in task.methods if one.hypervolume is not None}
    if len(measured) < 2:
        return []
    best = max(sorted(measured), key=lambda method: measured[method].mean)
    parts: dict[str, list[str]] = {}
    for one in task.verdicts:
        if one.budget is None and best in (one.first, one.second):
            other = one.second if one.first == best else one.first
            word = "not distinguishable from" if one.word == "not distinguishable" else "better than"
            parts.setdefault(word, []).append(other)
    named = "; ".join(f"{word} {', '.join(parts[word])}" for word in sorted(parts))
    return [f"Over all sizes, {best} has the largest hypervolume ({score(measured[best].mean)}): {named}."]


def _extra_seeds(task: TaskComparison) -> list[str]:
    if not task.extra_runs:
        return []
    runs, seeds = sum(task.extra_runs.values()), ", ".join(map(str, task.extra_runs))
    return [
        f"Extra seeds: {runs} further runs (seeds {seeds}) of configurations that validation could not tell apart; "
        "differences are paired by the seeds that both sides have, hypervolumes by those of the study."
    ]


def _without_answer(task: TaskComparison) -> list[str]:
    missing = [f"{one.method} ({one.no_answer})" for one in task.methods if one.no_answer]
    return [f"No answer here: {'; '.join(missing)}."] if missing else []


def _without_variance(task: TaskComparison) -> list[str]:
    scores = {value for one in task.configurations for value in one.score(task.split).values}
    if len(task.configurations) < 2 or len(scores) > 1:
        return []
    return [
        f"Every network has the same {task.split} {METRIC_WORDS[task.metric]} with every seed, so this task tells "
        "nothing apart: give it more samples, or make it harder."
    ]


def size_range(found: SizeRange | None) -> str:
    """`[7.0 %, 25 %]`; `none` as an end where a resample in forty has no configuration within tolerance; or empty."""
    if found is None or found.low is None:
        return ""
    return f"[{percent(found.low)}, {'none' if found.high is None else percent(found.high)}]"


def unequal_effort(task: TaskComparison) -> str:
    """A sentence where methods had the same trials but not the same time; empty where times are within a factor of 2.

    Methods of a single trial have nothing to search.
    """
    seconds = {one.method: one.effort.search_seconds for one in task.methods if one.effort and one.effort.trials > 1}
    if len(seconds) < 2 or min(seconds.values()) <= 0:
        return ""
    least, most = (choose(sorted(seconds), key=lambda method: seconds[method]) for choose in (min, max))
    if seconds[most] <= 2 * seconds[least]:
        return ""
    return (
        f"Budgets are equal in trials, not in time: the search of {most} took {duration(seconds[most])} of a device, "
        f"{seconds[most] / seconds[least]:.0f} times that of {least}."
    )


def mixtures(environment: Mapping[str, Sequence[str]]) -> list[str]:
    """What a reader must know where results come from different code, versions or hardware."""
    names = {"git": "versions of the code", "torch": "versions of PyTorch", "cpu": "processors", "gpu": "GPUs"}
    return [
        f"they come from {len(environment[name])} {what} ({', '.join(environment[name])}); differences between methods "
        "may be differences between these."
        for name, what in names.items()
        if len(environment.get(name, ())) > 1
    ]


def sharing(shared: Sequence[SharedRun]) -> str:
    """What it spared that runs were trained once for all that start from them; empty where none does."""
    if not shared:
        return ""
    spent = sum(one.fit_seconds for one in shared)
    anew = sum(one.fit_seconds * one.uses for one in shared)
    methods = ", ".join(sorted({one.method for one in shared}))
    return (
        f"{sum(one.uses for one in shared)} runs start from a trained network ({methods}) of their task and seed. Each "
        f"of these {len(shared)} was trained once, {duration(spent)} in all; trained anew for every run it would have "
        f"been {duration(anew)}."
    )


def limits(comparison: Comparison) -> list[str]:
    """What the figures cannot say."""
    n = len(comparison.terms.seeds)
    if n == 1:
        return ["One seed: there is no spread, no interval, and no two methods can be told apart. Use 3 or more."]
    said = {
        "t": "Student's t, as a bootstrap of so few values is too narrow",
        "bootstrap": "bootstrap over seeds, widened for their number",
    }
    lines = [f"Intervals hold the mean over seeds with 95 % (n = {n}; {said[interval_kind(n)]})."]
    if n < 6:
        lines.append(
            f"With {n} seeds an interval reaches {t_reach(n):.1f} standard deviations either way: small differences "
            "cannot be shown, and 'not distinguishable' does not mean equal."
        )
    lines.append("They speak of new seeds on the same samples, not of other test samples.")
    return lines
