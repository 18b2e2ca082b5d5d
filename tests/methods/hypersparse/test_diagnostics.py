"""What is gathered of a ramp, by hand, and the figures made of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from methods.figures import FIGURES, LineChart
from methods.hypersparse.diagnostics import (
    BINS_PER_DECADE,
    HIGHEST,
    LOWEST,
    Histogram,
    LastStepGradients,
    RampEpoch,
    RampRecord,
    magnitude_histogram,
    mask_overlap,
    ramp_figures,
    share_below,
)
from methods.hypersparse.snapshots import Snapshot

ZERO = (LOWEST * -1) * BINS_PER_DECADE
"""The bin that begins at magnitude 1."""


def _found(histogram: Histogram) -> dict[int, int]:
    """Bin, counted from magnitude 1 -> count, where there are any."""
    return {index - ZERO: count for index, count in enumerate(histogram.counts) if count}


def test_magnitudes_are_counted_by_sixths_of_a_decade_over_all_tensors() -> None:
    values = [torch.tensor([[1.1, -1.1], [2.0, -12.0]]), torch.tensor([0.5, 0.011])]
    found = magnitude_histogram(values)
    # Sixths of a decade begin at 1, 1.47, 2.15, 3.16, 4.64, 6.81 and at these times powers of ten.
    assert _found(found) == {0: 2, 1: 1, 6: 1, -2: 1, -12: 1}
    assert found.total == 6


def test_zeros_infinities_and_magnitudes_outside_the_range_count_in_the_total_alone() -> None:
    found = magnitude_histogram([torch.tensor([0.0, -0.0, 1e-20, 1e9, torch.inf, torch.nan, 1.1])])
    assert _found(found) == {0: 1}
    assert found.total == 7
    assert magnitude_histogram([]).total == 0


def test_densities_integrate_to_the_share_of_values_in_the_range() -> None:
    found = magnitude_histogram([torch.logspace(-6, 1, 999), torch.zeros(1)])
    assert len(found.counts) == (HIGHEST - LOWEST) * BINS_PER_DECADE
    assert sum(found.densities()) / BINS_PER_DECADE == pytest.approx(0.999)
    assert max(found.densities()) == pytest.approx(1 / 7, rel=0.05), "seven decades, evenly filled"


def test_more_equal_magnitudes_than_float32_counts_one_by_one_are_counted() -> None:
    layer = torch.full((9_000_000,), 1.1)
    assert _found(magnitude_histogram([layer, layer])) == {0: 18_000_000}


def test_share_below_is_strict_and_over_all_tensors() -> None:
    assert share_below([torch.tensor([0.1, -0.2]), torch.tensor([[0.3, 0.05]])], 0.2) == 0.5


def test_overlap_is_the_share_of_the_kept_that_were_kept_before() -> None:
    def bits(*kept: int) -> torch.Tensor:
        mask = torch.zeros(10, dtype=torch.bool)
        mask[list(kept)] = True
        layer = torch.nn.Linear(5, 2, bias=False)
        return Snapshot.take(layer, [layer.weight], [mask.view(2, 5)]).bits

    assert mask_overlap(bits(0, 3, 8, 9), bits(3, 8, 9, 1, 2)) == 0.75
    assert mask_overlap(bits(0, 1), bits(2, 3)) == 0.0
    assert mask_overlap(bits(4), bits(4, 5, 6)) == 1.0
    assert mask_overlap(bits(), bits(1)) == 1.0


def test_gradients_are_those_of_the_last_step_before_anything_is_added() -> None:
    weight, unused = torch.zeros(2, requires_grad=True), torch.zeros(3, requires_grad=True)
    last = LastStepGradients([weight, unused], steps=3)
    for step in range(3):
        weight.grad = torch.full((2,), float(step))
        assert last.values == []
        last.see_step()
        weight.grad += 100
    (seen,) = last.values
    assert seen.tolist() == [2.0, 2.0]


def _epoch(number: int) -> RampEpoch:
    return RampEpoch(
        alpha=1e-5 * number,
        tau=0.1 / number,
        c=1.0 + number / 10,
        dense_accuracy=0.9,
        pruned_accuracy=number / 10,
        share_below_tau_tenth=number / 20,
        mask_overlap=None if number == 1 else 0.5,
        weights=magnitude_histogram([torch.tensor([1.1, 0.011 * number])]),
        task_gradients=magnitude_histogram([torch.tensor([0.0011])]),
        penalty_gradients=magnitude_histogram([torch.tensor([1.1e-5])]),
    )


def _record(num_epochs: int) -> RampRecord:
    return RampRecord(
        magnitude_histogram([torch.tensor([1.1, 1.1])]), [_epoch(number + 1) for number in range(num_epochs)]
    )


def _charts(record: RampRecord) -> dict[str, LineChart]:
    found: dict[str, LineChart] = {}
    for figure in ramp_figures(record, metric="accuracy"):
        assert isinstance(figure, LineChart)
        found[figure.name] = figure
    return found


def test_a_record_survives_a_checkpoint() -> None:
    record = _record(3)
    assert RampRecord.from_state(json.loads(json.dumps(record.state()))) == record


def test_figures_tell_each_epoch_of_the_ramp_and_three_stages_of_the_magnitudes() -> None:
    charts = _charts(_record(5))
    assert len(charts) == 8
    assert charts["penalty_strength"].log_y
    assert charts["penalty_strength"].lines[0].x == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert charts["penalty_strength"].lines[0].y == pytest.approx((1e-5, 2e-5, 3e-5, 4e-5, 5e-5))
    assert charts["penalty_gradients"].log_y
    assert charts["mask_overlap"].lines[0].y == (None, 0.5, 0.5, 0.5, 0.5)
    assert [line.label for line in charts["pruned_against_dense"].lines] == ["dense", "pruned"]
    assert [line.label for line in charts["weight_magnitudes"].lines] == [
        "before the ramp",
        "epoch 3",
        "epoch 5",
    ]
    assert [line.label for line in charts["task_gradients"].lines] == ["epoch 1", "epoch 3", "epoch 5"]


def test_histograms_show_the_bins_in_use_and_close_at_the_right() -> None:
    before = _charts(_record(1))["weight_magnitudes"].lines[0]
    # From 0.011, of the last epoch, to 1.1, with an empty bin on either side.
    assert before.x[0] == pytest.approx(10 ** (-2 - 1 / 6))
    assert before.x[-1] == pytest.approx(10 ** (2 / 6))
    assert len(before.x) == 16
    assert before.y == (0.0,) * 13 + (6.0, 0.0, 0.0)


def test_a_ramp_of_one_epoch_and_gradients_that_are_all_zero_can_be_drawn() -> None:
    still = replace(_epoch(1), task_gradients=magnitude_histogram([torch.zeros(4)]))
    charts = _charts(RampRecord(_record(1).before, [still]))
    assert [line.label for line in charts["task_gradients"].lines] == ["epoch 1"]
    assert set(charts["task_gradients"].lines[0].y) == {0.0}
    figures = ramp_figures(_record(1), metric="accuracy")
    assert FIGURES.validate_json(FIGURES.dump_json(figures)) == figures


def test_penalties_without_a_pull_of_their_own_show_the_threshold_alone() -> None:
    record = RampRecord(_record(1).before, [replace(_epoch(1), c=0.0)])
    (line,) = _charts(record)["threshold_and_pull"].lines
    assert line.label.startswith("tau")
