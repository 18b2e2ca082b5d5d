from __future__ import annotations

import pytest

from methods.hypersparse.budget import Phases, Ramp, plan_phases, scaled_ramp

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
