from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from methods.data.statistics import balanced_weights, channel_means, measure_normalization


def test_images_are_measured_per_channel_on_the_unit_scale() -> None:
    inputs = np.random.default_rng(0).integers(0, 256, (5000, 3, 4, 2), dtype=np.uint8)
    measured = measure_normalization(inputs)
    unit = inputs / 255
    assert measured.mean == pytest.approx(unit.mean((0, 2, 3)), rel=1e-12)
    assert measured.std == pytest.approx(unit.std((0, 2, 3)), rel=1e-12)
    assert channel_means(inputs) == pytest.approx(measured.mean)


def test_tables_are_measured_per_feature_and_a_constant_one_stays_finite() -> None:
    inputs = np.array([[1.0, 7.0], [3.0, 7.0]], dtype=np.float32)
    measured = measure_normalization(inputs)
    assert measured.mean == (2.0, 7.0)
    assert measured.std == (1.0, 1.0)


def test_balanced_weights_are_those_of_scikit_learn_and_one_on_average() -> None:
    targets = np.array([0] * 7 + [1] * 2 + [2] * 1)
    weights = balanced_weights(targets, 3)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    assert weights == pytest.approx(expected)
    assert weights[targets].mean() == pytest.approx(1)
