"""The section of one task on its sub-tasks: what class modules are worth beside whole networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orchestrator.report.words as words
from methods.figures import Line, LineChart
from orchestrator.comparison import Configuration, Terms
from orchestrator.report.charts import chart
from orchestrator.report.marks import Mark
from orchestrator.report.markup import Markup, element
from orchestrator.report.picture import row_id, swatch
from orchestrator.report.subtask_words import name, shown_sizes
from orchestrator.report.tables import head, table
from orchestrator.report.tradeoff import module_row_id, tradeoff
from orchestrator.statistics import Estimate
from orchestrator.subtask_comparison import ModularConfiguration, SubtaskComparison, SubtaskCurve, WholeNetwork


def subtask_section(found: SubtaskComparison, terms: Terms, marks: Mapping[str, Mark]) -> list[Markup]:
    """Headline, what is shown, the trade-off, charts by number of classes, the table.

    Args:
        found: What was found on the task's sub-tasks.
        terms: Of the study.
        marks: Colour and shape of each competitor.
    """
    number = found.sizes[-1]
    small = [] if found.dense else [element("p", _WITHOUT_DENSE, class_="quiet")]
    return [
        element("h3", f"Sub-tasks: k of {number} classes"),
        element("p", _explained(found, terms), class_="quiet"),
        *small,
        tradeoff(found),
        element("div", *(chart(figure) for figure in subtask_charts(found)), class_="charts"),
        _table(found, marks),
    ]


_WITHOUT_DENSE = (
    "No dense network with every seed has figures for sub-tasks: it was not confirmed, or graded before sub-tasks were."
)


def _explained(found: SubtaskComparison, terms: Terms) -> str:
    return (
        f"Accuracy on {found.split} samples of k classes, mean over subsets of the classes, against the size of what "
        "is deployed for them: the modules of the classes composed, or a whole network with the other logits cut off. "
        "Drawn below of each method with modules the configuration with the smallest modules whose reuse accuracy is "
        f"within {terms.tolerance:g} of dense on validation, else the most accurate; of other methods the network that "
        "one would deploy."
    )


def subtask_charts(found: SubtaskComparison) -> tuple[LineChart, LineChart]:
    """Accuracy and size of what is deployed against k: the same lines in the same order."""
    curves = dict(_drawn(found))
    return (
        LineChart(
            name="accuracy_by_subtask",
            title=f"{found.split.capitalize()} accuracy on k classes, mean over subsets and seeds",
            x_label="k, number of classes",
            y_label="accuracy",
            lines=tuple(_by_size(label, curve.accuracy(found.split)) for label, curve in curves.items()),
        ),
        LineChart(
            name="size_by_subtask",
            title="What is deployed for k classes, mean over subsets and seeds",
            x_label="k, number of classes",
            y_label="share of the dense network's parameters",
            lines=tuple(_by_size(label, curve.parameters_ratio) for label, curve in curves.items()),
        ),
    )


def _drawn(found: SubtaskComparison) -> Iterator[tuple[str, SubtaskCurve]]:
    for one in found.chosen:
        yield f"{name(one)}, modules composed", one.composed
        yield f"{name(one)}, whole", one.whole
    if found.dense is not None:
        yield f"{found.dense.configuration.method}, whole", found.dense.curve
    for other in found.others:
        yield f"{_named(other.configuration)}, whole", other.curve


def _named(one: Configuration) -> str:
    """Its variant too: a method may deliver several networks, and they differ in size."""
    return f"{one.method} #{one.trial} {one.variant}"


def _by_size(label: str, values: Mapping[int, Estimate]) -> Line:
    return Line(label=label, x=tuple(map(float, values)), y=tuple(one.mean for one in values.values()))


def _table(found: SubtaskComparison, marks: Mapping[str, Mark]) -> Markup:
    n = found.modular[0].module_size.n
    whole = [*([found.dense] if found.dense else []), *found.others]
    return table(
        f"Mean ± standard deviation over n = {n} seed{'s' if n > 1 else ''}, accuracies on {found.split}. Whole: the "
        "network that the modules were cut from, all classes; union: the modules of all classes as one network. Module "
        "size and overlap: parameters of a class module, and parameters that two of them share, as a share of the "
        "whole network's. Kernels kept: share of its convolution kernels that a class module keeps, layer by layer. "
        "Reuse accuracy: mean over all k; below it the difference from dense, paired by seed, with "
        "its 95 % interval. Under each k: parameters, zeros included, and MACs of what is deployed, as a share of the "
        "dense network's.",
        [
            head("configuration"),
            head("whole", "accuracy", number=True),
            head("union", "accuracy", number=True),
            head("module", "size", number=True),
            head("kernels", "kept", number=True),
            head("overlap", number=True),
            head("reuse", "accuracy", number=True),
            *(head(f"k = {k}", number=True) for k in shown_sizes(found)),
        ],
        [
            *(_whole_row(one, found, marks.get(one.configuration.method)) for one in whole),
            *(_modular_row(one, found, marks.get(one.configuration.method)) for one in found.modular),
        ],
    )


def _whole_row(one: WholeNetwork, found: SubtaskComparison, mark: Mark | None) -> Markup:
    configuration = one.configuration
    return element(
        "tr",
        _configuration_cell(
            configuration,
            found,
            mark,
            settings=configuration.settings,
            # A sparse network has as many parameters as before and is small all the same.
            note=f"{words.percent(configuration.ratios['stored_bytes'].mean)} of the stored bytes",
        ),
        _estimate_cell(configuration.score(found.split)),
        *(element("td", "none", class_="n quiet") for _ in range(4)),
        _estimate_cell(one.curve.reuse_accuracy(found.split)),
        *_size_cells(one.curve, found),
    )


def _modular_row(one: ModularConfiguration, found: SubtaskComparison, mark: Mark | None) -> Markup:
    configuration = one.configuration
    chosen = "drawn in the charts above" if one in found.chosen else ""
    union = one.union.score(found.split) if one.union else None
    return element(
        "tr",
        _configuration_cell(configuration, found, mark, settings=one.settings, note=chosen),
        _estimate_cell(configuration.score(found.split)),
        element("td", "none", class_="n quiet") if union is None else _estimate_cell(union),
        _share_cell(one.module_size),
        element("td", "none", class_="n quiet") if one.kernels_kept is None else _share_cell(one.kernels_kept),
        _share_cell(one.module_overlap),
        _reuse_cell(one, found),
        *_size_cells(one.composed, found),
        id=module_row_id(found.task, one),
    )


def _configuration_cell(
    one: Configuration, found: SubtaskComparison, mark: Mark | None, *, settings: Mapping[str, Any], note: str
) -> Markup:
    """Which configuration this is, with the way to its row among all that were confirmed."""
    # That it is the whole network which modules were cut from goes without saying.
    variant = "" if one.variant == "whole" else f" {one.variant}"
    link = element("a", f"{one.method} #{one.trial}{variant}", href=f"#{row_id(found.task, one)}")
    small = words.settings({**one.config, **settings}) or "defaults", note
    lines = (element("small", line) for line in small if line)
    return element("th", element("span", swatch(mark), link, class_="mark"), *lines, scope="row")


def _estimate_cell(found: Estimate) -> Markup:
    return element("td", words.score_and_spread(found), class_="n")


def _reuse_cell(one: ModularConfiguration, found: SubtaskComparison) -> Markup:
    reuse = words.score_and_spread(one.composed.reuse_accuracy(found.split))
    if one.against_dense is None:
        return element("td", reuse, class_="n")
    against = (words.signed(one.against_dense.mean), words.signed_interval(one.against_dense))
    return element("td", reuse, *(element("small", line) for line in against if line), class_="n")


def _share_cell(found: Estimate) -> Markup:
    # What hardly moves with the seed needs no second number.
    moves = found.std is not None and found.std > 0.001 * found.mean
    spread = [element("small", f"± {words.percent(found.std or 0.0, digits=2)}")] if moves else []
    return element("td", words.percent(found.mean), *spread, class_="n")


def _size_cells(curve: SubtaskCurve, found: SubtaskComparison) -> Iterator[Markup]:
    accuracy = curve.accuracy(found.split)
    for k in shown_sizes(found):
        if k not in accuracy:
            yield element("td", "no figures", class_="n quiet")
            continue
        sizes = f"{words.percent(curve.parameters_ratio[k].mean)}, {words.percent(curve.macs_ratio[k].mean)}"
        yield element("td", words.score_and_spread(accuracy[k]), element("small", sizes), class_="n")
