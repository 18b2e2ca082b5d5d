"""Comparisons of constructed results whose answer is known."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.comparison import Comparison, Effort, TaskComparison, Terms, compare, compare_tasks, read_results
from orchestrator.errors import StoreProblem, UnknownRecord
from orchestrator.results import COLUMNS, table_bytes
from orchestrator.store import Store
from tests.orchestrator.constructed_study import ConstructedStudy

TERMS = Terms(seeds=(0, 1, 2), measure="stored_bytes", tolerance=0.01, size_budgets=(0.1, 0.5))
STEADY = (0.0, 0.001, -0.001)


def confirmed(
    method: str,
    ratio: float,
    validation: float,
    test: float | None,
    *,
    spread: Sequence[float] = STEADY,
    **more: Any,
) -> list[dict[str, Any]]:
    """One row per seed: its scores are the given ones plus one value of `spread` each."""
    return [
        row(
            method,
            seed,
            ratio=ratio,
            val_score=validation + step,
            test_score=None if test is None else test + step,
            **more,
        )
        for seed, step in enumerate(spread)
    ]


def row(method: str, seed: int, *, ratio: float = 0.5, **more: Any) -> dict[str, Any]:
    """A row of the results table with all its columns."""
    sizes = {f"{name}_ratio": ratio for name in ("parameters", "nonzeros", "stored_bytes", "macs")}
    values = {"parameters": 100, "nonzeros": 100, "stored_bytes": 100, "macs": 100, **sizes}
    base = {
        "task": "digits",
        "method": method,
        "trial": 0,
        "seed": seed,
        "phase": "confirm",
        "status": "finished",
        "reason": "",
        "run_key": f"{method}{ratio}{seed}",
        "variant": "final",
        "kind": "whole",
        "headline": True,
        "config": f'{{"ratio": {ratio}}}',
        "settings": "{}",
        "metric": "accuracy",
    }
    return dict.fromkeys((column.name for column in COLUMNS), None) | base | values | more


def one_task(rows: Sequence[Mapping[str, Any]], terms: Terms = TERMS) -> TaskComparison:
    [task] = compare_tasks(rows, terms)
    return task


def words_of(task: TaskComparison) -> dict[tuple[str, str, float | None], str]:
    return {(one.first, one.second, one.budget): one.word for one in task.verdicts}


DENSE = confirmed("dense", 1.0, 0.97, 0.965)


def test_the_choice_is_by_validation_and_the_figure_is_of_the_test() -> None:
    lucky = confirmed("magnitude", 0.09, 0.90, 0.99)
    chosen = confirmed("magnitude", 0.08, 0.95, 0.94)
    [summary] = one_task([*DENSE, *lucky, *chosen]).methods
    best = summary.at_budget[0.1]
    assert best is not None
    assert best.test is not None
    assert (best.validation.mean, best.test.mean) == (pytest.approx(0.95), pytest.approx(0.94))


def test_only_what_fits_a_budget_counts_there() -> None:
    task = one_task([*DENSE, *confirmed("magnitude", 0.3, 0.96, 0.95)])
    [summary] = task.methods
    assert summary.at_budget[0.1] is None
    assert summary.at_budget[0.5] is task.configurations[1]
    assert task.dense is task.configurations[0]


def test_smallest_within_tolerance_of_dense_on_validation() -> None:
    rows = [
        *DENSE,
        *(r for ratio, score in ((0.4, 0.97), (0.2, 0.961), (0.05, 0.94)) for r in _magnitude(ratio, score)),
    ]
    [summary] = one_task(rows).methods
    assert summary.within_tolerance is not None
    assert summary.within_tolerance.ratios["stored_bytes"].mean == 0.2


def test_a_tie_with_the_tolerance_is_within_it_whatever_the_last_digit() -> None:
    dense = confirmed("dense", 1.0, 0.0, None, spread=(0.99, 0.97, 0.95))
    tied = confirmed("magnitude", 0.1, 0.0, None, spread=(0.96, 0.95, 0.97))
    task = one_task([*dense, *tied])
    assert task.dense is not None
    [configuration] = [one for one in task.configurations if one.method == "magnitude"]
    assert configuration.validation.mean < task.dense.validation.mean - 0.01, "in the last digit"
    assert task.methods[0].within_tolerance == configuration


def _magnitude(ratio: float, score: float) -> list[dict[str, Any]]:
    return confirmed("magnitude", ratio, score, score)


def test_front_is_per_method_on_validation_means() -> None:
    rows = [
        *DENSE,
        *_magnitude(0.4, 0.96),
        *_magnitude(0.3, 0.965),
        *_magnitude(0.1, 0.9),
        *confirmed("a", 0.05, 0.99, 0.99),
    ]
    on_front = {(one.method, one.ratios["macs"].mean): one.on_front for one in one_task(rows).configurations}
    assert on_front == {
        ("a", 0.05): True,
        ("dense", 1.0): True,
        ("magnitude", 0.1): True,
        ("magnitude", 0.3): True,
        ("magnitude", 0.4): False,
    }


def test_hypervolume_is_of_each_seeds_own_scores() -> None:
    [summary] = one_task([*DENSE, *confirmed("magnitude", 0.1, 0.9, 0.6, spread=(0.0, 0.3, 0.15))]).methods
    assert summary.hypervolume is not None
    # One decade of three at the seed's test score.
    assert summary.hypervolume.values == pytest.approx((0.2, 0.3, 0.25))
    assert summary.hypervolume.mean == pytest.approx(0.25)


def test_a_clear_difference_is_a_verdict_and_a_noisy_one_is_not() -> None:
    clear = confirmed("clear", 0.08, 0.95, 0.95)
    noisy = confirmed("noisy", 0.08, 0.9, 0.90, spread=(0.0, 0.08, -0.08))
    weak = confirmed("weak", 0.08, 0.9, 0.90, spread=(0.0, 0.002, -0.001))
    found = words_of(one_task([*DENSE, *clear, *noisy, *weak]))
    assert found["clear", "weak", 0.1] == "better"
    assert found["clear", "noisy", 0.1] == "not distinguishable"
    assert found["noisy", "weak", 0.1] == "not distinguishable"


def test_a_certain_but_tiny_difference_is_no_verdict() -> None:
    rows = [
        *DENSE,
        *confirmed("a", 0.08, 0.95, 0.950, spread=(0, 0, 0)),
        *confirmed("b", 0.08, 0.95, 0.953, spread=(0, 0, 0)),
    ]
    assert set(words_of(one_task(rows)).values()) == {"not distinguishable"}


def test_more_competitors_ask_for_more_certainty() -> None:
    # Paired differences 0.020 +- 0.007: p = 0.04 alone, three times that among three methods.
    first = confirmed("a", 0.08, 0.95, 0.95, spread=(0.0, 0.007, -0.007))
    second = confirmed("b", 0.08, 0.93, 0.93, spread=(0.0, 0.0, 0.0))
    third = confirmed("c", 0.08, 0.93, 0.93, spread=(0.0, 0.03, -0.03))
    assert words_of(one_task([*first, *second]))["a", "b", 0.1] == "better"
    assert words_of(one_task([*first, *second, *third]))["a", "b", 0.1] == "not distinguishable"


def test_renaming_two_methods_turns_their_verdict_around() -> None:
    better, worse = (0.08, 0.95, 0.95), (0.08, 0.90, 0.90)
    one_way = one_task([*confirmed("a", *better), *confirmed("b", *worse)]).verdicts
    other_way = one_task([*confirmed("b", *better), *confirmed("a", *worse)]).verdicts
    assert [one.word for one in one_way] == ["better"] * 3
    assert [one.word for one in other_way] == ["worse"] * 3
    assert [one.p_value for one in one_way] == [one.p_value for one in other_way]


def test_the_order_of_rows_changes_nothing() -> None:
    rows = [
        *DENSE,
        *_magnitude(0.3, 0.96),
        *_magnitude(0.05, 0.9),
        *confirmed("a", 0.08, 0.95, 0.95),
        *confirmed("z", 0.2, 0.9, 0.9),
    ]
    shuffled = random.Random(3).sample(rows, len(rows))
    assert one_task(shuffled) == one_task(rows)


def test_dense_is_the_reference_under_any_label_and_no_competitor() -> None:
    rows = confirmed("baseline", 1.0, 0.97, 0.96) + _magnitude(0.3, 0.96)
    task = one_task(rows, replace(TERMS, dense_labels=("baseline",)))
    assert task.dense is not None
    assert [one.method for one in task.methods] == ["magnitude"]


def test_a_failed_baseline_leaves_the_rest_comparable() -> None:
    failed = [row("dense", 0, ratio=1.0, variant=None, status="failed", reason="out of memory", kind=None, metric=None)]
    task = one_task([*failed, *DENSE[1:], *_magnitude(0.08, 0.96), *confirmed("a", 0.08, 0.9, 0.9)])
    assert task.dense is None
    assert task.incomplete == ("dense #0: no result for seed 0",)
    assert words_of(task)["a", "magnitude", 0.1] == "worse"
    assert all(one.within_tolerance is None for one in task.methods)


def test_a_configuration_that_misses_a_seed_does_not_count_but_is_named() -> None:
    task = one_task([*DENSE, *_magnitude(0.08, 0.96), *confirmed("a", 0.08, 0.99, 0.99)[:2]])
    assert {one.method for one in task.configurations} == {"dense", "magnitude"}
    assert task.incomplete == ("a #0: no result for seed 2",)
    assert [one.method for one in task.methods if one.hypervolume is None] == ["a"]
    assert task.verdicts == ()


def test_search_trials_are_shown_but_do_not_count() -> None:
    search = row("magnitude", 0, ratio=0.02, phase="search", val_score=0.99, trial=7)
    task = one_task([*DENSE, *_magnitude(0.3, 0.96), search])
    assert [(one.trial, one.score, one.ratio) for one in task.trials] == [(7, 0.99, 0.02)]
    assert len(task.configurations) == 2


def test_a_confirmed_run_reused_from_the_search_counts_once() -> None:
    twice = [r | {"phase": "search"} for r in _magnitude(0.3, 0.96)[:1]]
    task = one_task([*DENSE, *twice, *_magnitude(0.3, 0.96)])
    assert [one.validation.n for one in task.configurations] == [3, 3]


def test_modules_take_no_part() -> None:
    task = one_task([*DENSE, *confirmed("magnitude", 0.01, 0.99, 0.99, kind="module")])
    assert [one.method for one in task.configurations] == ["dense"]


def test_before_the_test_all_figures_are_of_validation_and_never_mixed() -> None:
    tested, untested = confirmed("a", 0.08, 0.95, 0.80), confirmed("b", 0.08, 0.90, None)
    task = one_task([*DENSE, *tested, *untested])
    assert task.split == "validation"
    assert words_of(task)["a", "b", 0.1] == "better"
    assert one_task([*DENSE, *tested]).split == "test"


def test_one_seed_is_shown_without_interval_and_without_verdict() -> None:
    rows = [*DENSE[:1], *_magnitude(0.08, 0.96)[:1], *confirmed("a", 0.08, 0.1, 0.1)[:1]]
    task = one_task(rows, replace(TERMS, seeds=(0,)))
    assert {one.word for one in task.verdicts} == {"not distinguishable"}
    assert {one.p_value for one in task.verdicts} == {None}
    assert all(one.validation.low is None for one in task.configurations)


def test_latency_is_the_mean_of_the_seeds_that_were_timed() -> None:
    rows = [r | {"latency_ms_1": 0.5 if r["seed"] == 0 else None} for r in _magnitude(0.3, 0.96)]
    [one] = one_task(rows).configurations
    assert one.latency_ms == {"1": 0.5}


def test_a_regression_has_its_squared_errors_and_a_classification_none() -> None:
    rows = [
        r | {"metric": "r2", "val_mse": 100.0 + r["seed"], "test_mse": 200.0 + 2 * r["seed"]}
        for r in confirmed("magnitude", 0.3, 0.6, 0.5)
    ]
    [one] = one_task(rows).configurations
    assert one.validation_mse is not None
    assert one.test_mse is not None
    assert (one.validation_mse.values, one.test_mse.mean, one.test_mse.std) == ((100, 101, 102), 202, 2)
    assert (one.mse("test"), one.mse("validation")) == (one.test_mse, one.validation_mse)
    untested = [r | {"test_score": None, "test_mse": None} for r in rows]
    [one] = one_task(untested).configurations
    assert one.mse("test") is one.validation_mse is not None
    assert one_task(DENSE).configurations[0].mse("test") is None


def test_scores_below_zero_count_as_zero_in_the_hypervolume_alone() -> None:
    task = one_task([*confirmed("a", 0.08, -3.0, -2.0), *confirmed("b", 0.08, -0.5, 0.4)])
    by_method = {one.method: one for one in task.methods}
    volume = by_method["a"].hypervolume
    assert volume is not None
    assert volume.values == (0, 0, 0)
    chosen = by_method["a"].at_budget[0.1]
    assert chosen is not None
    assert chosen.test is not None
    assert chosen.test.mean == pytest.approx(-2)
    assert words_of(task)["a", "b", 0.1] == "worse"


def test_a_study_is_compared_from_its_store(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    ConstructedStudy(store).build()
    found = compare(store, "made_up")
    assert isinstance(found, Comparison)
    assert [task.task for task in found.tasks] == ["digits", "cifar10"], "in the order of the study file"
    assert found.question.startswith("Which method")
    assert found.terms == Terms(seeds=(0, 1, 2), measure="stored_bytes", tolerance=0.01, size_budgets=(0.05, 0.1, 0.25))
    assert all(task.split == "test" and task.dense is not None for task in found.tasks)


def test_a_table_of_an_earlier_version_has_nulls_in_the_columns_that_are_new(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    ConstructedStudy(store).build({"digits": 0.98})
    table = read_results(store, "made_up").drop_columns(["latency_sparse_ms_1", "latency_sparse_ms_256"])
    store.study("made_up").write_file("results.parquet", table_bytes(table))
    again = read_results(store, "made_up")
    assert again.column("latency_sparse_ms_256").null_count == again.num_rows == table.num_rows


def test_studies_without_results_and_broken_files_are_named(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    with pytest.raises(UnknownRecord, match="no study 'nothing'"):
        compare(store, "nothing")
    folder = store.study("young")
    folder.put_spec("study: young\ntasks: {digits: {}}\nmethods: {dense: {}}\n")
    with pytest.raises(UnknownRecord, match="no results yet"):
        compare(store, "young")
    folder.write_file("results.parquet", b"PAR1 torn")
    with pytest.raises(StoreProblem, match=r"results\.parquet"):
        compare(store, "young")
    folder.put_spec("study: young\nseeds: none of them\n")
    with pytest.raises(StoreProblem, match=r"study\.yaml"):
        compare(store, "young")


def test_the_smallest_size_is_as_sure_as_its_choice() -> None:
    # Each seed counts 0, 1/3, 2/3 or 1 in a resample. The small one is within 0.01 of dense unless seed 2 counts
    # 2/3 or more (7 of 27 resamples); the large one always is.
    small = confirmed("magnitude", 0.1, 0.97, 0.97, spread=(0.0, 0.0, -0.02))
    large = confirmed("magnitude", 0.4, 0.97, 0.97, spread=(0.0, 0.0, 0.0))
    dense = confirmed("dense", 1.0, 0.97, 0.97, spread=(0.0, 0.0, 0.0))
    [summary] = one_task([*dense, *small, *large]).methods
    assert summary.within_tolerance is not None
    assert summary.smallest is not None
    assert (summary.smallest.low, summary.smallest.high) == (pytest.approx(0.1), pytest.approx(0.4))
    assert summary.smallest.reached == 1.0
    [alone] = one_task([*dense, *small]).methods
    assert alone.smallest is not None
    assert alone.smallest.high is None, "none is within tolerance in a quarter of the resamples"
    assert alone.smallest.reached == pytest.approx(20 / 27)


def test_many_seeds_are_resampled_by_chance_but_always_alike() -> None:
    terms = replace(TERMS, seeds=tuple(range(8)))
    wobble = [0.001 * (seed % 3 - 1) for seed in range(8)]
    rows = [*confirmed("dense", 1.0, 0.97, 0.97, spread=wobble), *confirmed("a", 0.2, 0.96, 0.96, spread=wobble[::-1])]
    found = [one_task(rows, terms).methods[0].smallest for _ in range(2)]
    assert found[0] == found[1]
    assert found[0] is not None
    assert 0 < found[0].reached < 1


def test_one_seed_has_no_range_of_sizes() -> None:
    terms = replace(TERMS, seeds=(0,))
    [summary] = one_task([row for row in [*DENSE, *_magnitude(0.2, 0.97)] if row["seed"] == 0], terms).methods
    assert summary.within_tolerance is not None
    assert summary.smallest is None


def test_the_gap_is_what_validation_flattered_by() -> None:
    rows = [*DENSE, *confirmed("magnitude", 0.1, 0.95, 0.91), *confirmed("magnitude", 0.3, 0.97, 0.95)]
    [summary] = one_task(rows).methods
    assert summary.gap is not None
    assert summary.gap.values == pytest.approx((0.03, 0.03, 0.03))
    locked = [dict(one, test_score=None) for one in rows]
    assert one_task(locked).methods[0].gap is None


def test_effort_counts_every_run_once_and_cached_ones_with_the_time_they_took() -> None:
    searched = [
        row("slimmable", 0, phase="search", variant=variant, device_seconds=5.0, cached=False) for variant in ("a", "b")
    ]
    stopped = row("slimmable", 0, phase="search", trial=1, status="stopped_early", variant=None, device_seconds=2.0)
    again = [row("slimmable", seed, device_seconds=0.0, cached=True, fit_seconds=4.0) for seed in (0, 1)]
    failed = row("slimmable", 2, status="failed", variant=None, device_seconds=1.0)
    [summary] = one_task([*searched, stopped, *again, failed]).methods
    assert summary.effort == Effort(trials=2, stopped_early=1, failed=1, search_seconds=7.0, confirm_seconds=5.0)


def test_a_method_that_refused_the_task_is_listed_with_its_reason() -> None:
    refused = row("odf2nna", 0, phase="search", status="failed", variant=None, reason="unsupported: no hidden layers")
    methods = one_task([*DENSE, *_magnitude(0.2, 0.97), refused]).methods
    assert {one.method: one.no_answer for one in methods} == {
        "magnitude": "",
        "odf2nna": "unsupported: no hidden layers",
    }


@given(order=st.permutations(range(4)))
@settings(deadline=None, max_examples=24)
def test_verdicts_do_not_change_when_methods_are_listed_in_another_order(order: list[int]) -> None:
    spreads = ((0.0, 0.002, -0.002), (0.001, -0.001, 0.0), (0.003, 0.0, -0.003), (0.0, 0.001, -0.002))
    own = [
        confirmed(name, 0.08 + 0.1 * place, 0.9 + 0.02 * place, 0.9 + 0.02 * place, spread=spreads[place])
        for place, name in enumerate("abcd")
    ]
    listed = [one for place in order for one in own[place]]
    assert one_task([*listed, *DENSE]) == one_task([*DENSE, *(one for rows in own for one in rows)])
