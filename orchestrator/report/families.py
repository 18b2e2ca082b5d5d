"""The confirmed configurations and the figures of one family of methods after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from methods.registry import FAMILIES, family_of
from orchestrator.comparison import TaskComparison, Terms
from orchestrator.report.facts import Facts
from orchestrator.report.inside import inside
from orchestrator.report.marks import Mark
from orchestrator.report.markup import Markup, element
from orchestrator.report.tables import configurations


def family_sections(task: TaskComparison, terms: Terms, marks: Mapping[str, Mark], facts: Facts) -> list[Markup]:
    """For each family that has a confirmed configuration all of them, and what its methods recorded."""
    by_family: dict[str, list[str]] = {}
    for label in dict.fromkeys(one.method for one in task.configurations):
        by_family.setdefault(family_of(facts.methods.get(label, label)), []).append(label)
    parts: list[Markup] = []
    for family in FAMILIES:
        labels = by_family.get(family)
        if labels:
            parts.append(element("section", *_family(family, labels, task, terms, marks, facts), class_="family"))
    return parts


def _family(
    family: str, labels: list[str], task: TaskComparison, terms: Terms, marks: Mapping[str, Mark], facts: Facts
) -> list[Markup]:
    own = replace(
        task,
        configurations=tuple(one for one in task.configurations if one.method in labels),
        methods=tuple(one for one in task.methods if one.method in labels),
        dense=task.dense if task.dense is not None and task.dense.method in labels else None,
    )
    parts = [element("h3", f"Family: {family}"), configurations(own, terms, marks, facts.store)]
    recorded = inside(own, terms, marks, facts.figures)
    if recorded:
        said = "Inside the methods: one run of each, as it was recorded."
        parts += [element("p", said, class_="quiet"), *recorded]
    return parts
