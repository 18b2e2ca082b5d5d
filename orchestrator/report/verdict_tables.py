"""Who differs from whom: a matrix of all methods in each respect, and every pair with its evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import orchestrator.report.words as words
from orchestrator.comparison import MINIMUM_EFFECT, SIGNIFICANCE, TaskComparison, Terms, Verdict
from orchestrator.report.markup import Markup, element
from orchestrator.report.tables import head, table

_SIGNS = {"better": "▲", "worse": "▼", "not distinguishable": "≈"}
_TURNED = {"better": "worse", "worse": "better", "not distinguishable": "not distinguishable"}


def verdict_section(task: TaskComparison, terms: Terms) -> list[Markup]:
    """A matrix for each respect, then the list of pairs, folded."""
    respects = (None, *terms.size_budgets)
    methods = [one.method for one in task.methods]
    by_respect = {respect: [one for one in task.verdicts if one.budget == respect] for respect in respects}
    matrices = [_matrix(respect, methods, found) for respect, found in by_respect.items() if found]
    doubled = ", doubled for the second look at the results that extra seeds are" if terms.extra_seeds else ""
    rules = (
        f"On {task.split}, paired by seed. Better or worse: p < {SIGNIFICANCE:g} in a paired t test after Holm's "
        f"correction for all pairs of a matrix{doubled}, and means that differ by at least {MINIMUM_EFFECT:g}. Scatter "
        "that is small by chance is raised to what the other pairs lead one to expect (moderated t test), and a score "
        "counts as uncertain by its rounding. "
        "≈ does not mean equal: it means that these seeds cannot tell."
    )
    legend = "Read along a row: ▲ the method of the row is better, ▼ it is worse, ≈ not distinguishable."
    every = element("details", element("summary", "every pair with its difference"), _pairs(task, respects))
    return [
        element("p", rules, class_="quiet"),
        element("p", legend, class_="quiet"),
        element("div", *matrices, class_="matrices"),
        every,
    ]


def _matrix(respect: float | None, methods: list[str], verdicts: Iterable[Verdict]) -> Markup:
    """Rows and columns: the methods that have something to show in this respect."""
    found: dict[tuple[str, str], Verdict] = {}
    turned: dict[tuple[str, str], str] = {}
    for one in verdicts:
        found[one.first, one.second] = found[one.second, one.first] = one
        turned[one.first, one.second], turned[one.second, one.first] = one.word, _TURNED[one.word]
    shown = [method for method in methods if any(method in pair for pair in found)]
    # Best first: a method stands above those that it is better than.
    wins = {m: sum((turned.get((m, o)) == "better") - (turned.get((m, o)) == "worse") for o in shown) for m in shown}
    shown.sort(key=lambda method: (-wins[method], method))
    rows = [
        element(
            "tr",
            element("th", row, scope="row"),
            *(_cell(row, column, turned, found) for column in shown),
        )
        for row in shown
    ]
    names = [element("th", element("span", method), scope="col", class_="turned") for method in shown]
    return table(_name(respect), [head("method"), *names], rows)


def _cell(
    row: str, column: str, word_of: Mapping[tuple[str, str], str], found: Mapping[tuple[str, str], Verdict]
) -> Markup:
    if row == column:
        return element("td", "", class_="own")
    word = word_of[row, column]
    kind = word if word != "not distinguishable" else "quiet"
    said = f"{row} {word if word != 'not distinguishable' else 'not distinguishable from'} {column}"
    sign = element("span", _SIGNS[word], role="img", aria_label=said)
    return element("td", sign, class_=f"sign {kind}", title=f"{said}: {words.evidence(found[row, column])}")


def _name(respect: float | None) -> str:
    return "Hypervolume" if respect is None else f"Score at {words.budget_percent(respect)}"


def _pairs(task: TaskComparison, respects: Iterable[float | None]) -> Markup:
    """Rows: pairs of methods. Columns: hypervolume and size budgets."""
    found = {(one.first, one.second, one.budget): one for one in task.verdicts}
    listed = list(respects)
    rows = [
        element(
            "tr",
            element("th", f"{first} against {second}", scope="row"),
            *(_pair_cell(found.get((first, second, respect))) for respect in listed),
        )
        for first, second in combinations(sorted(one.method for one in task.methods), 2)
    ]
    return table(
        "The first method compared with the second: difference of the means and corrected p.",
        [head("methods"), *(head(_name(respect)) for respect in listed)],
        rows,
    )


def _pair_cell(one: Verdict | None) -> Markup:
    if one is None:
        return element("td", "nothing to compare", class_="quiet")
    kind = one.word if one.word != "not distinguishable" else "quiet"
    return element("td", f"{_SIGNS[one.word]} {one.word}", element("small", words.evidence(one)), class_=kind)
