from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.contract import Split, Task
from methods.data.dataset import Column, DataError, DataSet, LockedTest
from methods.data.load import load_dataset
from methods.data.statistics import measure_normalization
from methods.task_spec import DataSpec, NetworkSpec, SkewSpec, TaskSpec
from methods.tasks import PreparedTask, TaskData, build_task, open_test, prepare, task_info
from tests.methods.data.image_files import write_parquet_set


def make_spec(source: str = "digits", network: str = "small_cnn", **fields: Any) -> TaskSpec:
    return TaskSpec(data=DataSpec(source=source), network=NetworkSpec(name=network), epochs=3, **fields)


def make_dataset(source: str = "digits") -> DataSet:
    return load_dataset(DataSpec(source=source), test_share=0.2)


def build(spec: TaskSpec, dataset: DataSet | None = None, *, seed: int = 0) -> PreparedTask:
    data = prepare(spec, dataset or make_dataset(spec.data.source))
    return build_task(spec, data, name="a task", seed=seed, device="cpu")


def rows(split: Split) -> set[bytes]:
    return {bytes(row.numpy().tobytes()) for row in split.inputs}


def test_a_task_is_what_methods_are_promised() -> None:
    task: Task = build(make_spec(augmentation="crop_flip", batch_size=32, precision="float32"), seed=7)
    assert (task.train.inputs.dtype, task.train.targets.dtype) == (torch.uint8, torch.int64)
    assert task.info.input_shape == tuple(task.train.inputs.shape[1:]) == (1, 8, 8)
    assert (task.info.num_train, task.info.num_validation) == (len(task.train), len(task.validation))
    assert (task.info.name, task.info.kind, task.info.num_outputs) == ("a task", "classification", 10)
    assert (task.epochs, task.batch_size, task.augmentation) == (3, 32, "crop_flip")
    assert (task.seed, task.device, task.precision) == (7, "cpu", "float32")


def test_info_agrees_with_the_task_without_building_it() -> None:
    spec, dataset = make_spec(fraction=0.3, validation_share=0.25), make_dataset()
    assert task_info(spec, prepare(spec, dataset), "a task") == build(spec, dataset).info


def test_train_and_validation_share_no_sample_and_cover_the_pool() -> None:
    dataset = make_dataset("breast_cancer")
    task = build(make_spec("breast_cancer", "mlp"), dataset)
    assert not rows(task.train) & rows(task.validation)
    assert len(task.train) + len(task.validation) == len(dataset.train_targets)
    assert set(task.validation.targets.tolist()) == {0, 1}


def test_a_fraction_thins_out_both_parts_and_never_mixes_them() -> None:
    dataset = make_dataset("breast_cancer")
    whole, third = (build(make_spec("breast_cancer", "mlp", fraction=f), dataset) for f in (1.0, 0.33))
    assert rows(third.train) < rows(whole.train)
    assert rows(third.validation) < rows(whole.validation)
    assert len(third.train) == pytest.approx(0.33 * len(whole.train), abs=2)


def test_the_split_follows_the_split_seed_and_not_the_seed_of_the_run() -> None:
    spec, dataset = make_spec("wine", "mlp"), make_dataset("wine")
    first, replicate = build(spec, dataset, seed=0), build(spec, dataset, seed=1)
    assert torch.equal(first.train.inputs, replicate.train.inputs)
    other = build(make_spec("wine", "mlp", split_seed=1), dataset)
    assert rows(other.validation) != rows(first.validation)


def test_normalization_is_measured_on_the_training_part_alone() -> None:
    spec, dataset = make_spec("wine", "mlp"), make_dataset("wine")
    task = build(spec, dataset)
    assert task.normalization == measure_normalization(task.train.inputs.numpy())
    assert task.normalization != measure_normalization(dataset.train_inputs)


def marked_dataset(*, test_value: int) -> DataSet:
    """Test images are all of one value that no other image has."""
    inputs = np.random.default_rng(0).integers(0, 200, (60, 1, 4, 4), dtype=np.uint8)
    targets = np.arange(60) % 3
    inputs[40:] = test_value
    # Views of one array, as memory-mapped splits are views of one file.
    lock = LockedTest(inputs[40:], targets[40:])
    return DataSet("marked", "classification", f"{test_value}", tuple("abc"), inputs[:40], targets[:40], lock)


def test_no_test_sample_can_be_reached_from_a_task() -> None:
    task = build(make_spec(), marked_dataset(test_value=251))
    # Pickling follows every reference and writes the whole storage behind each tensor.
    assert bytes([251] * 16) not in pickle.dumps(task)
    assert bytes([251] * 16) in pickle.dumps(marked_dataset(test_value=251))
    for split in (task.train, task.validation):
        for tensor in (split.inputs, split.targets):
            assert tensor.untyped_storage().nbytes() == tensor.nbytes
    assert not any(isinstance(value, DataSet | LockedTest) for value in reachable(task))


def reachable(start: object) -> list[object]:
    """Everything that hangs on an object through attributes, containers and tensors' bases."""
    found: dict[int, object] = {}
    waiting = [start]
    while waiting:
        value = waiting.pop()
        if id(value) in found:
            continue
        found[id(value)] = value
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += value
        elif not isinstance(value, Tensor | type):
            waiting += list(getattr(value, "__dict__", {}).values())
    return list(found.values())


def test_the_test_split_opens_whole_and_says_who_asked() -> None:
    dataset = marked_dataset(test_value=252)
    build(make_spec(), dataset)
    assert dataset.locked is not None
    assert dataset.locked.openings == ()
    split = open_test(prepare(make_spec(fraction=0.5), dataset), opened_by="study x")
    assert dataset.locked.openings == ("study x",)
    assert (len(split), split.targets.dtype, split.inputs.unique().tolist()) == (20, torch.int64, [252])


def test_a_data_set_without_test_builds_the_same_task_and_opens_nothing() -> None:
    dataset = marked_dataset(test_value=253)
    task = build(make_spec(), dataset.without_test())
    assert torch.equal(task.train.inputs, build(make_spec(), dataset).train.inputs)
    with pytest.raises(DataError, match="came without its test split"):
        open_test(prepare(make_spec(), dataset.without_test()), opened_by="study x")


def test_memory_mapped_samples_are_never_written_to(tmp_path: Path) -> None:
    write_parquet_set(tmp_path / "set")
    spec = DataSpec(source="parquet_images", path=str(tmp_path / "set"))
    dataset = load_dataset(spec, test_share=0.2, cache_dir=tmp_path / "cache")
    task = build(make_spec(), dataset)
    before = dataset.train_inputs.copy()
    task.train.inputs.zero_()
    open_test(prepare(make_spec(), dataset), opened_by="a test").inputs.zero_()
    assert np.array_equal(dataset.train_inputs, before)


def test_samples_in_shared_memory_become_tensors_without_a_copy() -> None:
    spec = make_spec()
    buffers: list[pickle.PickleBuffer] = []
    small = pickle.dumps(prepare(spec, marked_dataset(test_value=254)), protocol=5, buffer_callback=buffers.append)
    shared: TaskData = pickle.loads(small, buffers=[bytes(buffer.raw()) for buffer in buffers])
    assert not shared.train_inputs.flags.writeable
    task = build_task(spec, shared, name="a task", seed=0, device="cpu")
    assert task.train.inputs.data_ptr() == shared.train_inputs.ctypes.data
    assert task.validation.inputs.data_ptr() == shared.validation_inputs.ctypes.data
    assert len(open_test(shared, opened_by="a test")) == 20


def test_networks_depend_on_seed_and_width_alone() -> None:
    first, again, other = (build(make_spec(), seed=seed).network() for seed in (3, 3, 4))
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)]
    assert all(same)
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    narrow = build(make_spec(), seed=3).network(width=0.5)
    assert sum(p.numel() for p in narrow.parameters()) < sum(p.numel() for p in first.parameters())
    assert first(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_regression_keeps_raw_targets_and_gives_one_output() -> None:
    task = build(make_spec("diabetes", "mlp"))
    assert (task.info.kind, task.info.num_outputs, task.info.class_names) == ("regression", 1, ())
    assert task.train.targets.dtype == torch.float32
    assert task.train.targets.max() > 300
    # Stratified by the ranking, so the parts have about the same mean.
    assert task.validation.targets.mean() == pytest.approx(task.train.targets.mean().item(), rel=0.05)
    assert task.network()(task.train.inputs[:5]).shape == (5, 1)


def table_dataset(inputs: np.ndarray, *, test_inputs: np.ndarray | None = None) -> DataSet:
    """A regression on a number and a category, both with gaps."""
    columns = (Column("age", None), Column("deck", ("A", "B", "C")))
    targets = np.arange(len(inputs), dtype=np.float32)
    locked = None if test_inputs is None else LockedTest(test_inputs, np.zeros(len(test_inputs), dtype=np.float32))
    return DataSet("table", "regression", "table", (), inputs, targets, locked, columns=columns)


def table_inputs(count: int, *, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    inputs = np.stack([random.normal(30, 9, count), random.integers(0, 3, count)], axis=1).astype(np.float32)
    inputs[random.random(inputs.shape) < 0.2] = np.nan
    return inputs


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.0]))
def test_an_encoding_never_hears_of_validation_and_test(seed: int, fraction: float) -> None:
    spec = make_spec("diabetes", "mlp", validation_share=0.25, fraction=fraction)
    before = prepare(spec, table_dataset(table_inputs(60, seed=1), test_inputs=table_inputs(20, seed=2)))
    inputs = table_inputs(60, seed=1)
    # Targets are numbers of rows, so they tell which rows training has.
    others = np.setdiff1d(np.arange(60), before.train_targets.astype(int))
    inputs[others] = table_inputs(len(others), seed=seed) * np.float32([1e6, 1])
    after = prepare(spec, table_dataset(inputs, test_inputs=table_inputs(20, seed=seed + 1)))
    assert after.encoding == before.encoding
    assert after.normalization == before.normalization
    assert np.array_equal(after.train_inputs, before.train_inputs)


def test_a_table_is_encoded_alike_in_training_validation_and_test() -> None:
    spec = make_spec("diabetes", "mlp", validation_share=0.25)
    data = prepare(spec, table_dataset(table_inputs(60, seed=1), test_inputs=table_inputs(20, seed=2)))
    assert data.encoding is not None
    assert data.encoding.feature_names == ("age", "deck=A", "deck=B", "deck=C")
    task = build_task(spec, data, name="a task", seed=0, device="cpu")
    assert task.info.input_shape == (4,)
    assert data.locked is not None
    assert data.locked.openings == ()
    test = open_test(data, opened_by="a test")
    for split in (task.train, task.validation, test):
        assert split.inputs.dtype == torch.float32
        assert bool(split.inputs.isfinite().all())
        assert split.inputs[:, 1:].sum(dim=1).tolist() == [1] * len(split)
    assert torch.equal(test.inputs, torch.from_numpy(data.encoding.encode(table_inputs(20, seed=2), data.columns)))
    assert task.normalization == measure_normalization(task.train.inputs.numpy())
    assert np.isnan(table_inputs(20, seed=2)).any(), "the raw samples do have gaps"


def test_balanced_classes_count_alike_whatever_the_part_trained_on() -> None:
    spec = make_spec("breast_cancer", "mlp", class_weights="balanced", fraction=0.5)
    task = build(spec)
    assert task.class_weights is not None
    counts = torch.bincount(task.train.targets)
    assert (counts * task.class_weights).tolist() == pytest.approx([len(task.train) / 2] * 2)
    assert build(make_spec("breast_cancer", "mlp")).class_weights is None


def test_a_regression_with_weights_of_classes_is_refused() -> None:
    with pytest.raises(DataError, match="'diabetes' is a regression and has no classes; remove `class_weights"):
        build(make_spec("diabetes", "mlp", class_weights="balanced"))


def test_a_skew_thins_out_the_training_part_alone() -> None:
    dataset = make_dataset()
    plain, *skewed = (
        prepare(make_spec(validation_share=0.2, skew=skew), dataset)
        for skew in (None, SkewSpec(seed=1, minimum=5), SkewSpec(seed=2, minimum=5))
    )
    whole = {row.tobytes() for row in plain.train_inputs}
    for data in skewed:
        assert np.array_equal(data.validation_inputs, plain.validation_inputs)
        assert np.array_equal(data.validation_targets, plain.validation_targets)
        assert {row.tobytes() for row in data.train_inputs} < whole
        assert data.normalization == measure_normalization(data.train_inputs)
        assert data.locked is dataset.locked
        counts = data.class_counts
        assert min(counts.values()) >= 5
        assert any(counts[name] == size for name, size in plain.class_counts.items())
    assert skewed[0].class_counts != skewed[1].class_counts


def test_a_skew_is_drawn_from_what_the_fraction_leaves_and_told_where_it_trains() -> None:
    data = prepare(make_spec(fraction=0.5, skew=SkewSpec(seed=1, minimum=5)), make_dataset())
    half = prepare(make_spec(fraction=0.5), make_dataset())
    assert {row.tobytes() for row in data.train_inputs} < {row.tobytes() for row in half.train_inputs}
    assert sum(data.class_counts.values()) == task_info(make_spec(), data, "a task").num_train
    assert list(data.class_counts) == [str(digit) for digit in range(10)]
    assert prepare(make_spec("diabetes", "mlp"), make_dataset("diabetes")).class_counts == {}


def test_a_skew_needs_classes_with_enough_samples() -> None:
    with pytest.raises(DataError, match=r"a skew with `minimum: 500` .* needs at least 500 .*: '0'"):
        build(make_spec(skew=SkewSpec(seed=1, minimum=500)))
    with pytest.raises(DataError, match="'diabetes' is a regression and has no classes; remove `skew`"):
        build(make_spec("diabetes", "mlp", skew=SkewSpec(seed=1)))


def test_a_class_with_a_single_sample_is_refused_by_name() -> None:
    inputs, targets = np.zeros((5, 2), dtype=np.float32), np.array([0, 0, 1, 1, 2])
    dataset = DataSet("tiny", "classification", "tiny", ("a", "b", "c"), inputs, targets, None)
    with pytest.raises(DataError, match=r"task on 'tiny' needs at least 2 .*'c' \(1\)"):
        build(make_spec(), dataset)


@pytest.mark.gpu
def test_a_task_and_its_network_live_on_the_device() -> None:
    data = prepare(make_spec(), make_dataset())
    task = build_task(make_spec(), data, name="a task", seed=0, device="cuda")
    assert task.train.inputs.is_cuda
    assert task.network()(task.train.inputs[:4].float()).is_cuda
