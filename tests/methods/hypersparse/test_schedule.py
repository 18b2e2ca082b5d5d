from __future__ import annotations

import json

import pytest

from methods.hypersparse.schedule import StoppingRule, penalty_strength

PRUNED = [10, 30, 55, 50, 62, 71, 80, 78, 84, 85, 86, 88]
DENSE = list(range(92, 80, -1))


def _stop_epoch(rule: StoppingRule) -> int | None:
    """The first epoch, counted from 1, after which the rule stops."""
    for epoch, (pruned, dense) in enumerate(zip(PRUNED, DENSE, strict=True), start=1):
        if rule.update(pruned, dense):
            return epoch
    return None


def test_strength_starts_at_lambda_and_grows_by_eta() -> None:
    assert penalty_strength(0, lambda_init=5e-6, eta=1.05) == 5e-6
    # Of independent public runs: alpha at stop after 64 and 66 regularised epochs.
    assert penalty_strength(63, lambda_init=5e-6, eta=1.05) == pytest.approx(1.08e-4, rel=5e-3)
    assert penalty_strength(65, lambda_init=5e-6, eta=1.05) == pytest.approx(1.19e-4, rel=5e-3)


@pytest.mark.parametrize(("window", "stop", "best"), [(0, 10, 10), (1, 11, 10), (2, 11, 9)])
def test_it_stops_where_the_authors_class_does(window: int, stop: int, best: int) -> None:
    rule = StoppingRule(window)
    assert _stop_epoch(rule) == stop
    assert rule.best_epoch == best
    assert rule.best_accuracy == PRUNED[best - 1]


def test_the_best_means_of_a_window_of_three_are_the_reference_s() -> None:
    rule = StoppingRule(1)
    means = []
    for pruned, dense in zip(PRUNED[:11], DENSE[:11], strict=True):
        rule.update(pruned, dense)
        means.append(rule.best_window_mean)
    expected = [10, 20, 31.666667, 45, 55.666667, 61, 71, 76.333333, 80.666667, 82.333333, 85]
    assert means == pytest.approx(expected, abs=1e-6)


def test_the_mean_of_a_window_of_five() -> None:
    rule = StoppingRule(2)
    _stop_epoch(rule)
    assert rule.best_window_mean == pytest.approx(82.6)


def test_the_best_snapshot_is_always_among_those_to_keep() -> None:
    rule = StoppingRule(1)
    available: set[int] = set()
    for epoch, pruned in enumerate([10.0, 40.0, 90.0, 20.0, 10.0, 5.0, 30.0, 95.0, 96.0], start=1):
        rule.update(pruned, 100.0)
        available = (available | {epoch}) & rule.wanted_epochs
        assert available == rule.wanted_epochs
        assert rule.best_epoch in available
        assert len(available) <= 4


def test_an_old_best_stops_a_ramp_whose_dense_accuracy_sank_below_it() -> None:
    accuracies = [(80.0, 85.0), (80.0, 85.0), (80.0, 85.0), (60.0, 70.0)]
    assert [StoppingRule(0).update(*pair) for pair in accuracies] == [False] * 4
    rule = StoppingRule(0)
    assert [rule.update(*pair) for pair in accuracies] == [False, False, False, True]
    strict = StoppingRule(0, strict_present=True)
    assert [strict.update(*pair) for pair in accuracies] == [False] * 4
    assert strict.update(71.0, 70.0)


def test_equal_accuracies_do_not_stop() -> None:
    assert not StoppingRule(0).update(1.0, 1.0)


def test_no_snapshot_is_best_while_pruned_networks_are_always_wrong() -> None:
    rule = StoppingRule(1)
    assert not rule.update(0.0, 0.5)
    assert rule.best_epoch is None
    assert rule.wanted_epochs == {1}


@pytest.mark.parametrize("cut", range(1, 11))
def test_a_restored_rule_goes_on_as_if_never_stopped(cut: int) -> None:
    rule = StoppingRule(1)
    for pair in list(zip(PRUNED, DENSE, strict=True))[:cut]:
        rule.update(*pair)
    resumed = StoppingRule(1)
    resumed.restore(json.loads(json.dumps(rule.state())))
    for pair in list(zip(PRUNED, DENSE, strict=True))[cut:]:
        assert resumed.update(*pair) == rule.update(*pair)
        assert resumed.state() == rule.state()
        assert resumed.wanted_epochs == rule.wanted_epochs


def test_a_negative_window_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        StoppingRule(-1)
