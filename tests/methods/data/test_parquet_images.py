from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from methods.data.dataset import DataError, DataSet
from methods.data.load import fingerprint, load_dataset
from methods.task_spec import DataSpec
from tests.methods.data.image_files import encode, random_pixels, write_parquet, write_parquet_set

TRAIN, TEST = "train-00000-of-00001.parquet", "test-00000-of-00001.parquet"
SIX = [encode(pixels) for pixels in random_pixels(6)]
LABELS = [0, 1, 0, 1, 0, 1]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "shapes"


def load(root: Path, *, max_undecodable: float = 0.0, test_share: float = 0.2) -> DataSet:
    spec = DataSpec(source="parquet_images", path=str(root), max_undecodable=max_undecodable)
    dataset = load_dataset(spec, test_share=test_share, cache_dir=root.parent / "cache")
    assert dataset.fingerprint == fingerprint(spec, test_share=test_share, cache_dir=root.parent / "cache")
    return dataset


def locked(dataset: DataSet) -> tuple[np.ndarray, np.ndarray]:
    assert dataset.locked is not None
    return dataset.locked.open("a test")


def test_a_hub_set_loads_with_its_official_test_split(root: Path) -> None:
    pixels = write_parquet_set(root)
    dataset = load(root)
    assert (dataset.name, dataset.input_shape, dataset.class_names) == ("shapes", (3, 6, 5), ("0", "1", "2"))
    assert np.array_equal(dataset.train_inputs, pixels.transpose(0, 3, 1, 2))
    assert dataset.train_targets.tolist() == [n % 3 for n in range(30)]
    assert np.array_equal(locked(dataset)[0], random_pixels(30, seed=1).transpose(0, 3, 1, 2))
    assert dataset.normalization is None


def test_the_test_share_matters_only_without_an_official_test_split(root: Path) -> None:
    write_parquet_set(root)
    assert load(root, test_share=0.2).fingerprint == load(root, test_share=0.4).fingerprint
    (root / TEST).unlink()
    fifth, half = load(root, test_share=0.2), load(root, test_share=0.5)
    assert fifth.fingerprint != half.fingerprint
    assert np.bincount(locked(fifth)[1]).tolist() == [2, 2, 2]
    assert np.bincount(half.train_targets).tolist() == [5, 5, 5]
    whole = np.concatenate([fifth.train_inputs, locked(fifth)[0]])
    assert len(np.unique(whole.reshape(30, -1), axis=0)) == 30


def test_validation_files_and_the_data_folder_join_the_training_pool(root: Path) -> None:
    for number, split in enumerate(("train-00000-of-00002", "train-00001-of-00002", "valid-00000-of-00001", "test")):
        labels = [number % 4, number % 4]
        write_parquet(root / "data" / f"{split}.parquet", SIX[:2], [0, 1] if split == "test" else labels)
    dataset = load(root)
    assert dataset.train_targets.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(locked(dataset)[1]) == 2


def test_class_names_come_from_the_description_of_the_hub(root: Path) -> None:
    write_parquet(root / TRAIN, SIX, LABELS, names=["ant", "bee"])
    write_parquet(root / TEST, SIX, LABELS)
    assert load(root).class_names == ("ant", "bee")


def test_columns_are_found_by_type_and_name(root: Path) -> None:
    more = {"coarse_label": [0] * 6}
    for file in (TRAIN, TEST):
        write_parquet(root / file, SIX, LABELS, image="img", label="fine_label", more=more)
    assert load(root).train_targets.tolist() == LABELS


def test_grey_images_have_one_channel(root: Path) -> None:
    grey = random_pixels(6, channels=1)
    for file in (TRAIN, TEST):
        write_parquet(root / file, [encode(pixels) for pixels in grey], LABELS, label="digit")
    assert np.array_equal(load(root).train_inputs, grey[:, None])


def test_ambiguous_label_columns_are_named(root: Path) -> None:
    write_parquet(root / TRAIN, SIX, LABELS, label="colour", more={"size": LABELS})
    with pytest.raises(DataError, match=r"cannot tell the label column: 2 could be it \(colour, size\)"):
        load(root)


def test_a_table_without_images_is_told_its_columns(root: Path) -> None:
    root.mkdir()
    pq.write_table(pa.table({"x": [1.5], "label": [0]}), root / TRAIN)
    with pytest.raises(DataError, match=r"cannot tell the image column: no column is .*x: double, label: int64"):
        load(root)


def test_undecodable_images_are_counted_named_and_left_out(root: Path) -> None:
    write_parquet(root / TRAIN, [b"torn", *SIX], [0, *LABELS])
    write_parquet(root / TEST, [*SIX, None], [*LABELS, 1])
    with pytest.raises(DataError, match=r"2 of 14 images \(14\.29%\).*train-.* row 0.*set `max_undecodable: 0\.1429`"):
        load(root)
    dataset = load(root, max_undecodable=0.1429)
    assert dataset.undecodable == (f"{TRAIN} row 0", f"{TEST} row 6")
    assert (dataset.train_targets.tolist(), len(locked(dataset)[1])) == (LABELS, 6)
    with pytest.raises(DataError, match="do not decode"):
        load(root, max_undecodable=0.1)  # the cache of a laxer study is no way round the limit


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        ([0, 1, 0, 1, 0, -1], LABELS, r"must lie in 0\.\.1, found -1"),
        (LABELS, [0, 1, 2, 0, 1, 2], r"must lie in 0\.\.1, found 2"),
        ([0, 3, 0, 3, 0, 3], LABELS, r"at least 2 samples of each class; too few of: '1' \(0\), '2' \(0\)"),
        ([0, 1, 0, None, 0, 1], LABELS, r"train-00000-of-00001\.parquet: row 3 has no label"),
        ([0, 0, 0, 0, 0, 1], LABELS, r"too few of: '1' \(1\)"),
    ],
)
def test_wrong_labels_are_told(root: Path, train: list[int | None], test: list[int | None], told: str) -> None:
    write_parquet(root / TRAIN, SIX, train)
    write_parquet(root / TEST, SIX, test)
    with pytest.raises(DataError, match=told):
        load(root)


def test_a_label_beyond_the_named_classes_is_refused(root: Path) -> None:
    for file in (TRAIN, TEST):
        write_parquet(root / file, SIX, [0, 1, 2, 0, 1, 2], names=["ant", "bee"])
    with pytest.raises(DataError, match=r"0\.\.1, found 2"):
        load(root)


def test_images_of_two_sizes_are_refused_by_row(root: Path) -> None:
    write_parquet(root / TRAIN, [*SIX, encode(random_pixels(1, size=(9, 9))[0])], [*LABELS, 1])
    with pytest.raises(DataError, match=r"train-00000-of-00001\.parquet row 6 is 9x9 but .* row 0 is 5x6"):
        load(root)


def test_a_truncated_file_is_told_with_its_mend(root: Path) -> None:
    write_parquet_set(root)
    file = root / TEST
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"test-00000-of-00001\.parquet is no complete Parquet file.*download it again"):
        load(root)


def test_a_missing_shard_is_named(root: Path) -> None:
    for number in (0, 2):
        write_parquet(root / f"train-{number:05d}-of-00003.parquet", SIX, LABELS)
    with pytest.raises(DataError, match="lies in 00003 files and 00001-of-00003 is missing"):
        load(root)


def test_an_empty_folder_and_a_wrong_folder_are_told_apart(root: Path) -> None:
    root.mkdir()
    with pytest.raises(DataError, match="there is no Parquet file"):
        load(root)
    write_parquet(root / "plain_text" / TRAIN, SIX, LABELS)
    with pytest.raises(DataError, match=f"there is plain_text/{TRAIN}; give the folder"):
        load(root)


def test_empty_splits_are_told(root: Path) -> None:
    write_parquet(root / TRAIN, [], [])
    with pytest.raises(DataError, match="holds no images"):
        load(root)
    write_parquet(root / TRAIN, SIX, LABELS)
    write_parquet(root / TEST, [], [])
    with pytest.raises(DataError, match="the test split holds no images"):
        load(root)


def test_cifar10_decodes_once_and_then_opens_in_under_a_second(tmp_path: Path) -> None:
    path = os.environ.get("PAREDOWN_CIFAR10")
    if not path:
        pytest.skip("set PAREDOWN_CIFAR10 to a folder with the Parquet files of CIFAR-10")
    spec = DataSpec(source="parquet_images", path="${PAREDOWN_CIFAR10}")
    load_dataset(spec, test_share=0.2, cache_dir=tmp_path)
    started = time.perf_counter()
    dataset = load_dataset(spec, test_share=0.2, cache_dir=tmp_path)
    assert time.perf_counter() - started < 1
    assert dataset.name == "cifar10"
    assert dataset.train_inputs.shape == (50000, 3, 32, 32)
    assert np.bincount(dataset.train_targets).tolist() == [5000] * 10
    assert np.bincount(locked(dataset)[1]).tolist() == [1000] * 10
    assert dataset.class_names[:3] == ("airplane", "automobile", "bird")
    assert dataset.normalization is not None
    assert dataset.normalization.mean == (0.4914, 0.4822, 0.4465)
