from __future__ import annotations

import pytest

from methods.training.schedules import cosine_schedule, step_schedule


def test_step_schedule_drops_at_the_epochs_of_the_paper() -> None:
    rate = step_schedule(160, learning_rate=0.1, milestones=(0.5, 0.75), decay=0.1)
    assert [rate(epoch) for epoch in (0, 79, 80, 119, 120, 159)] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_step_schedule_is_not_one_epoch_late_where_binary_fractions_are_not_exact() -> None:
    rate = step_schedule(10, learning_rate=1.0, milestones=(0.7,), decay=0.5)
    assert [rate(6), rate(7)] == [1.0, 0.5]


def test_a_schedule_of_one_epoch_stays_at_the_first_rate() -> None:
    assert step_schedule(1, learning_rate=0.1, milestones=(0.5, 0.75), decay=0.1)(0) == 0.1


def test_cosine_schedule_falls_from_the_full_rate_towards_zero() -> None:
    rate = cosine_schedule(100, learning_rate=0.1)
    assert rate(0) == pytest.approx(0.1)
    assert rate(50) == pytest.approx(0.05)
    assert 0 < rate(99) < 0.001
