"""How accurate the compositions of a module library are, many at once, without building a network for any of them.

Modules side by side give each class a score that no other module changes, so one pass of all of them will do.

A composition by union computes what the full network computes when all units outside of its keep-set put out zero, its
logits restricted to its classes. So two of them treat a sample alike up to the first site where one of them drops a
unit that the other keeps *and that is not zero for this sample*. The walk below computes each such case once: a row of
a batch is a sample together with all compositions that agree on it so far; at each site rows split as their
compositions part, and rows of many samples and compositions go on in one batch.

Shapes: N = samples, K = classes, S = subsets, C = different compositions of them, U = units of a site, R = rows,
P = pairs of a row and a composition, W = words of 64 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.contract import Normalization, Split
from methods.measure.predict import exact_evaluation, predict, ready
from methods.measure.subtasks import beaten_by, check_labels, check_subsets, num_samples, restricted_accuracies
from methods.modules.bits import Words, grouped, members_of, words_of
from methods.modules.library import ModuleLibrary
from methods.modules.side_by_side import as_network

_PAIR_BYTES = 2**28
"""For what is remembered of all pairs of a first batch at a time: 256 MB."""

_Indices = NDArray[np.int64]


def composed_accuracies(
    library: ModuleLibrary,
    subsets_SK: Tensor,
    split: Split,
    *,
    normalization: Normalization,
    device: str,
    batch_size: int = 128,
) -> Tensor:
    """Accuracy of the composition of each subset on the samples of its classes.

    Equal to `predict` with `library.compose(...)` of each subset, up to the rounding of float32 sums. Scores of modules
    side by side do not depend on which others are composed, so these are computed once.

    Args:
        library: Its network lies on `device` already; the training mode is restored.
        subsets_SK: Bool, each row with at least one class, e.g. of `choose_subsets`.
        split: On any device; batches are moved to `device`.
        normalization: Applied to the raw samples on the device.
        device: Where the network lies, e.g. `cpu` or `cuda:0`.
        batch_size: Most rows at a time. Memory holds the living values of at most one such batch for each site.

    Returns:
        Float64 (S,) on the CPU; NaN where there is no sample of the subset's classes.

    Raises:
        ValueError: The split is empty or its targets are no classes of the library, or subsets that do not fit it.
    """
    num_classes = len(library.class_names)
    check_subsets(subsets_SK, num_classes=num_classes)
    check_labels(split.targets, num_classes=num_classes)
    if len(split) == 0:
        raise ValueError("composed_accuracies: the split holds no samples; give at least one")
    if batch_size < 1:
        raise ValueError(f"composed_accuracies: batch_size is {batch_size}; give at least 1")
    if library.composition == "side_by_side":
        scores = as_network(library.compose(range(num_classes)))
        scores_NK = predict(scores, split, normalization=normalization, device=device, batch_size=batch_size)
        return restricted_accuracies(scores_NK, split.targets, subsets_SK)
    subsets_SK = subsets_SK.cpu()
    walk = _Walk(library, subsets_SK.numpy(), split.targets.cpu().numpy(), batch_size=batch_size)
    with exact_evaluation(library.network, device=device):
        for samples_R in walk.first_batches():
            inputs = split.inputs[torch.from_numpy(samples_R).to(split.inputs.device)]
            walk.go(ready(inputs, normalization=normalization, device=device), samples_R)
    return torch.from_numpy(walk.right_S).double() / num_samples(split.targets, subsets_SK)


@dataclass(frozen=True)
class _Rows:
    """Rows that are equally far; to go on, `values` have to be picked and masked first."""

    position: int
    """The step that is next."""
    values: list[Tensor | None]
    """Of the nodes, as `Step.run` takes them; of the rows before the last split, shared with its other parts."""
    parent: _Indices | None
    """(R,): which of these values' rows each row is; None: they are this batch's own."""
    dropped: Words | None
    """(R, W): units that the last site passed drops, of those that are not zero."""
    samples: _Indices
    """Whose values each row holds."""
    row: _Indices
    """(P,), with `composition`: all compositions that go on with a row, one pair each."""
    composition: _Indices


class _Walk:
    """Takes samples through the network, and counts in how many subsets and samples the right class wins."""

    def __init__(
        self, library: ModuleLibrary, subsets_SK: NDArray[np.bool_], labels_N: _Indices, *, batch_size: int
    ) -> None:
        self.right_S = np.zeros(len(subsets_SK), dtype=np.int64)
        self._steps = library.network.steps
        self._subsets_SK = subsets_SK
        self._subset_words_SW = words_of(subsets_SK)
        self._labels_N = labels_N
        self._batch_size = batch_size
        drops = _drops(library, subsets_SK)
        first_C, composition_S = grouped(np.concatenate([np.zeros((len(subsets_SK), 1), np.uint64), *drops], axis=1))
        places = {node.name: place for place, node in enumerate(library.network.architecture.nodes)}
        self._drop_CW: dict[int, Words] = {
            places[site.name]: drop_SW[first_C]
            for site, drop_SW in zip(library.network.sites, drops, strict=True)
            if drop_SW.any()
        }
        """By the place of a site's node, which units each composition drops; without sites that drop none."""
        self._subsets_by_composition = np.argsort(composition_S, kind="stable")
        self._num_subsets_C = np.bincount(composition_S)
        self._first_subset_C = np.cumsum(self._num_subsets_C) - self._num_subsets_C
        self._compositions_of_class = [np.unique(composition_S[member_S]) for member_S in subsets_SK.T]

    def first_batches(self) -> Iterator[_Indices]:
        """Indices of all samples whose class is in any subset."""
        in_any_K: NDArray[np.bool_] = np.logical_or.reduce(self._subsets_SK, axis=0)
        wanted = np.flatnonzero(in_any_K[self._labels_N])
        # Two indices of each pair, and which units a site drops: once as such, once beside its row to be grouped.
        widest = max((drop_CW.shape[1] for drop_CW in self._drop_CW.values()), default=0)
        each = 8 * (2 + 2 * widest + 1)
        size = max(1, min(self._batch_size, _PAIR_BYTES // (each * max(1, len(self._subsets_SK)))))
        for start in range(0, len(wanted), size):
            yield wanted[start : start + size]

    def go(self, x: Tensor, samples_R: _Indices) -> None:
        """Take a batch of samples, each one row so far, to the logits of all their compositions."""
        compositions = [self._compositions_of_class[label] for label in self._labels_N[samples_R]]
        values: list[Tensor | None] = [x, *[None] * len(self._steps)]
        row_P = np.repeat(np.arange(len(samples_R)), [len(some) for some in compositions])
        # Depth first: what waits on the stack at any time are parts of at most one split of each site.
        stack = [_Rows(0, values, None, None, samples_R, row_P, np.concatenate(compositions))]
        del values, x
        while stack:
            stack.extend(self._to_next_split(stack.pop()))

    def _to_next_split(self, rows: _Rows) -> list[_Rows]:
        """The parts into which a site splits these rows; none if they come to their logits, which are then counted."""
        values = self._picked(rows)
        for position in range(rows.position, len(self._steps)):
            step = self._steps[position]
            value = step.run(values)
            drop_CW = self._drop_CW.get(step.target)
            if drop_CW is None:
                continue
            dropped_PW = drop_CW[rows.composition] & _active(value)[rows.row]
            if dropped_PW.any():
                ahead = replace(rows, position=position + 1, values=values)
                return list(self._parts(ahead, dropped_PW))
        logits = values[self._steps[-1].target]
        assert logits is not None
        self._count(logits.float(), rows)
        return []

    def _picked(self, rows: _Rows) -> list[Tensor | None]:
        if rows.parent is None:
            return list(rows.values)
        return _masked(rows, self._steps[rows.position - 1].target)

    def _parts(self, rows: _Rows, dropped_PW: Words) -> Iterator[_Rows]:
        """Rows whose pairs drop the same units, in parts of about equal size and at most a batch."""
        first_R, row_P = grouped(np.concatenate([rows.row[:, None].astype(np.uint64), dropped_PW], axis=1))
        order = np.argsort(row_P, kind="stable")
        edges = np.linspace(0, len(first_R), -(-len(first_R) // self._batch_size) + 1).astype(np.int64)
        pair_edges = np.searchsorted(row_P[order], edges)
        for part in range(len(edges) - 1):
            first = first_R[edges[part] : edges[part + 1]]
            pairs = order[pair_edges[part] : pair_edges[part + 1]]
            parent_R = rows.row[first]
            yield replace(
                rows,
                parent=parent_R,
                dropped=dropped_PW[first],
                samples=rows.samples[parent_R],
                row=row_P[pairs] - edges[part],
                composition=rows.composition[pairs],
            )

    def _count(self, logits_RK: Tensor, rows: _Rows) -> None:
        labels_R = self._labels_N[rows.samples]
        beaten = beaten_by(logits_RK, torch.from_numpy(labels_R).to(logits_RK.device))
        beaten_RW = words_of(beaten.cpu().numpy())
        # From pairs with compositions to pairs with subsets.
        num_P = self._num_subsets_C[rows.composition]
        row_P = np.repeat(rows.row, num_P)
        offset_P = np.arange(len(row_P)) - np.repeat(np.cumsum(num_P) - num_P, num_P)
        subset_P = self._subsets_by_composition[np.repeat(self._first_subset_C[rows.composition], num_P) + offset_P]
        wrong_P = (beaten_RW[row_P] & self._subset_words_SW[subset_P]).any(axis=1)
        right_P = ~wrong_P & self._subsets_SK[subset_P, labels_R[row_P]]
        self.right_S += np.bincount(subset_P[right_P], minlength=len(self.right_S))


def _masked(rows: _Rows, place: int) -> list[Tensor | None]:
    """The living values of rows that a site has just split; `place` is the site's."""
    assert rows.parent is not None
    assert rows.dropped is not None
    values = [None if value is None else _taken(value, rows.parent) for value in rows.values]
    value = values[place]
    assert value is not None
    # Few units are dropped of those that are not zero: to write zeros there is many times faster than `masked_fill`.
    row, unit = np.nonzero(members_of(rows.dropped, num_bits=value.shape[1]))
    value[torch.from_numpy(row).to(value.device), torch.from_numpy(unit).to(value.device)] = 0.0
    return values


def _taken(value: Tensor, rows_R: _Indices) -> Tensor:
    """A copy of some rows; images channels-last, as `index_select` on its own would not leave them."""
    index = torch.from_numpy(rows_R).to(value.device)
    if value.dim() == 4:
        return value.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)
    return value.index_select(0, index)


def _active(value: Tensor) -> Words:
    """Which units of each row are not zero anywhere, (R, W): the sum tells, as a ReLU puts out nothing negative."""
    summed_RU = value.sum(dim=tuple(range(2, value.dim()))) if value.dim() > 2 else value
    return words_of((summed_RU != 0).cpu().numpy())


def _drops(library: ModuleLibrary, subsets_SK: NDArray[np.bool_]) -> list[Words]:
    """For each site the units that the composition of each subset drops, (S, W)."""
    drops = []
    for mask_KU in library.masks:
        kept_KW = words_of(mask_KU.cpu().numpy())
        kept_SW = np.zeros((len(subsets_SK), kept_KW.shape[1]), dtype=np.uint64)
        for member_S, kept_W in zip(subsets_SK.T, kept_KW, strict=True):
            kept_SW[member_S] |= kept_W
        drops.append(words_of(np.ones((1, mask_KU.shape[1]), dtype=np.bool_)) & ~kept_SW)
    return drops
