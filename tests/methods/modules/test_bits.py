"""Sets as bits of words."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.modules.bits import grouped, members_of, words_of


@settings(max_examples=50, deadline=None)
@given(num_sets=st.integers(0, 20), num_bits=st.integers(1, 200), seed=st.integers(0, 2**16))
def test_words_hold_the_sets_and_intersect_them(num_sets: int, num_bits: int, seed: int) -> None:
    one, other = np.random.default_rng(seed).random((2, num_sets, num_bits)) < 0.5
    words = words_of(one)
    assert words.shape == (num_sets, -(-num_bits // 64))
    assert np.array_equal(members_of(words, num_bits=num_bits), one)
    assert np.array_equal(members_of(words & words_of(other), num_bits=num_bits), one & other)


@settings(max_examples=50, deadline=None)
@given(num_sets=st.integers(1, 60), num_words=st.integers(1, 4), seed=st.integers(0, 2**16))
def test_groups_are_those_of_equal_rows(num_sets: int, num_words: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    # Few different words, also such as differ in their highest bit alone.
    words = draw.choice(np.array([0, 1, 2**63, 2**63 + 1], dtype=np.uint64), (num_sets, num_words))
    first, group = grouped(words)
    assert len(first) == len(np.unique(words, axis=0)) == group.max() + 1
    assert np.array_equal(words[first[group]], words)
    assert np.array_equal(group[first], np.arange(len(first)))


def test_rows_that_differ_in_high_bits_alone_are_told_apart() -> None:
    high = [0, 2**31, 2**32, 2**63, 2**63 + 2**31, 2**63 + 2**32, 2**64 - 1]
    words = np.array([[a, b] for a in high for b in high], dtype=np.uint64)
    first, group = grouped(words)
    assert len(first) == len(words)
    assert sorted(group.tolist()) == list(range(len(words)))


def test_large_random_sets_are_grouped_as_their_members_are() -> None:
    draw = np.random.default_rng(1)
    for _ in range(20):
        members = draw.random((2000, 192)) < 0.9
        words = words_of(members)
        first, group = grouped(words)
        assert len(first) == len(np.unique(members, axis=0))
        assert np.array_equal(words[first[group]], words)
