"""Which samples CNNSplitter looks at for what: as published, or so that validation samples breed nothing.

Source: the public code (qibinhang/CNNSplitter) draws "validation" samples of a single class after filtering by class,
so they are another fifth than the joint ones and overlap the training part; and it breeds, chooses and stops on the
same joint ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from methods.contract import Split, Task

_FIFTH = 5
_SEED = 1009
"""Of the draws, the number that the public code has, though other generators draw here."""


@dataclass(frozen=True)
class SearchSamples:
    """The samples of a search."""

    ranking: Split
    """By which kernels are ranked for each class."""
    judging: Split
    """On which candidates are judged."""
    choosing: Split | None
    """On which the generation is chosen; None: on those that judge."""


def search_samples(task: Task, which: Literal["published", "leak_free"]) -> SearchSamples:
    """The samples of a search on a task.

    Args:
        which: `published`: kernels are ranked by a fifth of each class's training and validation samples together,
            candidates judged and the generation chosen on the validation samples. `leak_free`: kernels are ranked and
            candidates judged on a fifth of the training samples, and the generation is chosen on validation.
    """
    if which == "published":
        both = _joined([task.train, task.validation])
        return SearchSamples(_fifth_of_each(both, task), task.validation, None)
    part = _fifth_of_each(task.train, task)
    return SearchSamples(part, part, task.validation)


def _fifth_of_each(split: Split, task: Task) -> Split:
    """A fifth of the samples of each class, at least one, drawn by a seed of its own: the same for all runs."""
    generator = torch.Generator().manual_seed(_SEED)
    chosen = []
    for label in range(task.info.num_outputs):
        own = (split.targets == label).nonzero().flatten()
        order = torch.randperm(len(own), generator=generator).to(own.device)
        chosen.append(own[order[: max(1, len(own) // _FIFTH)]])
    return _picked(split, torch.cat(chosen))


def _picked(split: Split, index: torch.Tensor) -> Split:
    return Split(split.inputs[index], split.targets[index])


def _joined(splits: Sequence[Split]) -> Split:
    return Split(torch.cat([split.inputs for split in splits]), torch.cat([split.targets for split in splits]))
