from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.data.dataset import DataError
from methods.data.load import load_dataset
from methods.data.skew import dirichlet_subset
from methods.task_spec import DataSpec

LABELS = np.repeat([0, 1, 2, 3], [300, 200, 400, 250])
CIFAR10 = np.repeat(np.arange(10), 5000)
SIZES = {1: 23354, 3: 18952, 4: 15402, 6: 21123, 8: 14091, 10: 16683, 11: 12896, 14: 21621, 15: 12705, 16: 16041}
"""Of the subsets that the paper's source models were trained and validated on, by seed."""
SVHN = np.repeat(np.arange(10), [4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659])
SVHN_SIZES = {0: 24731, 1: 23583, 2: 17329, 3: 19853, 5: 16227, 8: 29200, 9: 22848, 10: 14419, 11: 19004, 13: 10145}


def test_a_subset_is_the_one_of_the_reference() -> None:
    subset = dirichlet_subset(LABELS, seed=3, concentration=1.0, minimum=5)
    assert np.bincount(LABELS[subset]).tolist() == [194, 200, 111, 145]
    assert subset[:10].tolist() == [1120, 758, 381, 478, 1042, 477, 934, 1012, 706, 82]
    assert subset.dtype == np.int64


@pytest.mark.parametrize(("seed", "size"), SIZES.items())
def test_the_subsets_of_ten_classes_of_5000_have_the_sizes_of_the_paper(seed: int, size: int) -> None:
    assert len(dirichlet_subset(CIFAR10, seed=seed, concentration=1.0, minimum=100)) == size


@pytest.mark.parametrize(("seed", "size"), SVHN_SIZES.items())
def test_the_subsets_of_street_numbers_have_the_sizes_of_the_paper(seed: int, size: int) -> None:
    assert len(dirichlet_subset(SVHN, seed=seed, concentration=0.5, minimum=10)) == size


def test_cifar10_gives_the_classes_of_the_first_source_model() -> None:
    if not os.environ.get("PAREDOWN_CIFAR10"):
        pytest.skip("set PAREDOWN_CIFAR10 to a folder with the Parquet files of CIFAR-10")
    spec = DataSpec(source="parquet_images", path="${PAREDOWN_CIFAR10}")
    targets = load_dataset(spec, test_share=0.2).train_targets
    subset = dirichlet_subset(targets, seed=1, concentration=1.0, minimum=100)
    counts = [1140, 4190, 4933, 462, 220, 845, 5000, 379, 1819, 4366]
    assert np.bincount(targets[subset]).tolist() == counts


@settings(deadline=None, max_examples=50)
@given(
    sizes=st.lists(st.integers(8, 60), min_size=2, max_size=6),
    seed=st.integers(0, 2**32 - 1),
    concentration=st.floats(0.3, 100.0),
    minimum=st.integers(1, 2),
)
def test_every_subset_keeps_one_class_whole_and_the_minimum_of_all(
    sizes: list[int], seed: int, concentration: float, minimum: int
) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    subset = dirichlet_subset(labels, seed=seed, concentration=concentration, minimum=minimum)
    counts = np.bincount(labels[subset], minlength=len(sizes))
    assert len(set(subset.tolist())) == len(subset)
    assert counts.min() >= minimum
    assert any(count == size for count, size in zip(counts, sizes, strict=True))
    again = dirichlet_subset(labels, seed=seed, concentration=concentration, minimum=minimum)
    assert np.array_equal(again, subset)


def test_a_class_smaller_than_the_minimum_is_an_error_that_names_it() -> None:
    with pytest.raises(DataError, match=r"`minimum: 201` \(lower it .* needs at least 201 .*: 'b' \(200\)"):
        dirichlet_subset(LABELS, seed=3, concentration=1.0, minimum=201, class_names=tuple("abcd"))


@pytest.mark.parametrize(("concentration", "minimum"), [(1.0, 50), (1e-300, 1)])
def test_a_minimum_that_no_draw_meets_ends_with_an_error(concentration: float, minimum: int) -> None:
    told = rf"no skew of 10,000 .* `minimum: {minimum}` samples of each of 4 classes, the smallest of which has 50"
    with pytest.raises(DataError, match=told):
        dirichlet_subset(np.arange(200) % 4, seed=3, concentration=concentration, minimum=minimum)
