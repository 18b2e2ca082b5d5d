from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from methods.data.dataset import DataSet
from methods.data.load import fingerprint, load_dataset
from methods.task_spec import DataSpec


def load(name: str, test_share: float = 0.2) -> DataSet:
    return load_dataset(DataSpec(source=name), test_share=test_share)


def all_samples(dataset: DataSet) -> tuple[np.ndarray, np.ndarray]:
    assert dataset.locked is not None
    inputs, targets = dataset.locked.open("a test")
    return np.concatenate([dataset.train_inputs, inputs]), np.concatenate([dataset.train_targets, targets])


@pytest.mark.parametrize(
    ("name", "shape", "samples", "classes"),
    [
        ("digits", (1, 8, 8), 1797, 10),
        ("breast_cancer", (30,), 569, 2),
        ("wine", (13,), 178, 3),
        ("iris", (4,), 150, 3),
    ],
)
def test_a_bundled_set_is_complete(name: str, shape: tuple[int, ...], samples: int, classes: int) -> None:
    dataset = load(name)
    inputs, targets = all_samples(dataset)
    assert (dataset.name, dataset.input_shape, len(targets), dataset.num_outputs) == (name, shape, samples, classes)
    assert inputs.dtype == (np.uint8 if len(shape) == 3 else np.float32)
    assert targets.dtype == np.int64
    assert set(targets) == set(range(classes))


def test_digits_give_back_every_ink_level_exactly() -> None:
    inputs, _ = all_samples(load("digits"))
    levels = np.rint(inputs[:, 0].astype(np.float64) * 16 / 255)
    original = load_digits().images
    assert inputs.min() == 0
    assert inputs.max() == 255
    assert sorted(map(bytes, levels.astype(np.uint8))) == sorted(map(bytes, original.astype(np.uint8)))


def test_diabetes_comes_in_original_units_with_real_valued_targets() -> None:
    dataset = load("diabetes")
    inputs, targets = all_samples(dataset)
    assert (dataset.kind, dataset.class_names, dataset.num_outputs) == ("regression", (), 1)
    assert (len(targets), targets.dtype, targets.min(), targets.max()) == (442, np.float32, 25, 346)
    # Age in years. The scaled copy of scikit-learn carries the mean and spread of the test samples.
    assert (inputs[:, 0].min(), inputs[:, 0].max()) == (19, 79)


def test_the_held_out_test_part_is_stratified_and_always_the_same() -> None:
    first, second = load("digits").locked, load("digits").locked
    assert first is not None
    assert second is not None
    inputs, targets = first.open("a test")
    assert np.array_equal(inputs, second.open("a test")[0])
    shares = np.bincount(targets) / np.bincount(load_digits().target)
    assert np.all(np.abs(shares - 0.2) < 0.01)


def test_the_fingerprint_follows_samples_and_test_share() -> None:
    digits = DataSpec(source="digits")
    assert fingerprint(digits, test_share=0.2) == load("digits").fingerprint
    prints = {
        fingerprint(digits, test_share=0.2),
        fingerprint(digits, test_share=0.3),
        fingerprint(DataSpec(source="wine"), test_share=0.2),
    }
    assert len(prints) == 3
