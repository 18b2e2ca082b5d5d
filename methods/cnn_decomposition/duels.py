"""How often one composition of class modules beats another, for very many pairs of compositions at once.

A composition predicts the class with the largest logit, of equal ones the lower class. Joined with another, it stays
right on a sample of its own classes if it was right there and its largest logit beats the other's largest. So it is
enough to know where each largest logit ranks among those that the candidates of the sample's own class have: a small
whole number, one byte where a class has up to 255 candidates. That makes a join one comparison of bytes for each pair
of compositions and sample, whatever the numbers were that networks computed.

Source: joining by the largest logit and a flag instead of predicting anew is from the specification of CNNSplitter's
fitness; ranks in place of logits, the flag as rank 0, and the tie rule by class index are ours.

Shapes: C = classes, S = candidates of a class, V = samples, N = places of samples, T = compositions of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ranks = NDArray[np.unsignedinteger[Any]]

_WORD = 8
"""Bytes that are added at once: the outcomes of eight samples."""
_MOST_PLACES = 255 * _WORD
"""Each byte of a sum of words then counts up to 255 samples and does not run over into its neighbour."""
_MOST_RIVALS = 256
"""Rivals at a time, so that they and the outcomes (half a MB each) stay in a core's own cache."""
_MOST_COUNTED, _MOST_IN_ROW = 2**15, 2**12
"""Logits that are ranked at a time (128 kB), and how many of one candidate, for the same reason."""


@dataclass(frozen=True)
class Block:
    """Compositions of the same classes, with their ranks on every sample.

    A rank is 0 where a sample of one of the block's own classes is not predicted right.
    """

    ranks: Ranks
    """(T, N): samples of each class in a row, classes in the order of the merging, zeros in between."""
    own: slice
    """Places of the samples of the block's classes."""
    num_samples: int
    """Samples among those places."""

    def __len__(self) -> int:
        return len(self.ranks)


def single_blocks(logits: Sequence[Tensor], labels_V: Tensor, order: Sequence[int]) -> list[Block]:
    """One block for each class in `order`, whose compositions are the candidates of that class.

    Args:
        logits: Of each class (S, V), on any device; no NaN among them.
        labels_V: int64, on the CPU; with at least one sample of each class.
        order: All classes, in the order in which blocks are to be merged: neighbours only.
    """
    samples = [(labels_V == label).nonzero().flatten().numpy() for label in range(len(logits))]
    # Whole words for each class, so that a block's own samples are whole words as well.
    num_places = [-(-len(samples[label]) // _WORD) * _WORD for label in order]
    ends = np.cumsum(num_places).tolist()
    spans = {label: slice(end - places, end) for label, places, end in zip(order, num_places, ends, strict=True)}
    dtype = np.min_scalar_type(max(map(len, logits)))
    ranks = [np.zeros((len(logits_SV), ends[-1]), dtype=dtype) for logits_SV in logits]
    values = [_as_numbers(logits_SV) for logits_SV in logits]
    for label, index in enumerate(samples):
        first = spans[label].start
        own_SV = values[label].take(index, axis=1)
        for other, (values_SV, ranks_SN) in enumerate(zip(values, ranks, strict=True)):
            ranks_SV = ranks_SN[:, first : first + len(index)]
            if other == label:
                ranks_SV[:] = _places_when_sorted(own_SV)
            else:
                _count_beaten(own_SV, values_SV.take(index, axis=1), wins_ties=other < label, out=ranks_SV)
    return [Block(ranks[label], spans[label], len(samples[label])) for label in order]


def right_when_joined(a: Block, b: Block) -> NDArray[np.int64]:
    """How many samples of the classes of both each pair of compositions predicts right, (T of a, T of b)."""
    of_a = _num_above(a.ranks[:, a.own], b.ranks[:, a.own])
    of_b = _num_above(b.ranks[:, b.own], a.ranks[:, b.own])
    return of_a + of_b.T


def join(a: Block, b: Block, index_a: NDArray[np.int64], index_b: NDArray[np.int64]) -> Block:
    """The compositions that join `index_a` of one block with `index_b` of the block next to it, pair by pair."""
    assert a.own.stop == b.own.start
    ranks_a, ranks_b = a.ranks[index_a], b.ranks[index_b]
    ranks = np.maximum(ranks_a, ranks_b)
    # Where the other's logit wins, the sample is lost for good.
    ranks[:, a.own] *= ranks_a[:, a.own] > ranks_b[:, a.own]
    ranks[:, b.own] *= ranks_b[:, b.own] > ranks_a[:, b.own]
    return Block(ranks, slice(a.own.start, b.own.stop), a.num_samples + b.num_samples)


def _as_numbers(logits_SV: Tensor) -> NDArray[np.floating[Any]]:
    """Halves as float32, which holds all of them and compares many times faster."""
    numbers = logits_SV if logits_SV.dtype == torch.float64 else logits_SV.float()
    return numbers.detach().cpu().numpy()


def _count_beaten(
    own_SV: NDArray[np.floating[Any]], values_TV: NDArray[np.floating[Any]], *, wins_ties: bool, out: Ranks
) -> None:
    """How many of the own logits each value beats, (T, V). `out` is a view of zeros."""
    beats = np.greater_equal if wins_ties else np.greater
    # With a hundred candidates twice as fast as a binary search for each value.
    for start in range(0, own_SV.shape[1], _MOST_IN_ROW):
        part = slice(start, start + _MOST_IN_ROW)
        own = own_SV[:, part]
        num_rivals = _MOST_COUNTED // own.shape[1]
        for first in range(0, len(values_TV), num_rivals):
            values = values_TV[first : first + num_rivals, part]
            count = np.zeros(values.shape, dtype=out.dtype)
            beaten = np.empty(values.shape, dtype=np.bool_)
            for own_V in own:
                beats(values, own_V, out=beaten)
                np.add(count, beaten.view(np.uint8), out=count)
            out[first : first + num_rivals, part] = count


def _places_when_sorted(own_SV: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """1 for the smallest of each sample, then 2 and so on; equal ones in any order.

    A candidate is so above the count of every value that does not beat it, and not above that of one that does.
    """
    place_VS = np.empty(own_SV.T.shape, dtype=np.int64)
    np.put_along_axis(place_VS, own_SV.T.argsort(axis=1), np.arange(1, len(own_SV) + 1)[None], axis=1)
    return place_VS.T


def _num_above(ranks_AN: Ranks, ranks_BN: Ranks) -> NDArray[np.int64]:
    """In how many places each row of the first lies above each row of the second, (A, B)."""
    num_above_AB = np.zeros((len(ranks_AN), len(ranks_BN)), dtype=np.uint64)
    for start in range(0, ranks_AN.shape[1], _MOST_PLACES):
        places = slice(start, start + _MOST_PLACES)
        for first in range(0, len(ranks_BN), _MOST_RIVALS):
            rivals = slice(first, first + _MOST_RIVALS)
            num_above_AB[:, rivals] += _num_above_in_tile(ranks_AN[:, places], ranks_BN[rivals, places])
    return num_above_AB.astype(np.int64)


def _num_above_in_tile(ranks_AN: Ranks, ranks_BN: Ranks) -> NDArray[np.uint64]:
    rivals_BN = np.ascontiguousarray(ranks_BN)
    above_BN = np.empty(rivals_BN.shape, dtype=np.bool_)
    words_BW = above_BN.view(np.uint64)
    sums_AB = np.empty((len(ranks_AN), len(rivals_BN)), dtype=np.uint64)
    for ranks_N, sums_B in zip(ranks_AN, sums_AB, strict=True):
        np.greater(ranks_N, rivals_BN, out=above_BN)
        np.add.reduce(words_BW, axis=1, out=sums_B)
    return _sum_of_bytes(sums_AB)


def _sum_of_bytes(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Of each word the sum of its eight bytes: neighbours first, then all four pairs by one multiplication."""
    pairs = (words & np.uint64(0x00FF00FF00FF00FF)) + (words >> np.uint64(8) & np.uint64(0x00FF00FF00FF00FF))
    return pairs * np.uint64(0x0001000100010001) >> np.uint64(48)
