from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from methods.data.dataset import DataError, DataSet
from methods.data.load import load_dataset
from methods.task_spec import DataSpec
from tests.methods.data.image_files import encode, random_pixels, write_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "animals"


def load(root: Path, *, max_undecodable: float = 0.0) -> DataSet:
    spec = DataSpec(source="image_folder", path=str(root), max_undecodable=max_undecodable)
    return load_dataset(spec, test_share=0.25, cache_dir=root.parent / "cache")


def held_back(dataset: DataSet) -> int:
    assert dataset.locked is not None
    return len(dataset.locked)


def test_classes_are_numbered_by_the_names_of_their_folders(root: Path) -> None:
    write_folder(root / "train", ["dog", "ant", "cat"], count=3)
    write_folder(root / "test", ["ant", "cat"], count=1)
    dataset = load(root)
    assert (dataset.name, dataset.class_names) == ("animals", ("ant", "cat", "dog"))
    assert dataset.train_targets.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert np.array_equal(dataset.train_inputs[:3], random_pixels(3, seed=1).transpose(0, 3, 1, 2))
    assert held_back(dataset) == 2


def test_val_is_the_test_only_where_there_is_no_test(root: Path) -> None:
    write_folder(root / "train", ["ant", "cat"], count=3)
    write_folder(root / "val", ["ant", "cat"], count=2)
    without = load(root)
    assert (len(without.train_targets), held_back(without)) == (6, 4)
    write_folder(root / "test", ["ant", "cat"], count=1)
    with_test = load(root)
    assert (len(with_test.train_targets), held_back(with_test)) == (10, 2)
    assert with_test.fingerprint != without.fingerprint


def test_plain_class_folders_hold_out_a_test_part(root: Path) -> None:
    write_folder(root, ["ant", "cat"], count=8)
    dataset = load(root)
    assert (np.bincount(dataset.train_targets).tolist(), held_back(dataset)) == ([6, 6], 4)


def test_nested_images_count_and_other_files_do_not(root: Path) -> None:
    write_folder(root / "train", ["ant", "cat"], count=3)
    write_folder(root / "val", ["ant", "cat"], count=3)
    (root / "train" / "ant" / "images").mkdir()
    (root / "train" / "ant" / "images" / "x.JPEG").write_bytes(encode(random_pixels(1)[0], kind="JPEG"))
    (root / "train" / "ant" / "boxes.txt").write_text("not an image")
    (root / "train" / "ant" / ".hidden.png").write_text("not an image")
    (root / "train" / ".cache").mkdir()
    assert np.bincount(load(root).train_targets).tolist() == [4, 3]


def test_undecodable_files_are_named_by_path(root: Path) -> None:
    write_folder(root / "train", ["ant", "cat"], count=4)
    write_folder(root / "test", ["ant", "cat"], count=1)
    (root / "train" / "cat" / "2.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 10 images \(10\.00%\) do not decode.*train/cat/2\.png\. Replace"):
        load(root)
    dataset = load(root, max_undecodable=0.1)
    assert dataset.undecodable == ("train/cat/2.png",)
    assert np.bincount(dataset.train_targets).tolist() == [4, 3]


def test_a_test_class_without_training_images_is_refused(root: Path) -> None:
    write_folder(root / "train", ["ant", "cat"], count=3)
    write_folder(root / "test", ["ant", "eel"], count=3)
    with pytest.raises(DataError, match=r"class 'eel' has no folder in training"):
        load(root)


def test_a_class_too_small_to_split_is_named(root: Path) -> None:
    write_folder(root, ["ant", "cat"], count=4)
    for number in (1, 2, 3):
        (root / "cat" / f"{number}.png").unlink()
    with pytest.raises(DataError, match=r"too few of: 'cat' \(1\)"):
        load(root)


def test_folders_that_hold_no_set_are_told(root: Path) -> None:
    root.mkdir()
    with pytest.raises(DataError, match="holds no images"):
        load(root)
    (root / "test").mkdir()
    with pytest.raises(DataError, match="holds test/ but no train/"):
        load(root)
    (root / "test").rmdir()
    write_folder(root, ["ant"], count=4)
    with pytest.raises(DataError, match="at least two are needed; found ant"):
        load(root)
