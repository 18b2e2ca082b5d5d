"""Which configurations are worth more seeds."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.close_calls import too_close
from tests.orchestrator.test_comparison import DENSE, TERMS, confirmed, one_task

WIDE = (0.0, 0.02, -0.02)


def _close(*rows: list[dict[str, object]]) -> set[tuple[str, float]]:
    task = one_task([*DENSE, *(r for each in rows for r in each)])
    return {(one.method, one.ratios["macs"].mean) for one in too_close(task, TERMS)}


def test_choices_at_a_budget_that_overlap_are_too_close_and_clear_ones_are_not() -> None:
    clear = confirmed("a", 0.08, 0.95, None), confirmed("b", 0.08, 0.80, None)
    assert _close(*clear) == set()
    near = confirmed("a", 0.08, 0.95, None, spread=WIDE), confirmed("b", 0.08, 0.94, None, spread=WIDE)
    assert _close(*near) == {("a", 0.08), ("b", 0.08)}


def test_methods_are_compared_with_their_neighbours_in_rank() -> None:
    # b lies between a and c: narrow a and narrow c are told apart, but b overlaps both.
    rows = (
        confirmed("a", 0.08, 0.96, None),
        confirmed("b", 0.08, 0.93, None, spread=WIDE),
        confirmed("c", 0.08, 0.90, None),
        confirmed("d", 0.08, 0.50, None),
    )
    assert _close(*rows) == {("a", 0.08), ("b", 0.08), ("c", 0.08)}


def test_members_of_one_front_are_compared_and_what_lies_behind_it_is_not() -> None:
    small, large = (confirmed("a", size, score, None, spread=WIDE) for size, score in ((0.6, 0.90), (0.8, 0.91)))
    behind = confirmed("a", 0.9, 0.905, None, spread=WIDE)
    assert _close(small, large, behind) == {("a", 0.6), ("a", 0.8)}


def test_the_dense_network_gets_no_extra_seeds() -> None:
    assert _close(confirmed("a", 0.08, 0.97, None)) == set()


def test_of_a_single_seed_nothing_can_be_told_apart() -> None:
    rows = [*confirmed("a", 0.08, 0.95, None)[:1], *confirmed("b", 0.08, 0.2, None)[:1]]
    terms = replace(TERMS, seeds=(0,))
    assert len(too_close(one_task(rows, terms), terms)) == 4, "at both budgets"
