"""Many small sets as bits of machine words, to intersect and to compare them fast.

Shapes: X = sets, U = things that may be in them, W = 64-bit words that hold U bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]


def words_of(members_XU: NDArray[np.bool_]) -> Words:
    """Sets (X, W); the bits beyond U are 0."""
    num_sets, num_bits = members_XU.shape
    padded = np.zeros((num_sets, -(-num_bits // 64) * 64), dtype=np.bool_)
    padded[:, :num_bits] = members_XU
    return np.packbits(padded, axis=1).view(np.uint64)


def members_of(words_XW: Words, *, num_bits: int) -> NDArray[np.bool_]:
    """Bool (X, U) of sets made by `words_of`."""
    return np.unpackbits(words_XW.view(np.uint8), axis=1, count=num_bits).view(np.bool_)


def grouped(words_XW: Words) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Equal sets share a group.

    Returns:
        One member of each group, and the group of each set.
    """
    draw = np.random.default_rng(0)
    while True:
        # Sorting one word is many times faster than sorting rows. Should two different rows get the same word, the
        # comparison below finds out, and other factors are drawn. A sum of half words, each times a factor of 64 bits,
        # tells any two rows apart for all but 2**-33 of the factors, so new factors always help.
        hash_X = np.zeros(len(words_XW), dtype=np.uint64)
        for half_X in np.ascontiguousarray(words_XW).view(np.uint32).T:
            hash_X += half_X.astype(np.uint64) * draw.integers(2**64, dtype=np.uint64)
        _, first_G, group_X = np.unique(hash_X, return_index=True, return_inverse=True)
        if np.array_equal(words_XW, words_XW[first_G[group_X]]):
            return first_G, group_X
