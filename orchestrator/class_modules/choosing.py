"""Which run's module stands for each class of a composition across runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from methods.contract import Split
from methods.modules.reuse import best_modules, module_f1
from orchestrator.class_modules.sources import SourceRun, Wish
from orchestrator.errors import ExportRefused

F1 = Mapping[str, Mapping[str, float]]
"""Run key -> class -> F1 of its module, not a number where it is not defined."""


@dataclass(frozen=True)
class Choice:
    """The module that stands for a class."""

    class_name: str
    run_key: str
    method: str
    f1: float | None
    """One-vs-rest; None where it is not defined."""
    pinned: bool
    """Whether the run was asked for by name."""
    f1_by_run: dict[str, float | None]
    """Of all runs that know the class."""

    @property
    def next_best(self) -> float | None:
        """The best F1 among the other runs; None where there is none."""
        others = [f1 for key, f1 in self.f1_by_run.items() if key != self.run_key and f1 is not None]
        return max(others, default=None)


def f1_on(split: Split, names: Sequence[str], sources: Sequence[SourceRun]) -> F1:
    """The F1 of the runs' modules on common samples, each by its own decision (see `module_f1`).

    Args:
        split: Its targets number `names`.
    """
    found = {}
    for source in sources:
        known = source.library.class_names
        # Other classes get targets that no sample has.
        labels = [names.index(name) if name in names else -1 - place for place, name in enumerate(known)]
        values = module_f1(source.library, split, labels=labels, normalization=source.normalization, device="cpu")
        found[source.key] = dict(zip(known, values, strict=True))
    return found


def f1_as_stored(sources: Sequence[SourceRun]) -> F1:
    """The F1 that each run was stored with: of its class in the composition of all, on its own validation samples."""
    return {
        source.key: {card.class_name: card.f1 for card in source.result.modules.cards} if source.result.modules else {}
        for source in sources
    }


def choose(wishes: Sequence[Wish], sources: Sequence[SourceRun], f1: F1) -> list[Choice]:
    """For each class the run that was asked for by name, else the one with the best F1, of equal ones the first.

    Raises:
        ExportRefused: Several runs know a class, and none of them has an F1 for it.
    """
    return [_choice(wish, [source for source in sources if source.knows(wish.class_name)], f1) for wish in wishes]


def _choice(wish: Wish, knowing: Sequence[SourceRun], f1: F1) -> Choice:
    name = wish.class_name
    values = {source.key: f1[source.key].get(name, math.nan) for source in knowing}
    if wish.run_key is not None:
        chosen = next(source for source in knowing if source.key == wish.run_key)
    elif len(knowing) == 1:
        [chosen] = knowing
    else:
        try:
            [place] = best_modules([[value] for value in values.values()])
        except ValueError as error:
            raise ExportRefused(
                f"class '{name}': no run that knows it has validation samples of it, so none is the best; choose one "
                f"with --class {knowing[0].key}:{name}"
            ) from error
        chosen = knowing[place]
    defined = {key: None if math.isnan(value) else value for key, value in values.items()}
    return Choice(
        class_name=name,
        run_key=chosen.key,
        method=chosen.result.run.method,
        f1=defined[chosen.key],
        pinned=wish.run_key is not None,
        f1_by_run=defined,
    )
