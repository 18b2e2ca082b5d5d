from __future__ import annotations

import pickle
import re

import numpy as np

from methods.data.dataset import DataSet, LockedTest, change_locked, join_locked


def make_dataset() -> DataSet:
    inputs = np.arange(100 * 48, dtype=np.uint8).reshape(100, 3, 4, 4)
    targets = np.arange(100) % 4
    return DataSet(
        "colours",
        "classification",
        "abc",
        tuple("wxyz"),
        inputs[:80],
        targets[:80],
        LockedTest(inputs[80:], targets[80:]),
    )


def test_a_data_set_pickles_with_its_arrays_out_of_band() -> None:
    dataset = make_dataset()
    buffers: list[pickle.PickleBuffer] = []
    small = pickle.dumps(dataset, protocol=5, buffer_callback=buffers.append)
    assert len(small) < 2000
    assert sum(buffer.raw().nbytes for buffer in buffers) == 100 * (48 + 8)
    copy: DataSet = pickle.loads(small, buffers=buffers)
    assert np.shares_memory(copy.train_inputs, dataset.train_inputs)
    assert np.array_equal(copy.train_targets, dataset.train_targets)


def test_the_lock_remembers_who_opened_it_and_survives_pickling() -> None:
    dataset = make_dataset()
    assert dataset.locked is not None
    assert dataset.locked.openings == ()
    dataset.locked.open("study one")
    copy: LockedTest = pickle.loads(pickle.dumps(dataset.locked))
    inputs, targets = copy.open("study two")
    assert (len(copy), inputs.shape, targets.tolist()[:4]) == (20, (20, 3, 4, 4), [0, 1, 2, 3])
    assert dataset.locked.openings == ("study one",)
    assert copy.openings == ("study one", "study two")


def test_nothing_shown_of_a_data_set_holds_samples() -> None:
    dataset = make_dataset()
    assert "array" not in repr(dataset)
    assert repr(dataset.locked) == "LockedTest(20 samples, opened 0 times)"
    public = [name for name in dir(dataset.locked) if not name.startswith("_")]
    assert sorted(public) == ["num_bytes", "open", "openings"]


def test_a_data_set_can_be_handed_on_without_its_test() -> None:
    dataset = make_dataset()
    open_part = dataset.without_test()
    assert open_part.locked is None
    assert open_part.train_inputs is dataset.train_inputs
    assert not re.search("locked=LockedTest", repr(open_part))


def test_test_splits_are_changed_and_joined_without_being_opened() -> None:
    first, second = make_dataset().locked, make_dataset().locked
    assert first is not None
    assert second is not None
    changed = change_locked(second, lambda inputs, targets: (255 - inputs, targets + 4))
    joined = join_locked([first, changed])
    assert [lock.openings for lock in (first, second, changed, joined)] == [()] * 4
    inputs, targets = joined.open("a test")
    assert np.array_equal(inputs[20:], 255 - inputs[:20])
    assert targets.tolist() == [*(np.arange(20) % 4), *(np.arange(20) % 4 + 4)]
