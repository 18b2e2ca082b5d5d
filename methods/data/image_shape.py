"""Images in another shape, so that sets of different sizes can serve one network.

Shapes: N = images, C = channels, H, W = height and width, O = height or width afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from methods.data.dataset import Array, DataError, DataSet, change_locked

_CHUNK = 256


def bring_to_shape(dataset: DataSet, shape: tuple[int, int, int]) -> DataSet:
    """The images of `dataset`, those of the test split alike, as (C, H, W) = `shape`.

    Grey is repeated in every channel; height and width follow `resize_bilinear`. Published constants of a recognised
    set are for its own images and go. Images of this shape already are not copied.

    Raises:
        DataError: The number of channels differs, and not because the images are grey and three are wanted.
    """
    channels, height, width = shape
    if dataset.input_shape[0] != channels and (dataset.input_shape[0], channels) != (1, 3):
        raise DataError(
            f"the images of '{dataset.name}' have {dataset.input_shape[0]} channels and cannot get {channels}, as only "
            f"grey becomes colour; write `image_shape: [{dataset.input_shape[0]}, {height}, {width}]`."
        )

    def brought(inputs: Array, targets: Array) -> tuple[Array, Array]:
        resized = resize_bilinear(inputs, height=height, width=width)
        return np.repeat(resized, channels // resized.shape[1], axis=1), targets

    fingerprint = fingerprint_shape(dataset.fingerprint, shape)
    if dataset.input_shape == shape:
        return replace(dataset, fingerprint=fingerprint)
    return replace(
        dataset,
        fingerprint=fingerprint,
        train_inputs=brought(dataset.train_inputs, dataset.train_targets)[0],
        locked=dataset.locked and change_locked(dataset.locked, brought),
        normalization=None,
    )


def fingerprint_shape(before: str, shape: tuple[int, int, int]) -> str:
    """`bring_to_shape(...).fingerprint` for a data set with the fingerprint `before`."""
    return hashlib.sha256(f"image_shape {before} {tuple(shape)}".encode()).hexdigest()


def resize_bilinear(images: Array, *, height: int, width: int) -> Array:
    """Images of another height and width, bit by bit the same on every machine.

    A new pixel's centre, scaled to the old image, lies between the centres of four old pixels, or beyond the edge and
    is moved onto it. The four are weighed by nearness and the sum is rounded, halves upwards. All of that in whole
    numbers, as floats would round differently here and there. Nothing is smoothed before: an image made smaller than
    half loses the pixels in between.

    Args:
        images: uint8 (N, C, H, W).

    Returns:
        uint8 (N, C, height, width); `images` itself where that is their size.
    """
    if images.shape[2:] == (height, width):
        return images
    resized = np.empty((*images.shape[:2], height, width), dtype=np.uint8)
    rows, columns = _Taps(images.shape[2], height), _Taps(images.shape[3], width)
    whole = rows.unit * columns.unit
    for part in _chunks(len(images)):
        # Rows first, which leaves the longer runs of memory for later.
        summed = columns.blend(rows.blend(images[part].astype(np.int64), axis=2), axis=3)
        resized[part] = (summed + whole // 2) // whole
    return resized


class _Taps:
    """For each place along one new axis the two old places it lies between, and how near the upper one is."""

    def __init__(self, size: int, wanted: int) -> None:
        self.unit = 2 * wanted
        """What the two weights of a place add up to."""
        # Centres in units of 1 / (2 * wanted) of an old pixel, in which all of them are whole numbers.
        place_O = (2 * np.arange(wanted, dtype=np.int64) + 1) * size - wanted
        place_O = np.clip(place_O, 0, self.unit * (size - 1))
        self.lower_O: NDArray[np.int64] = place_O // self.unit
        self.upper_O = np.minimum(self.lower_O + 1, size - 1)
        self.weight_O = place_O % self.unit

    def blend(self, values: NDArray[np.int64], *, axis: int) -> NDArray[np.int64]:
        """Weighed sums along `axis`, `unit` times as large as the values."""
        weight = self.weight_O.reshape([-1 if at == axis else 1 for at in range(values.ndim)])
        lower, upper = values.take(self.lower_O, axis), values.take(self.upper_O, axis)
        return lower * self.unit + (upper - lower) * weight


def _chunks(count: int) -> Iterator[slice]:
    """Whole numbers take eight times the memory of pixels, too much for all images at once."""
    return (slice(start, start + _CHUNK) for start in range(0, count, _CHUNK))
