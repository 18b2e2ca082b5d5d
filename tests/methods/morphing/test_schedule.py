from __future__ import annotations

import pytest

from methods.morphing.config import GrowthConfig
from methods.morphing.parts import morphing_parts
from methods.morphing.schedule import growth_steps, rate_at
from methods.networks.catalog import design_network

PARTS = morphing_parts(design_network("resnet20", input_shape=(3, 32, 32), num_outputs=10))


def test_epochs_are_shared_out_over_the_growth_steps() -> None:
    steps = growth_steps(PARTS, 12, config=GrowthConfig())
    assert [(step.first_part, step.parts, step.stage) for step in steps] == [
        (0, 1, 1),
        (1, 2, 1),
        (2, 3, 2),
        (3, 4, 2),
        (4, 5, 3),
    ]
    assert [step.first_epoch for step in steps] == [0, 2, 5, 7, 10]
    assert steps[-1].last_epoch == 12


def test_block_epochs_say_how_long_each_step_is() -> None:
    steps = growth_steps(PARTS, 100, config=GrowthConfig(block_epochs=3))
    assert [step.last_epoch for step in steps] == [3, 6, 9, 12, 15]


def test_all_blocks_at_once_are_one_step() -> None:
    (step,) = growth_steps(PARTS, 7, config=GrowthConfig(one_shot=True))
    assert (step.first_part, step.parts, step.first_epoch, step.last_epoch) == (0, 5, 0, 7)


def test_a_budget_that_is_too_small_is_refused_with_what_would_do() -> None:
    with pytest.raises(
        ValueError, match="5 growth steps of 1 epochs take 5, and the task has 4; give the task at least 5"
    ):
        growth_steps(PARTS, 4, config=GrowthConfig())
    with pytest.raises(ValueError, match="5 growth steps of 3 epochs take 15"):
        growth_steps(PARTS, 14, config=GrowthConfig(block_epochs=3))


def test_the_rate_rises_in_the_first_step_alone_and_falls_to_the_floor() -> None:
    config = GrowthConfig(block_epochs=10, warmup_share=0.4, cosine_floor=0.1)
    first, second, *_ = growth_steps(PARTS, 50, config=config)
    rates = [rate_at(first, epoch, config=config) for epoch in range(10)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4] == 1.0
    assert rates[4:] == sorted(rates[4:], reverse=True)
    later = [rate_at(second, epoch, config=config) for epoch in range(10, 20)]
    assert later[0] == 1.0
    assert later[5] == pytest.approx(0.55)
    assert 0.1 < later[-1] < 0.13


def test_a_floor_of_one_is_no_decay_as_published() -> None:
    config = GrowthConfig(warmup_share=0.0, cosine_floor=1.0)
    steps = growth_steps(PARTS, 50, config=config)
    assert {
        rate_at(step, epoch, config=config) for step in steps for epoch in range(step.first_epoch, step.last_epoch)
    } == {1.0}


def test_steps_of_a_tenth_fall_at_half_and_three_quarters() -> None:
    config = GrowthConfig(one_shot=True, schedule="step")
    (step,) = growth_steps(PARTS, 200, config=config)
    assert [rate_at(step, epoch, config=config) for epoch in (0, 99, 100, 149, 150)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01]
    )
