from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from methods.data.dataset import DataError, DataSet
from methods.data.load import fingerprint, load_dataset
from methods.data.mixture import mix
from methods.data.statistics import measure_normalization
from methods.task_spec import DataSpec, NetworkSpec, TaskSpec
from methods.tasks import build_task, open_test, prepare
from tests.methods.data.image_files import write_parquet_set

LOW = DataSpec(source="digits", classes=("0", "1", "2"))
HIGH = DataSpec(source="digits", classes=("9",))


def mixture(*parts: DataSpec, **fields: object) -> DataSpec:
    return DataSpec(source="mixture", parts=parts, **fields)


def load(spec: DataSpec) -> DataSet:
    return load_dataset(spec, test_share=0.2)


def test_classes_of_all_parts_stand_in_order_with_their_own_samples() -> None:
    mixed = load(mixture(LOW, HIGH))
    digits = load(DataSpec(source="digits"))
    assert (mixed.name, mixed.class_names, mixed.normalization) == ("digits+digits", ("0", "1", "2", "9"), None)
    assert mixed.locked is not None
    assert digits.locked is not None
    assert mixed.locked.openings == ()
    for (inputs, targets), (all_inputs, all_targets) in (
        ((mixed.train_inputs, mixed.train_targets), (digits.train_inputs, digits.train_targets)),
        (mixed.locked.open("a test"), digits.locked.open("a test")),
    ):
        for label, digit in enumerate((0, 1, 2, 9)):
            assert np.array_equal(inputs[targets == label], all_inputs[all_targets == digit])
        assert targets.dtype == np.int64


def test_names_that_collide_say_which_part_they_are_of(tmp_path: Path) -> None:
    write_parquet_set(tmp_path / "set")
    numbered = DataSpec(source="parquet_images", path=str(tmp_path / "set"), image_shape=(3, 8, 8))
    digits = DataSpec(source="digits", classes=("2", "7"), image_shape=(3, 8, 8))
    mixed = load_dataset(mixture(numbered, digits), test_share=0.2, cache_dir=tmp_path / "cache")
    assert mixed.class_names == ("0", "1", "parquet_images:2", "digits:2", "7")


def test_names_that_collide_within_one_source_carry_the_number_of_the_part() -> None:
    mixed = load(mixture(DataSpec(source="digits", classes=("3", "4")), DataSpec(source="digits", classes=("3", "5"))))
    assert mixed.class_names == ("digits1:3", "4", "digits2:3", "5")


def test_a_mixture_may_itself_be_cut_to_classes_and_resized() -> None:
    mixed = load(mixture(LOW, HIGH, classes=("9", "0"), image_shape=(3, 16, 16)))
    assert (mixed.class_names, mixed.input_shape) == (("9", "0"), (3, 16, 16))


def test_the_fingerprint_follows_the_parts_and_their_order() -> None:
    specs = [mixture(LOW, HIGH), mixture(HIGH, LOW), mixture(LOW, DataSpec(source="digits", classes=("8",)))]
    prints = [fingerprint(spec, test_share=0.2) for spec in specs]
    assert len(set(prints)) == 3
    assert prints == [load(spec).fingerprint for spec in specs]


def test_parts_of_different_shapes_are_refused_with_the_mend() -> None:
    small, wide = load(LOW), load(LOW.model_copy(update={"image_shape": (3, 32, 32)}))
    told = r"'digits' \[1, 8, 8\], 'digits' \[3, 32, 32\]; write e.g. `image_shape: \[3, 32, 32\]`"
    with pytest.raises(DataError, match=told):
        mix([small, wide], sources=["digits", "digits"])


def test_parts_without_test_make_a_mixture_without_test() -> None:
    parts = [load(LOW).without_test(), load(DataSpec(source="digits", classes=("7", "8"))).without_test()]
    assert mix(parts, sources=["digits", "digits"]).locked is None


def test_a_fault_of_a_part_is_told_before_anything_is_loaded() -> None:
    with pytest.raises(DataError, match=r"parts\[1\]: no folder /no/such/place"):
        load(mixture(LOW, DataSpec(source="image_folder", path="/no/such/place")))


def test_digits_against_digits_become_a_task() -> None:
    spec = TaskSpec(data=mixture(LOW, HIGH), network=NetworkSpec(name="small_cnn"), epochs=1, fraction=0.5)
    data = prepare(spec, load(spec.data))
    task = build_task(spec, data, name="two sources", seed=0, device="cpu")
    assert (task.info.num_outputs, task.info.class_names) == (4, ("0", "1", "2", "9"))
    assert set(task.train.targets.tolist()) == set(task.validation.targets.tolist()) == {0, 1, 2, 3}
    assert task.normalization == measure_normalization(task.train.inputs.numpy())
    assert task.network()(task.train.inputs[:2].float()).shape == (2, 4)
    assert sorted(set(open_test(data, opened_by="a test").targets.tolist())) == [0, 1, 2, 3]


def test_cats_of_cifar10_against_a_digit_become_a_task() -> None:
    if not os.environ.get("PAREDOWN_CIFAR10"):
        pytest.skip("set PAREDOWN_CIFAR10 to a folder with the Parquet files of CIFAR-10")
    cats = DataSpec(source="parquet_images", path="${PAREDOWN_CIFAR10}", classes=("cat",))
    threes = DataSpec(source="digits", classes=("3",), image_shape=(3, 32, 32))
    spec = TaskSpec(data=mixture(cats, threes), network=NetworkSpec(name="resnet20"), epochs=1, validation_share=0.2)
    data = prepare(spec, load(spec.data))
    # Of 183 threes 37 are locked away; of the other 146, 29 are for validation.
    assert data.class_counts == {"cat": 4000, "3": 117}
    assert (data.name, data.train_inputs.shape[1:]) == ("cifar10+digits", (3, 32, 32))
    assert np.bincount(open_test(data, opened_by="a test").targets.numpy()).tolist() == [1000, 37]
