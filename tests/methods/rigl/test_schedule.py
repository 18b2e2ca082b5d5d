from __future__ import annotations

import math

import pytest

from methods.rigl.schedule import UpdateSchedule, plan_updates


def test_the_share_falls_from_the_fraction_to_zero_by_half_a_cosine() -> None:
    schedule = UpdateSchedule(interval=10, end=300, drop_fraction=0.3)
    assert [schedule.replaced_share(step) for step in (0, 100, 150, 200, 300)] == pytest.approx(
        [0.3, 0.225, 0.15, 0.075, 0.0]
    )
    assert schedule.replaced_share(75) == pytest.approx(0.15 * (1 + math.sqrt(0.5)))


def test_updates_fall_on_multiples_of_the_interval_below_the_end() -> None:
    schedule = UpdateSchedule(interval=10, end=30, drop_fraction=0.3)
    due = [step for step in range(100) if schedule.is_due(step)]
    assert due == [0, 10, 20]
    assert schedule.count == len(due)
    assert UpdateSchedule(interval=10, end=31, drop_fraction=0.3).count == 4


@pytest.mark.parametrize(
    ("steps", "asked", "interval", "end"),
    [
        (32_000, 100, 100, 24_000),
        (97_656, 100, 100, 73_242),  # the paper's CIFAR-10: never longer than asked for
        (16_000, 100, 50, 12_000),
        (540, 100, 10, 405),  # never so short that nothing grown can grow
        (540, 5, 5, 405),  # unless asked for
        (1, 100, 10, 1),
    ],
)
def test_short_budgets_scale_the_interval(steps: int, asked: int, interval: int, end: int) -> None:
    schedule = plan_updates(steps, update_interval=asked, end_share=0.75, drop_fraction=0.3)
    assert (schedule.interval, schedule.end) == (interval, end)
