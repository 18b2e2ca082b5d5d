from __future__ import annotations

import pytest

from methods.gradual_magnitude.ramp import cubic_sparsity, pruning_steps


def test_the_ramp_by_hand() -> None:
    assert [cubic_sparsity(share, initial=0.2, final=0.9) for share in (0, 0.5, 1)] == pytest.approx(
        [0.2, 0.9 - 0.7 / 8, 0.9]
    )
    assert pruning_steps(100, begin_share=0.2, end_share=0.6, updates=4, pruning_rate=0.8) == pytest.approx(
        {30: 0.8 * (1 - 27 / 64), 40: 0.8 * (1 - 8 / 64), 50: 0.8 * (1 - 1 / 64), 60: 0.8}
    )


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 57, 540, 97_656])
@pytest.mark.parametrize("updates", [1, 55, 500])
@pytest.mark.parametrize(("begin", "end"), [(0.2, 0.75), (0.0, 1.0), (0.49, 0.5)])
def test_the_ramp_rises_within_its_part_of_any_schedule_and_ends_at_the_rate(
    steps: int, updates: int, begin: float, end: float
) -> None:
    sparsities = pruning_steps(steps, begin_share=begin, end_share=end, updates=updates, pruning_rate=0.98)
    assert list(sparsities) == sorted(sparsities)
    assert list(sparsities.values()) == sorted(sparsities.values())
    assert min(round(begin * steps), steps - 1) <= min(sparsities)
    assert max(sparsities) == min(round(end * steps), steps - 1)
    assert sparsities[max(sparsities)] == 0.98
    assert 1 <= len(sparsities) <= updates


def test_the_ramp_of_the_control_in_the_rigl_paper_takes_about_a_thousand_steps_between_updates() -> None:
    sparsities = pruning_steps(97_656, begin_share=0.2, end_share=0.75, updates=55, pruning_rate=0.9)
    distances = {after - before for before, after in zip(sparsities, list(sparsities)[1:], strict=False)}
    assert len(sparsities) == 55
    assert distances <= {976, 977}


def test_nothing_is_pruned_where_a_short_ramp_begins() -> None:
    planned = pruning_steps(10, begin_share=0.2, end_share=0.5, updates=55, pruning_rate=0.9)
    assert sorted(planned) == [3, 4, 5]
    assert planned[5] == pytest.approx(0.9)
