"""What a study says of sub-tasks, in words and lines of a terminal."""

from __future__ import annotations

import orchestrator.report.words as words
from orchestrator.subtask_comparison import ModularConfiguration, SubtaskComparison, SubtaskCurve

_SMALL_SIZES = (2, 3, 5)


def shown_sizes(found: SubtaskComparison) -> tuple[int, ...]:
    """The numbers of classes that tables show: a few small ones and all classes."""
    return tuple(k for k in found.sizes if k in _SMALL_SIZES or k == found.sizes[-1])


def name(one: ModularConfiguration) -> str:
    """`activation_driven #3`."""
    return f"{one.configuration.method} #{one.configuration.trial}"


def subtask_lines(found: SubtaskComparison) -> list[str]:
    """A sentence for each modular method's chosen configuration."""
    return [_sentence(one, found) for one in found.chosen]


def _sentence(one: ModularConfiguration, found: SubtaskComparison) -> str:
    smallest = found.sizes[0]
    reuse = words.score_and_spread(one.composed.reuse_accuracy(found.split))
    start = (
        f"Sub-tasks: class modules of {name(one)} have {words.percent(one.module_size.mean)} of the network's "
        f"parameters each, {words.percent(one.composed.parameters_ratio[smallest].mean)} composed for {smallest} "
        f"classes; reuse accuracy ({found.split}) {reuse}"
    )
    if found.dense is None or one.against_dense is None:
        return f"{start}. No dense network with every seed has sub-task figures to compare with."
    dense = words.score_and_spread(found.dense.curve.reuse_accuracy(found.split))
    difference = f"{words.signed(one.against_dense.mean)} {words.signed_interval(one.against_dense)}".rstrip()
    return f"{start}; dense with the other logits cut off {dense}, difference {difference}."


def subtask_rows(found: SubtaskComparison) -> list[list[str]]:
    """Cells of a table for a terminal, its head first: dense, the chosen modules, other methods' whole networks."""
    head = ["network", "module", "overlap", "reuse accuracy", *(f"k = {k}" for k in shown_sizes(found))]
    plain = [*([found.dense] if found.dense else []), *found.others]
    rows = [[one.configuration.method, "-", "-", *_cells(one.curve, found)] for one in plain]
    for one in found.chosen:
        sizes = words.percent(one.module_size.mean), words.percent(one.module_overlap.mean)
        rows.append([name(one), *sizes, *_cells(one.composed, found)])
    return [head, *rows]


def _cells(curve: SubtaskCurve, found: SubtaskComparison) -> list[str]:
    """Reuse accuracy, then accuracy and size by k."""
    accuracy, size = curve.accuracy(found.split), curve.parameters_ratio
    by_k = (f"{words.score(accuracy[k].mean)} ({words.percent(size[k].mean)})" for k in shown_sizes(found))
    return [words.score_and_spread(curve.reuse_accuracy(found.split)), *by_k]
