"""Early stopping gives up what is beaten beyond noise by many, and nothing else."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.search.rungs import Decision, ParetoRungs

Report = tuple[int, float, float, float]

reports = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.sampled_from([0.1, 0.25, 0.3, 0.5, 1.0]),
        st.sampled_from([0.1, 0.5, 0.505, 0.6, 0.9, math.nan]),
        st.sampled_from([0.1, 0.2, 0.5]),
    ),
    max_size=40,
)


def good_ones(rungs: ParetoRungs, number: int, *, at: float = 0.25) -> None:
    for trial in range(number):
        assert not rungs.observe(trial, at, 0.9, 0.1 + trial / 1000).stop


def fresh(warmup_trials: int = 4, margin: float = 0.01) -> ParetoRungs:
    return ParetoRungs([0.25, 0.5], margin=margin, warmup_trials=warmup_trials)


def test_a_trial_beaten_by_many_is_stopped_and_told_why() -> None:
    rungs = fresh()
    good_ones(rungs, 4)
    decision = rungs.observe(4, 0.25, 0.7, 0.5)
    assert decision.stop
    assert decision.reason.startswith("at 25% of the schedule 4 of 4 trials were in better layers")
    assert rungs.observe(4, 0.3, 0.99, 0.01) == decision


@pytest.mark.parametrize(("accuracy", "size"), [(0.7, 0.05), (0.95, 0.9), (0.0, 0.0999)])
def test_a_trial_that_nobody_beats_goes_on_however_poor(accuracy: float, size: float) -> None:
    rungs = fresh()
    good_ones(rungs, 8)
    assert not rungs.observe(8, 0.25, accuracy, size).stop


def test_a_lead_within_the_margin_stops_nobody() -> None:
    rungs = fresh(margin=0.05)
    good_ones(rungs, 8)
    assert not rungs.observe(8, 0.25, 0.85, 0.5).stop
    assert rungs.observe(9, 0.25, 0.849, 0.5).stop


def test_a_trial_in_the_better_half_goes_on_though_beaten() -> None:
    rungs = fresh(warmup_trials=0)
    rungs.observe(0, 0.25, 0.9, 0.1)
    poor = [rungs.observe(trial, 0.25, 0.2, 0.5).stop for trial in range(1, 8)]
    assert poor == [True] * 2 + [False] * 5  # only one of more than two others is better
    assert not rungs.observe(8, 0.25, 0.5, 0.5).stop


def test_the_first_trials_run_to_the_end_at_every_rung() -> None:
    rungs = fresh(warmup_trials=2)
    rungs.observe(0, 0.25, 0.1, 0.9)
    good_ones_later = [(trial, 0.9, 0.1) for trial in range(1, 8)]
    for trial, accuracy, size in good_ones_later:
        rungs.observe(trial, 0.25, accuracy, size)
        rungs.observe(trial, 0.5, accuracy, size)
    assert not rungs.observe(0, 0.5, 0.1, 0.9).stop
    assert rungs.observe(8, 0.25, 0.1, 0.9).stop


def test_a_rung_waits_for_enough_others() -> None:
    rungs = fresh(warmup_trials=4)
    good_ones(rungs, 8, at=0.25)
    good_ones(rungs, 3, at=0.5)
    rungs.observe(8, 0.25, 0.95, 0.5)
    assert not rungs.observe(8, 0.5, 0.1, 0.5).stop


def test_a_late_report_counts_at_its_highest_rung_alone() -> None:
    rungs = fresh(warmup_trials=0)
    rungs.observe(0, 0.6, 0.9, 0.1)
    assert rungs.state() == [[0, 0.5, 0.9, 0.1]]
    assert not rungs.observe(1, 0.25, 0.5, 0.2).stop


def test_progress_rounded_below_a_rung_reaches_it() -> None:
    rungs = ParetoRungs([0.3], margin=0.0, warmup_trials=0)
    rungs.observe(0, 0.1 + 0.1 + 0.1 - 1e-12, 0.9, 0.1)
    assert len(rungs.state()) == 1


def test_an_accuracy_that_is_not_finite_is_the_worst() -> None:
    rungs = fresh()
    good_ones(rungs, 4)
    assert rungs.observe(4, 0.25, math.nan, 0.5).stop


def test_without_rungs_nothing_is_stopped() -> None:
    rungs = ParetoRungs([], margin=0.0, warmup_trials=0)
    assert not any(rungs.observe(trial, 0.5, 1.0 - trial, 0.5).stop for trial in range(5))


@pytest.mark.parametrize("shares", [[0.5, 0.25], [0.0], [1.0], [0.5, 0.5]])
def test_rungs_out_of_order_or_range_are_refused(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="must lie between 0 and 1 and ascend"):
        ParetoRungs(shares, margin=0.0, warmup_trials=0)


@given(reports, st.integers(0, 3), st.sampled_from([0.0, 0.01, 0.2]))
def test_nobody_is_stopped_without_a_better_one_at_the_same_rung(
    sequence: list[Report], warmup_trials: int, margin: float
) -> None:
    rungs = fresh(warmup_trials, margin)
    for trial, progress, accuracy, size in sequence:
        before = rungs.state()
        if rungs.observe(trial, progress, accuracy, size).stop and len(rungs.state()) > len(before):
            _, rung, known, _ = rungs.state()[-1]
            mine = -math.inf if known is None else known
            here = [entry for entry in before if entry[1] == rung]
            beaten_by = [e for e in here if e[3] <= size and (-math.inf if e[2] is None else e[2]) > mine + margin]
            assert beaten_by
            assert len(here) >= warmup_trials


@given(reports, st.integers(0, 3))
def test_decisions_are_the_same_after_going_on_from_a_kept_state(sequence: list[Report], warmup_trials: int) -> None:
    whole, first = fresh(warmup_trials), fresh(warmup_trials)
    middle = len(sequence) // 2
    expected = [whole.observe(*report) for report in sequence]
    before = [first.observe(*report) for report in sequence[:middle]]
    state = json.loads(json.dumps(first.state(), allow_nan=False))
    resumed = ParetoRungs([0.25, 0.5], margin=0.01, warmup_trials=warmup_trials, state=state)
    after: list[Decision] = [resumed.observe(*report) for report in sequence[middle:]]
    assert before + after == expected
