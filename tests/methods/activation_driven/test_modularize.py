"""Activation rates and the choice of units, against the specification's check values and hand-worked cases."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.activation_driven.modularize import ActivityCounts, activation_rates, select_units
from methods.modules.activity import fires


def check_case() -> tuple[Tensor, Tensor]:
    """12 samples, label i mod 3, one site [12, 4, 2, 2] = max(0, sin(1.7i + 2.3c + 0.9h + 1.3w) - 0.5)."""
    i, c, h, w = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (12, 4, 2, 2)), indexing="ij")
    return (torch.sin(1.7 * i + 2.3 * c + 0.9 * h + 1.3 * w) - 0.5).clamp(min=0), torch.arange(12) % 3


def masks(*rows: str) -> list[list[bool]]:
    return [[digit == "1" for digit in row] for row in rows]


def test_rates_and_masks_are_the_check_values() -> None:
    activation, labels = check_case()
    (rates,) = activation_rates([activation], labels, num_classes=3)
    assert rates.tolist() == [[0.5, 1, 0.5, 0.5], [0.75, 0.5, 0.5, 1], [0.75, 0.5, 0.75, 0.5]]
    (keep,) = select_units([rates], threshold=0.75)
    assert keep.tolist() == masks("0100", "1001", "1010")


def test_a_starving_class_gets_as_many_units_as_the_largest() -> None:
    rates = torch.tensor([[0.97, 0.91, 0.3, 0.2], [0.1, 0.7, 0.6, 0.2]])
    assert select_units([rates], threshold=0.9)[0].tolist() == masks("1100", "0110")
    assert select_units([rates], threshold=0.9, minimum_share=0.0)[0].tolist() == masks("1100", "0000")


def test_the_minimum_counts_whole_units_as_a_decimal_share_says() -> None:
    rates = torch.linspace(0.0, 0.5, 100)[None]
    assert int(select_units([rates], threshold=0.9, minimum_share=0.29)[0].sum()) == 29


def test_where_no_class_reaches_the_minimum_each_gets_just_that() -> None:
    rates = torch.tensor([[0.1, 0.2, 0.3, 0.3], [0.4, 0.4, 0.4, 0.4]])
    assert select_units([rates], threshold=0.9, minimum_share=0.5)[0].tolist() == masks("0011", "1100")


@settings(deadline=None)
@given(samples=st.integers(1, 6000), data=st.data())
def test_a_rate_exactly_at_the_threshold_is_enough_in_either_precision(samples: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, samples))
    threshold = count / samples
    exact = torch.tensor([[count / samples, (count - 1) / samples]], dtype=torch.float64)
    for rates in (exact, exact.float()):
        assert select_units([rates], threshold=threshold, minimum_share=0.0)[0].tolist() == [[True, False]]


def test_nine_tenths_of_five_thousand_pass_nine_tenths() -> None:
    activity = ActivityCounts(1)
    activation = torch.zeros(5000, 2)
    activation[:4500, 0] = 1e-30
    activation[:4499, 1] = 1.0
    activity.add([activation > 0], torch.zeros(5000, dtype=torch.int64))
    assert select_units(activity.rates(), threshold=0.9)[0].tolist() == [[True, False]]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), size=st.integers(1, 7))
def test_counting_batch_by_batch_equals_counting_one_by_one(seed: int, classes: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.arange(classes), torch.randint(classes, (17,), generator=generator)])
    maps = (torch.rand(len(labels), 3, 2, 2, generator=generator) - 0.7).clamp(min=0)
    units = (torch.rand(len(labels), 5, generator=generator) - 0.4).clamp(min=0)
    activity = ActivityCounts(classes)
    for part in torch.arange(len(labels)).split(size):
        activity.add([fires(maps[part]), fires(units[part])], labels[part])
    for rates, fired in zip(activity.rates(), [maps.amax(dim=(2, 3)) > 0, units > 0], strict=True):
        for one in range(classes):
            for unit in range(fired.shape[1]):
                own = [bool(fired[i, unit]) for i in range(len(labels)) if int(labels[i]) == one]
                assert rates[one, unit] == sum(own) / len(own)


def test_a_class_without_samples_is_named() -> None:
    with pytest.raises(ValueError, match="no sample of class 1, 3"):
        activation_rates([torch.ones(3, 2)], torch.tensor([0, 2, 0]), num_classes=4)


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.01, math.nan])
def test_thresholds_outside_of_their_range_are_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        select_units([torch.ones(1, 1)], threshold=threshold)


@pytest.mark.parametrize(
    ("activations", "labels", "fault"),
    [
        ([], torch.tensor([0]), "no activations"),
        ([torch.ones(2, 3)], torch.tensor([0]), r"shape \(2, 3\) for 1 labels"),
        ([torch.ones(1, 3, 2)], torch.tensor([0]), "give"),
        ([torch.ones(2, 3)], torch.tensor([[0.5, 0.5], [1.0, 0.0]]), "soft labels"),
        ([torch.ones(1, 3)], torch.tensor([7]), "2 classes"),
        ([torch.tensor([[0.5, -0.5]])], torch.tensor([0]), "no output of a ReLU"),
    ],
)
def test_what_does_not_belong_together_is_refused(activations: list[Tensor], labels: Tensor, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        activation_rates(activations, labels, num_classes=2)


def test_a_minimum_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="minimum_share 2"):
        select_units([torch.ones(1, 1)], threshold=0.5, minimum_share=2)
