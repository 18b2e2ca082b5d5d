"""What a study says on its second axis: accuracy on k of N classes, and the size of what serves them.

Two things can serve k classes: the modules of these classes composed, or a whole network whose other logits are cut
off. Whole networks are the dense one, the one that the modules were cut from, and of each other method the one that
one would deploy. The rules are those of `comparison`: configurations with every seed, chosen by validation, shown on
test once that is open for all of them. Pure: it works on rows of the study's tables and knows no store.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

from orchestrator.comparison import Configuration, Row, Split, TaskComparison, Terms
from orchestrator.deployment import deployed
from orchestrator.fronts import pareto_front
from orchestrator.statistics import Estimate, estimate
from orchestrator.subtask_table import COMPOSED, WHOLE
from orchestrator.tolerance import within

_ALL_COMPOSED = ("union", "composed")
"""The labels under which modular methods deliver the modules of all classes: as one network, or side by side."""


@dataclass(frozen=True)
class SubtaskCurve:
    """What serves k of N classes, for every k; one value per seed each."""

    validation: Mapping[int, Estimate]
    """k -> accuracy on samples of the k classes, mean over subsets of the classes; ascending by k, at least one."""
    test: Mapping[int, Estimate] | None
    """None until the test split is opened."""
    parameters_ratio: Mapping[int, Estimate]
    """k -> parameters of what is deployed as a share of the dense network's."""
    macs_ratio: Mapping[int, Estimate]
    """Multiply-accumulates likewise."""

    def accuracy(self, split: Split) -> Mapping[int, Estimate]:
        """By k on one split; on validation while there is none on test."""
        return self.test if split == "test" and self.test is not None else self.validation

    def reuse_accuracy(self, split: Split) -> Estimate:
        """Unweighted mean over k: the single figure by which the paper of MODA compares."""
        by_k = [one.values for one in self.accuracy(split).values()]
        return estimate([sum(values) / len(values) for values in zip(*by_k, strict=True)], highest=1.0)


@dataclass(frozen=True)
class WholeNetwork:
    """A confirmed network of which all is deployed, whatever k."""

    configuration: Configuration
    curve: SubtaskCurve


@dataclass(frozen=True)
class ModularConfiguration:
    """One configuration of a modular method, trained with every seed."""

    configuration: Configuration
    """The whole network that the modules were cut from."""
    settings: Mapping[str, Any]
    """How units were chosen, e.g. `{"threshold": 0.9}`."""
    module_size: Estimate
    """Parameters of a class module as a share of the whole network's, mean over classes."""
    module_overlap: Estimate
    """Parameters that two class modules share, likewise, mean over pairs."""
    kernels_kept: Estimate | None
    """Share of the convolution kernels that a class module keeps, mean over classes; None where there are none, or for
    runs graded before it was counted."""
    composed: SubtaskCurve
    whole: SubtaskCurve
    """Of the network that the modules were cut from."""
    union: Configuration | None
    """The modules of all classes as one delivered network."""
    against_dense: Estimate | None
    """Composed reuse accuracy less that of the dense network, paired by seed; None without dense."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Of the method's fields, as far as they are known; `configuration.config` holds what differs."""
    on_front: bool = False
    """Whether no other configuration of its method has both smaller modules and more reuse accuracy on validation."""


@dataclass(frozen=True)
class SubtaskComparison:
    """Everything there is to say about the sub-tasks of one task."""

    task: str
    split: Split
    """Where all figures come from: `test` once all that is shown has its test figures, never a mixture."""
    sizes: tuple[int, ...]
    """Every k, ascending; the last is the number of classes."""
    dense: WholeNetwork | None
    """None without confirmed dense network, or where that was graded before sub-tasks were."""
    modular: tuple[ModularConfiguration, ...]
    """All confirmed ones; by method, then smallest modules first. At least one."""
    chosen: tuple[ModularConfiguration, ...]
    """One of each modular method: that with the smallest modules whose reuse accuracy is within tolerance of dense on
    validation, else the most accurate one."""
    others: tuple[WholeNetwork, ...]
    """Of each method without modules the network that one would deploy."""


def compare_task(
    task: TaskComparison, rows: Iterable[Row], results: Iterable[Row], terms: Terms
) -> SubtaskComparison | None:
    """Compare what serves sub-tasks of one task.

    Args:
        task: What was found on all its classes.
        rows: Of the table of sub-tasks, in any order, of this task and others.
        results: Of the results table, likewise.
        terms: What to compare by.

    Returns:
        None when no confirmed configuration has class modules.
    """
    tables = _Tables(rows, results)
    modular = [one for found in task.configurations if (one := _modular(found, task, tables))]
    if not modular:
        return None
    dense = _whole(task.dense, tables) if task.dense else None
    with_modules = {one.configuration.method for one in modular}
    plain = [one.configuration for one in deployed(task, terms) if one.configuration.method not in with_modules]
    others = tuple(whole for found in plain if (whole := _whole(found, tables)))
    curves = [curve for one in modular for curve in (one.composed, one.whole)]
    curves += [one.curve for one in (*others, *([dense] if dense else []))]
    tested = all(one.test for one in (task.configurations)) and all(curve.test for curve in curves)
    split: Split = "test" if tested else "validation"
    modular = _mark_fronts([replace(one, against_dense=_difference(one, dense, split)) for one in modular])
    return SubtaskComparison(
        task=task.task,
        split=split,
        sizes=tuple(modular[0].composed.validation),
        dense=dense,
        modular=tuple(modular),
        chosen=tuple(_choose(method, modular, dense, terms) for method in _methods(modular)),
        others=others,
    )


class _Tables:
    """Rows by what they speak of; a run that was searched and confirmed has the same figures twice."""

    def __init__(self, rows: Iterable[Row], results: Iterable[Row]) -> None:
        self._rows: dict[tuple[str, str, str], dict[int, Row]] = {}
        for row in rows:
            place = row["run_key"], row["network"], row["variant"]
            self._rows.setdefault(place, {})[row["num_classes"]] = row
        self._modules = {row["run_key"]: row for row in results}

    def by_seed(self, configuration: Configuration, network: str) -> list[dict[int, Row]] | None:
        """Of each seed's run the rows by k; None where a seed has none."""
        found = [self._rows.get((key, network, configuration.variant)) for key in configuration.run_keys]
        known = [one for one in found if one]
        return known if len(known) == len(found) else None

    def of_modules(self, configuration: Configuration, column: str) -> Estimate | None:
        """A figure of the results table on class modules; None where a seed has none."""
        values = [value for key in configuration.run_keys if _is_known(value := self._modules[key].get(column))]
        return estimate(values) if len(values) == len(configuration.run_keys) else None


def _modular(found: Configuration, task: TaskComparison, tables: _Tables) -> ModularConfiguration | None:
    composed, whole = tables.by_seed(found, COMPOSED), _whole(found, tables)
    curve = _curve(composed) if composed else None
    if composed is None or curve is None or whole is None:
        return None
    size, overlap = (tables.of_modules(found, name) for name in ("module_size", "module_overlap"))
    if size is None or overlap is None:
        return None
    return ModularConfiguration(
        configuration=found,
        settings=json.loads(next(iter(composed[0].values()))["settings"] or "{}"),
        module_size=size,
        module_overlap=overlap,
        kernels_kept=tables.of_modules(found, "kernels_kept"),
        composed=curve,
        whole=whole.curve,
        union=next(
            (one for one in task.configurations if one.run_keys == found.run_keys and one.variant in _ALL_COMPOSED),
            None,
        ),
        against_dense=None,
    )


def _whole(found: Configuration, tables: _Tables) -> WholeNetwork | None:
    rows = tables.by_seed(found, WHOLE)
    curve = _curve(rows) if rows else None
    return WholeNetwork(found, curve) if curve else None


def _curve(by_seed: Sequence[Mapping[int, Row]]) -> SubtaskCurve | None:
    """None where no k has a validation accuracy with every seed: a split may lack all samples of a class."""
    common = sorted(set.intersection(*(set(rows) for rows in by_seed)))

    def column(name: str, *, highest: float = math.inf) -> dict[int, Estimate]:
        values = {k: [rows[k][name] for rows in by_seed] for k in common}
        return {k: estimate(v, highest=highest) for k, v in values.items() if all(map(_is_known, v))}

    validation, test = column("val_accuracy", highest=1.0), column("test_accuracy", highest=1.0)
    if not validation:
        return None
    sizes = column("parameters_ratio"), column("macs_ratio")
    return SubtaskCurve(validation, test if list(test) == list(validation) else None, *sizes)


def _is_known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _difference(one: ModularConfiguration, dense: WholeNetwork | None, split: Split) -> Estimate | None:
    if dense is None or list(dense.curve.validation) != list(one.composed.validation):
        return None
    # The seeds of the study come first in both; extra ones of a side have no counterpart.
    pairs = zip(one.composed.reuse_accuracy(split).values, dense.curve.reuse_accuracy(split).values, strict=False)
    return estimate([composed - reference for composed, reference in pairs])


def _mark_fronts(modular: Sequence[ModularConfiguration]) -> list[ModularConfiguration]:
    """All of them by method, smallest modules first, with the members of each method's front marked."""
    ordered = sorted(modular, key=lambda one: (_method(one), one.module_size.mean, one.configuration.trial))
    marked: list[ModularConfiguration] = []
    for method in _methods(ordered):
        own = [one for one in ordered if _method(one) == method]
        front = set(pareto_front([(_reuse(one), one.module_size.mean) for one in own]))
        marked += [replace(one, on_front=i in front) for i, one in enumerate(own)]
    return marked


def _choose(
    method: str, modular: Sequence[ModularConfiguration], dense: WholeNetwork | None, terms: Terms
) -> ModularConfiguration:
    own = [one for one in modular if _method(one) == method]
    if dense is not None:
        reference = dense.curve.reuse_accuracy("validation").mean
        reached = [one for one in own if within(_reuse(one), reference, terms.tolerance)]
        if reached:
            return min(reached, key=lambda one: (one.module_size.mean, -_reuse(one)))
    return max(own, key=lambda one: (_reuse(one), -one.module_size.mean))


def _reuse(one: ModularConfiguration) -> float:
    return one.composed.reuse_accuracy("validation").mean


def _method(one: ModularConfiguration) -> str:
    return one.configuration.method


def _methods(modular: Sequence[ModularConfiguration]) -> list[str]:
    return sorted({_method(one) for one in modular})
