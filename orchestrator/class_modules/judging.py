"""On which samples modules of several runs are judged: the same ones for all runs.

Shapes: N = samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from methods.contract import Split
from orchestrator.class_modules.naming import few
from orchestrator.class_modules.sources import SourceRun, Wish
from orchestrator.samples import SamplesMissing, task_of


@dataclass(frozen=True)
class Judging:
    """Validation samples of the classes that were asked for."""

    split: Split
    """Targets number these classes, in the order they were asked for."""
    told: str
    """Whose samples they are."""
    doubt: str = ""
    """Why a figure on them may flatter a module; empty: nothing speaks for it."""


def judging_samples(sources: Sequence[SourceRun], wishes: Sequence[Wish]) -> Judging:
    """Validation samples of some classes, on which every run's modules can be judged.

    Where all runs validate on the same samples, as tasks of one data set do that differ in `skew`, these are taken.
    Otherwise the samples of a class are those of the run that was asked for by name, else of the first run that knows
    it: one run's samples and not all of them, so that a class counts once however many runs know it.

    Raises:
        SamplesMissing: Those of some run cannot be had any more.
    """
    validation = [_validation(source) for source in sources]
    if _shared(sources, validation):
        owners = [0] * len(wishes)
        told = f"the validation samples of task '{sources[0].result.run.task_name}', which are those of all runs"
        doubt = ""
    else:
        owners = [_owner(wish, sources) for wish in wishes]
        told = _told(sources, wishes, owners)
        doubt = _doubt(sources, wishes)
    parts = [
        _samples(sources[owner], validation[owner], wish.class_name, place)
        for place, (owner, wish) in enumerate(zip(owners, wishes, strict=True))
    ]
    return Judging(
        Split(torch.cat([part.inputs for part in parts]), torch.cat([part.targets for part in parts])), told, doubt
    )


def _validation(source: SourceRun) -> Split:
    try:
        return task_of(source.result).validation
    except SamplesMissing as missing:
        raise SamplesMissing(f"run {source.key}: {missing}") from missing


def _shared(sources: Sequence[SourceRun], validation: Sequence[Split]) -> bool:
    fingerprints = {source.result.run.data_fingerprint for source in sources}
    first = validation[0]
    return len(fingerprints) == 1 and all(
        torch.equal(split.targets, first.targets) and torch.equal(split.inputs, first.inputs)
        for split in validation[1:]
    )


def _owner(wish: Wish, sources: Sequence[SourceRun]) -> int:
    """The place of the run whose samples of a class are taken."""
    return next(
        place
        for place, source in enumerate(sources)
        if source.key == wish.run_key or (wish.run_key is None and source.knows(wish.class_name))
    )


def _told(sources: Sequence[SourceRun], wishes: Sequence[Wish], owners: Sequence[int]) -> str:
    by_owner: dict[int, list[str]] = {}
    for wish, owner in zip(wishes, owners, strict=True):
        by_owner.setdefault(owner, []).append(wish.class_name)
    parts = [f"run {sources[owner].key} ({few(names)})" for owner, names in by_owner.items()]
    return f"validation samples of {' and '.join(parts)}"


def _doubt(sources: Sequence[SourceRun], wishes: Sequence[Wish]) -> str:
    several = [wish.class_name for wish in wishes if sum(source.knows(wish.class_name) for source in sources) > 1]
    if not several:
        return ""
    return (
        f"several runs know {few(several)}, and do not hold out the same samples: where their images overlap, what is "
        "validation to one run was training to another and flatters its modules"
    )


def _samples(source: SourceRun, split: Split, class_name: str, place: int) -> Split:
    own_N: Tensor = split.targets == source.library.class_names.index(class_name)
    return Split(split.inputs[own_N], torch.full((int(own_N.sum()),), place))
