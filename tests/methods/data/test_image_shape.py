from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.contract import Normalization
from methods.data.dataset import DataError, DataSet, LockedTest
from methods.data.image_shape import bring_to_shape, resize_bilinear
from methods.data.load import fingerprint, load_dataset
from methods.task_spec import DataSpec


def images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def make_dataset(*shape: int) -> DataSet:
    inputs = images(12, *shape)
    targets = np.arange(12) % 2
    lock = LockedTest(inputs[8:], targets[8:])
    constants = Normalization((0.5,) * shape[0], (0.2,) * shape[0])
    return DataSet("x", "classification", "x", ("a", "b"), inputs[:8], targets[:8], lock, constants)


def test_a_row_of_two_pixels_becomes_four_by_hand() -> None:
    # Centres of the new pixels lie at -0.25 (moved to 0), 0.25, 0.75 and 1.25 (moved to 1) of the old.
    row = np.array([[[[10, 21]]]], dtype=np.uint8)
    assert resize_bilinear(row, height=1, width=4).tolist() == [[[[10, 13, 18, 21]]]]


def test_half_the_size_is_the_mean_of_four_rounded_halves_upwards() -> None:
    block = np.array([[[[1, 2], [3, 4]]]], dtype=np.uint8)
    assert resize_bilinear(block, height=1, width=1).tolist() == [[[[3]]]]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_any_size_agrees_with_bilinear_interpolation_in_double_precision(
    height: int, width: int, new_height: int, new_width: int, seed: int
) -> None:
    old = images(3, 2, height, width, seed=seed)
    new = resize_bilinear(old, height=new_height, width=new_width)
    exact = F.interpolate(torch.from_numpy(old).double(), (new_height, new_width), mode="bilinear")
    assert new.shape == tuple(exact.shape)
    assert new.dtype == np.uint8
    assert np.abs(new - exact.numpy()).max() <= 0.5 + 1e-9


def test_a_pixel_is_rounded_as_fractions_are() -> None:
    old = images(1, 1, 3, 1)
    column = [Fraction(int(value)) for value in old[0, 0, :, 0]]
    places = [min(max(Fraction(2 * new + 1, 2) * Fraction(3, 7) - Fraction(1, 2), 0), 2) for new in range(7)]
    expected = []
    for place in places:
        low = int(place)
        value = column[low] + (column[min(low + 1, 2)] - column[low]) * (place - low)
        expected.append(int(value + Fraction(1, 2)))
    assert resize_bilinear(old, height=7, width=1)[0, 0, :, 0].tolist() == expected


def test_more_images_than_fit_a_chunk_are_all_resized() -> None:
    old = images(600, 1, 4, 4)
    new = resize_bilinear(old, height=8, width=8)
    assert np.array_equal(new[599:], resize_bilinear(old[599:], height=8, width=8))
    assert np.array_equal(new[300:301], resize_bilinear(old[300:301], height=8, width=8))


def test_grey_is_repeated_in_three_channels_of_pool_and_test() -> None:
    dataset = make_dataset(1, 4, 4)
    brought = bring_to_shape(dataset, (3, 8, 8))
    assert brought.locked is not None
    test, test_targets = brought.locked.open("a test")
    assert (brought.input_shape, test.shape, test_targets.tolist()) == ((3, 8, 8), (4, 3, 8, 8), [0, 1, 0, 1])
    for inputs in (brought.train_inputs, test):
        assert np.array_equal(inputs, np.repeat(inputs[:, :1], 3, axis=1))
    assert np.array_equal(brought.train_inputs[:, :1], resize_bilinear(dataset.train_inputs, height=8, width=8))
    assert dataset.locked is not None
    assert dataset.locked.openings == ()


def test_published_constants_are_for_images_as_they_were() -> None:
    assert bring_to_shape(make_dataset(3, 4, 4), (3, 5, 4)).normalization is None
    same = make_dataset(3, 4, 4)
    kept = bring_to_shape(same, (3, 4, 4))
    assert (kept.normalization, kept.train_inputs is same.train_inputs) == (same.normalization, True)


@pytest.mark.parametrize(("have", "want"), [((3, 4, 4), (1, 4, 4)), ((1, 4, 4), (2, 4, 4))])
def test_only_grey_becomes_colour(have: tuple[int, int, int], want: tuple[int, int, int]) -> None:
    with pytest.raises(DataError, match=rf"have {have[0]} channels .* write `image_shape: \[{have[0]}, 4, 4\]`"):
        bring_to_shape(make_dataset(*have), want)


def test_digits_come_as_small_colour_images_with_a_fingerprint_of_their_own() -> None:
    spec = DataSpec(source="digits", classes=("3", "8"), image_shape=(3, 32, 32))
    dataset = load_dataset(spec, test_share=0.2)
    assert (dataset.input_shape, dataset.class_names) == ((3, 32, 32), ("3", "8"))
    assert dataset.fingerprint == fingerprint(spec, test_share=0.2)
    others = [spec.model_copy(update={"image_shape": shape}) for shape in (None, (3, 16, 16))]
    assert dataset.fingerprint not in [fingerprint(other, test_share=0.2) for other in others]
