from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from methods.contract import Normalization
from methods.data.class_selection import keep_classes
from methods.data.dataset import DataError, DataSet, LockedTest
from methods.data.load import fingerprint, load_dataset
from methods.task_spec import DataSpec
from tests.methods.data.image_files import write_parquet_set


def opened(dataset: DataSet) -> tuple[np.ndarray, np.ndarray]:
    assert dataset.locked is not None
    return dataset.locked.open("a test")


def test_kept_classes_are_numbered_in_the_order_given_in_pool_and_test() -> None:
    whole = load_dataset(DataSpec(source="digits"), test_share=0.2)
    some = load_dataset(DataSpec(source="digits", classes=("7", "2")), test_share=0.2)
    assert some.class_names == ("7", "2")
    assert some.locked is not None
    assert some.locked.openings == ()
    for (inputs, targets), (all_inputs, all_targets) in (
        ((some.train_inputs, some.train_targets), (whole.train_inputs, whole.train_targets)),
        (opened(some), opened(whole)),
    ):
        stays = np.isin(all_targets, [7, 2])
        assert np.array_equal(inputs, all_inputs[stays])
        assert np.array_equal(targets, np.where(all_targets[stays] == 7, 0, 1))
        assert targets.dtype == np.int64


def test_rows_of_tables_are_kept_by_class_too() -> None:
    some = load_dataset(DataSpec(source="iris", classes=("virginica", "setosa")), test_share=0.2)
    assert (some.input_shape, np.bincount(some.train_targets).tolist()) == ((4,), [40, 40])


def test_the_fingerprint_follows_the_classes_and_their_order_and_needs_no_samples() -> None:
    specs = [DataSpec(source="digits", classes=names) for names in ((), ("1", "2"), ("2", "1"), ("1", "2", "3"))]
    prints = [fingerprint(spec, test_share=0.2) for spec in specs]
    assert len(set(prints)) == 4
    assert prints == [load_dataset(spec, test_share=0.2).fingerprint for spec in specs]


def test_where_no_class_goes_images_stay_mapped_from_the_cache(tmp_path: Path) -> None:
    write_parquet_set(tmp_path / "set")
    whole, turned = (
        load_dataset(
            DataSpec(source="parquet_images", path=str(tmp_path / "set"), classes=classes),
            test_share=0.2,
            cache_dir=tmp_path / "cache",
        )
        for classes in ((), ("2", "0", "1"))
    )
    assert np.array_equal(turned.train_targets, (whole.train_targets + 1) % 3)
    assert not turned.train_inputs.flags.owndata
    assert not opened(turned)[0].flags.writeable


def test_unknown_classes_are_all_named_with_a_near_miss() -> None:
    dataset = load_dataset(DataSpec(source="iris"), test_share=0.2)
    with pytest.raises(DataError) as caught:
        keep_classes(dataset, ("setosa", "virginia", "rose"))
    first, second = str(caught.value).splitlines()
    assert first.startswith("'iris' has no class 'virginia'; its classes: setosa, versicolor, virginica.")
    assert first.endswith("Did you mean 'virginica'?")
    assert "no class 'rose'" in second


def test_a_test_split_without_the_classes_is_refused() -> None:
    inputs, targets = np.zeros((6, 1, 2, 2), dtype=np.uint8), np.array([0, 1, 2, 0, 1, 2])
    dataset = DataSet("x", "classification", "x", tuple("abc"), inputs, targets, LockedTest(inputs[2:3], targets[2:3]))
    assert len(keep_classes(dataset, ("a", "c")).train_targets) == 4
    with pytest.raises(DataError, match="the test split of 'x' has no sample of a, b"):
        keep_classes(dataset, ("a", "b"))
    assert keep_classes(dataset.without_test(), ("a", "b")).locked is None


def test_published_constants_of_a_set_hold_for_some_of_its_classes() -> None:
    inputs, targets = np.zeros((6, 1, 2, 2), dtype=np.uint8), np.array([0, 1, 2, 0, 1, 2])
    constants = Normalization((0.5,), (0.2,))
    dataset = DataSet("x", "classification", "x", tuple("abc"), inputs, targets, None, constants)
    assert keep_classes(dataset, ("c", "a")).normalization == constants


def test_a_regression_has_no_classes_to_keep() -> None:
    with pytest.raises(DataError, match="'diabetes' is a regression"):
        keep_classes(load_dataset(DataSpec(source="diabetes"), test_share=0.2), ("a", "b"))
