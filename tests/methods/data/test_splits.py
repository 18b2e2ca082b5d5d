from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from methods.data.dataset import DataError
from methods.data.splits import require_samples, strata, stratified_split, stratified_subset

class_sizes = st.lists(st.integers(2, 40), min_size=1, max_size=8)


def shuffled_targets(sizes: list[int]) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))


@given(sizes=class_sizes, share=st.floats(0.01, 0.99), seed=st.integers(0, 2**32))
def test_a_split_divides_all_samples_and_leaves_every_class_on_both_sides(
    sizes: list[int], share: float, seed: int
) -> None:
    targets = shuffled_targets(sizes)
    rest, part = stratified_split(targets, share, seed=seed)
    assert np.array_equal(np.sort(np.concatenate([rest, part])), np.arange(len(targets)))
    counts = np.bincount(targets[part], minlength=len(sizes))
    assert np.all(counts >= 1)
    assert np.all(counts < sizes)
    assert np.all(np.abs(counts - np.array(sizes) * share) <= 1)


@given(sizes=class_sizes, small=st.floats(0.01, 0.98), seed=st.integers(0, 99))
def test_a_smaller_fraction_lies_inside_a_larger_one(sizes: list[int], small: float, seed: int) -> None:
    targets = shuffled_targets(sizes)
    larger = stratified_subset(targets, min(1.0, small * 1.5), seed=seed)
    smaller = stratified_subset(targets, small, seed=seed)
    assert set(smaller) <= set(larger)
    assert set(targets[smaller]) == set(range(len(sizes)))
    assert np.array_equal(stratified_subset(targets, 1.0, seed=seed), np.arange(len(targets)))


def test_a_seed_names_one_split_for_ever() -> None:
    targets = np.arange(20) % 2
    assert stratified_split(targets, 0.2, seed=0)[1].tolist() == [1, 2, 16, 17]
    assert stratified_split(targets, 0.2, seed=1)[1].tolist() != [1, 2, 16, 17]


def test_real_values_are_split_by_tenths_of_their_ranking() -> None:
    values = np.random.default_rng(1).exponential(size=200).astype(np.float32)
    assert np.bincount(strata(values)).tolist() == [20] * 10
    _, part = stratified_split(values, 0.2, seed=3)
    assert np.bincount(strata(values)[part]).tolist() == [4] * 10


def test_a_few_real_values_still_split() -> None:
    rest, part = stratified_split(np.array([0.5, 0.1, 0.9]), 0.34, seed=0)
    assert (len(rest), len(part)) == (2, 1)


def test_a_class_with_one_sample_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"splitting needs at least 2 samples .*class 1 \(1\)"):
        stratified_split(np.array([0, 0, 1, 2, 2]), 0.5, seed=0)
    with pytest.raises(DataError, match=r"'cat' \(1\), 'dog' \(0\)\. Add samples"):
        require_samples(np.array([0, 0, 1]), minimum=2, purpose="x", class_names=["ant", "cat", "dog"])
    with pytest.raises(DataError, match="no samples at all"):
        stratified_split(np.array([], dtype=np.int64), 0.5, seed=0)
