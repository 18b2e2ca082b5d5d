from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from methods.hypersparse.budget import Phases, Ramp, plan_phases, scaled_ramp, task_ramp
from methods.hypersparse.config import HyperSparseConfig

LAMBDA, ETA = 5e-6, 1.05


def _plan(epochs: int, *, warmup: int = 60, finetune: int = 160, cap: int | None = None, window: int = 1) -> Phases:
    return plan_phases(epochs, warmup_epochs=warmup, finetune_epochs=finetune, cap_epochs=cap, window=window)


def _total_pull(ramp: Ramp, epochs: int, *, steps: int, step_length: float) -> float:
    return sum(steps * step_length * ramp.strength(epoch) for epoch in range(epochs))


def test_the_paper_s_budget_gives_the_paper_s_phases() -> None:
    phases = _plan(285)
    assert (phases.warmup, phases.ramp_limit, phases.ramp_nominal, phases.finetune) == (60, 65, 65, 160)


@pytest.mark.parametrize("epochs", [12, 24, 40, 57, 100, 285, 400])
def test_phases_add_up_to_the_budget_whenever_the_ramp_stops(epochs: int) -> None:
    phases = _plan(epochs)
    for ramp in range(1, phases.ramp_limit + 1):
        assert phases.warmup + ramp + phases.finetune_after(ramp) == epochs


def test_a_cap_may_exceed_the_budget_and_moves_no_epochs() -> None:
    phases = _plan(285, cap=120)
    assert phases.ramp_limit == 120
    assert phases.ramp_nominal == 65
    assert phases.finetune_after(66) == 160
    assert _plan(57, cap=120).ramp_limit == 24


def test_windows_scale_but_never_vanish() -> None:
    assert [_plan(epochs, window=10).window for epochs in (28, 57, 285)] == [1, 2, 10]
    assert _plan(24, window=1).window == 1
    assert _plan(24, window=0).window == 0


def test_a_long_warm_up_shortens_the_ramp_and_its_nominal_length() -> None:
    phases = _plan(285, warmup=90)
    assert (phases.ramp_limit, phases.ramp_nominal) == (35, 35)
    assert _plan(285, warmup=20).ramp_nominal == 65


@pytest.mark.parametrize("epochs", [1, 3, 4])
def test_a_budget_without_room_for_the_ramp_is_refused_with_a_mend(epochs: int) -> None:
    with pytest.raises(ValueError, match="Give the task more epochs"):
        _plan(epochs)


def test_both_ramps_coincide_at_the_paper_s_budget() -> None:
    scaled = scaled_ramp(lambda_init=LAMBDA, eta=ETA, ramp_nominal=65, steps=782, step_length=0.1 / (1 - 0.9))
    assert scaled.eta == pytest.approx(ETA, rel=1e-14)
    assert scaled.lambda_init == pytest.approx(LAMBDA, rel=1e-12)


@pytest.mark.parametrize(
    ("ramp_epochs", "steps", "step_length"), [(5, 21, 0.5), (9, 21, 1.0), (13, 704, 1.0), (91, 391, 2.0)]
)
def test_a_scaled_ramp_pulls_as_hard_in_total(ramp_epochs: int, steps: int, step_length: float) -> None:
    paper = _total_pull(Ramp(LAMBDA, ETA), 65, steps=782, step_length=1.0)
    ramp = scaled_ramp(lambda_init=LAMBDA, eta=ETA, ramp_nominal=ramp_epochs, steps=steps, step_length=step_length)
    assert _total_pull(ramp, ramp_epochs, steps=steps, step_length=step_length) == pytest.approx(paper, rel=1e-9)
    assert ramp.eta**ramp_epochs == pytest.approx(ETA**65)


@given(
    lambda_init=st.floats(5e-7, 5e-5),
    eta=st.floats(1.03, 1.1),
    learning_rate=st.floats(0.01, 0.9),
    momentum=st.floats(0.5, 0.99),
    warmup=st.integers(20, 90),
    epochs=st.integers(24, 400),
    num_train=st.integers(100, 60_000),
    batch_size=st.integers(1, 1024),
)
def test_the_total_pull_of_a_scaled_ramp_is_the_paper_s_whatever_the_task_and_the_rate(
    lambda_init: float,
    eta: float,
    learning_rate: float,
    momentum: float,
    warmup: int,
    epochs: int,
    num_train: int,
    batch_size: int,
) -> None:
    config = HyperSparseConfig(
        lambda_init=lambda_init, eta=eta, learning_rate=learning_rate, momentum=momentum, warmup_epochs=warmup
    )
    phases = _plan(epochs, warmup=warmup)
    ramp = task_ramp(config, phases, num_train=num_train, batch_size=batch_size)
    steps = -(-num_train // batch_size)
    pull = _total_pull(ramp, phases.ramp_nominal, steps=steps, step_length=learning_rate / (1 - momentum))
    paper = sum(782 * lambda_init * eta**epoch for epoch in range(65))
    assert pull == pytest.approx(paper, rel=1e-8)


def test_the_paper_s_ramp_is_taken_literally_when_asked_for() -> None:
    config = HyperSparseConfig(ramp="paper", lambda_init=1e-6, eta=1.1, learning_rate=0.5)
    assert task_ramp(config, _plan(30), num_train=100, batch_size=10) == Ramp(1e-6, 1.1)


def test_a_pull_is_how_far_sgd_moves_a_weight_and_will_still_move_it() -> None:
    """Simulated with the optimiser's own arithmetic: a unit gradient times alpha, nothing else."""
    phases = _plan(40)
    ramp = task_ramp(HyperSparseConfig(learning_rate=0.05, momentum=0.8), phases, num_train=1000, batch_size=50)
    moved = velocity = 0.0
    for epoch in range(phases.ramp_nominal):
        for _ in range(20):
            velocity = 0.8 * velocity + ramp.strength(epoch)
            moved += 0.05 * velocity
    still = 0.05 * velocity * 0.8 / (1 - 0.8)
    assert moved + still == pytest.approx(sum(782 * LAMBDA * ETA**epoch for epoch in range(65)))
    assert still < 0.1 * moved


def test_searched_levels_and_growths_do_to_a_scaled_ramp_what_they_do_to_the_paper_s() -> None:
    def total(**config: float) -> float:
        phases = _plan(30)
        ramp = task_ramp(HyperSparseConfig(**config), phases, num_train=1000, batch_size=64)
        rate = config.get("learning_rate", 0.1)
        return _total_pull(ramp, phases.ramp_nominal, steps=16, step_length=rate / 0.1)

    assert total(lambda_init=5e-5) == pytest.approx(10 * total())
    assert total(learning_rate=0.9) == pytest.approx(total()) == pytest.approx(1.786, abs=1e-3)
    assert (total(eta=1.03), total(eta=1.1)) == pytest.approx((0.760, 19.134), abs=1e-3)
