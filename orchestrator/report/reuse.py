"""Reuse of class modules on the page: weak networks mended, new tasks made."""

from __future__ import annotations

from collections.abc import Mapping

import orchestrator.report.words as words
from orchestrator.report.markup import Markup, element
from orchestrator.report.reuse_words import NAMES, gain, reuse_lines, times
from orchestrator.report.tables import head, table
from orchestrator.reuse.summary import MEASURES, NewTaskSummary, PatchSummary, Reuse
from orchestrator.statistics import Estimate


def reuse_section(found: Reuse) -> list[Markup]:
    """Sentences, then a table of patches and one of new tasks."""
    parts = [element("ul", *(element("li", line) for line in reuse_lines(found)))]
    if found.patches:
        parts.append(
            table(
                f"Weak networks with one class at a time mended by a module, without training them: {found.split} "
                "figures of the patched class and accuracy on all other classes, in points, mean over classes; after "
                "minus before, 95 % interval over seeds. MACs: a multiple of the weak network's. Over control: against "
                "the weak network behind a linear layer trained without any module.",
                [
                    head("weak network"),
                    head("modules of"),
                    head("way"),
                    head("before: F1,", "other classes", number=True),
                    *(head("gain:", NAMES[name], number=True) for name in MEASURES),
                    head("over control:", "F1, other classes", number=True),
                ],
                [_patch_row(one) for one in found.patches],
            )
        )
    if found.new_tasks:
        parts.append(
            table(
                f"Tasks made of modules of several networks, without training: {found.split} accuracy against a "
                "network trained for the task; 95 % interval of the difference over seeds.",
                [
                    head("task"),
                    head("modules of"),
                    head("composed", number=True),
                    head("from scratch", number=True),
                    head("difference", number=True),
                    head("MACs", number=True),
                ],
                [_task_row(one) for one in found.new_tasks],
            )
        )
    return parts


def _patch_row(one: PatchSummary) -> Markup:
    over = one.over_control
    before = [f"{100 * one.before[name].mean:.1f}" for name in ("f1", "others")]
    return element(
        "tr",
        element("th", one.weak, scope="row"),
        element("td", one.strong),
        element("td", one.way, element("small", f"{times(one.macs_ratio)} the MACs, n = {one.gain['f1'].n}")),
        element("td", before[0], element("small", before[1]), class_="n"),
        *(_gain_cell(one.gain[name]) for name in MEASURES),
        element("td", *(_over(over) if over else ()), class_="n"),
    )


def _over(over: Mapping[str, Estimate]) -> tuple[str, Markup]:
    shown = {name: " ".join(gain(over[name])) for name in ("f1", "others")}
    return shown["f1"], element("small", shown["others"])


def _gain_cell(found: Estimate) -> Markup:
    mean, interval = gain(found)
    return element("td", mean, element("small", interval), class_="n")


def _task_row(one: NewTaskSummary) -> Markup:
    mean, interval = gain(one.difference)
    return element(
        "tr",
        element("th", one.task, scope="row"),
        element("td", one.strong),
        element("td", words.score_and_spread(one.accuracy), class_="n"),
        element("td", words.score_and_spread(one.scratch), class_="n"),
        element("td", mean, element("small", interval), class_="n"),
        element("td", times(one.macs_ratio), class_="n"),
    )
