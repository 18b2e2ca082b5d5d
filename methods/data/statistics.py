"""What training samples say as a whole: mean and spread of inputs, for normalising; weights of classes.

Shapes: N = samples, C = channels, H, W = height and width, D = features.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from methods.contract import Normalization
from methods.data.dataset import Array

_CHUNK = 4096


def measure_normalization(inputs: Array) -> Normalization:
    """Per-channel statistics of uint8 (N, C, H, W) images on the 0-1 scale, or per-feature ones of (N, D) tables.

    A channel or feature without spread gets the standard deviation 1, so that it becomes 0 and not NaN.
    """
    mean = channel_means(inputs)
    variance = sum(((chunk - mean[:, None]) ** 2).sum((0, 2)) for chunk in _chunks(inputs)) / _values_per_mean(inputs)
    std = np.sqrt(variance)
    std[std == 0] = 1.0
    return Normalization(tuple(mean.tolist()), tuple(std.tolist()))


def balanced_weights(targets: NDArray[np.int64], num_classes: int) -> NDArray[np.float32]:
    """Weight of each class that makes all of them count alike: n / (K * n_k), so the mean over the samples is 1.

    The formula of scikit-learn's `class_weight="balanced"`.

    Args:
        targets: (N,) class indices of the training part, at least one of each.
        num_classes: K.
    """
    counts = np.bincount(targets, minlength=num_classes)
    return (len(targets) / (num_classes * counts)).astype(np.float32)


def channel_means(inputs: Array) -> NDArray[np.float64]:
    """(C,) means of images on the 0-1 scale, or (D,) means of tables."""
    total = sum(chunk.sum((0, 2)) for chunk in _chunks(inputs))
    return np.asarray(total / _values_per_mean(inputs), dtype=np.float64)


def _chunks(inputs: Array) -> Iterator[NDArray[np.float64]]:
    """Parts of the inputs as (samples, channels, values per channel); all of them at once would not fit in memory."""
    scale = 255.0 if inputs.dtype == np.uint8 else 1.0
    for start in range(0, len(inputs), _CHUNK):
        chunk = inputs[start : start + _CHUNK]
        yield chunk.reshape(len(chunk), chunk.shape[1], -1).astype(np.float64) / scale


def _values_per_mean(inputs: Array) -> int:
    return inputs.size // int(inputs.shape[1])
