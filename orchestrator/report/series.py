"""Modular configurations as the lines of a trade-off: one line where only the choice of units differs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orchestrator.report.words as words
from orchestrator.subtask_comparison import ModularConfiguration


@dataclass(frozen=True)
class Series:
    """Configurations that are drawn alike."""

    label: str
    points: tuple[ModularConfiguration, ...]
    """Smallest modules first."""
    names: tuple[str, ...]
    """What to write beside each point."""
    named_by: str
    """What the names are."""
    joined: bool
    """Whether they are the same trained network cut in different ways, so that a line through them says something."""


def series_of(modular: Iterable[ModularConfiguration]) -> tuple[Series, ...]:
    """Group the configurations of each method, methods in alphabetical order.

    Those that differ in nothing but how units were chosen, e.g. a threshold, are joined. A method of which no two can
    be joined is one series without a line.
    """
    by_method: dict[str, list[ModularConfiguration]] = {}
    for one in sorted(modular, key=lambda one: (one.module_size.mean, one.configuration.trial)):
        by_method.setdefault(one.configuration.method, []).append(one)
    return tuple(series for method in sorted(by_method) for series in _of_method(method, by_method[method]))


def _of_method(method: str, own: list[ModularConfiguration]) -> list[Series]:
    chosen_by = {name for one in own for name in one.settings}
    groups: dict[str, list[ModularConfiguration]] = {}
    for one in own:
        groups.setdefault(json.dumps(_trained(one, chosen_by), sort_keys=True), []).append(one)
    cut_by = _varying([one.settings for one in own])
    if all(len(group) == 1 for group in groups.values()) or len(cut_by) != 1:
        joinable = len(groups) == 1
        # A single one needs no telling apart.
        names = tuple(f"#{one.configuration.trial}" if len(own) > 1 else "" for one in own)
        return [Series(method, tuple(own), names, "number of the configuration", joined=joinable and len(own) > 1)]
    told_apart = _varying([_trained(group[0], chosen_by) for group in groups.values()])
    found = []
    for group in groups.values():
        trained = _trained(group[0], chosen_by)
        whole = {**group[0].defaults, **trained}
        label = ", ".join([method, *(f"{name} {words.value(whole.get(name, 'default'))}" for name in told_apart)])
        names = tuple(words.value(one.settings.get(cut_by[0], "default")) for one in group)
        found.append(Series(label, tuple(group), names, cut_by[0], joined=len(group) > 1))
    return sorted(found, key=lambda one: one.label)


def _trained(one: ModularConfiguration, chosen_by: set[str]) -> Mapping[str, Any]:
    """What it was trained with, as far as that differs from the defaults."""
    return {name: value for name, value in one.configuration.config.items() if name not in chosen_by}


def _varying(given: list[Mapping[str, Any]]) -> list[str]:
    """Names of the settings in which they are not all alike."""
    names = sorted({name for one in given for name in one})
    return [name for name in names if any(one.get(name) != given[0].get(name) for one in given)]
