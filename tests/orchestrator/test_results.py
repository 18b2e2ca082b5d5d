"""The results table: its columns, its headline, and rows of runs that delivered nothing."""

from __future__ import annotations

import json

import pytest

from orchestrator.errors import UnknownRecord
from orchestrator.results import COLUMNS, SCHEMA, headline, results_table, table_bytes
from orchestrator.runs import GradedVariant
from tests.orchestrator.constructed_study import DENSE_SIZES, graded, make_modules, make_record, make_result, make_run

RULE = {"measure": "stored_bytes", "tolerance": 0.01}


def _headline(variants: list[GradedVariant], dense: float) -> str:
    return headline(variants, dense_score=dense, tolerance=0.01, measure="stored_bytes").label


def test_headline_is_the_smallest_within_tolerance() -> None:
    variants = [graded("wide", 0.97, 0.5), graded("narrow", 0.965, 0.2), graded("tiny", 0.80, 0.01)]
    assert _headline(variants, 0.97) == "narrow"


def test_headline_is_the_most_accurate_when_none_is_within_tolerance_and_the_smaller_of_equals() -> None:
    variants = [graded("large", 0.90, 0.5), graded("small", 0.90, 0.2), graded("tiny", 0.80, 0.01)]
    assert _headline(variants, 0.99) == "small"


def test_headline_of_equal_networks_does_not_depend_on_their_order() -> None:
    variants = [graded("b", 0.9, 0.2), graded("a", 0.9, 0.2)]
    assert _headline(variants, 0.9) == _headline(variants[::-1], 0.9) == "a"


def test_a_module_is_headline_only_where_there_is_nothing_else() -> None:
    module = graded("module_3", 0.99, 0.05, kind="module")
    assert _headline([module, graded("whole", 0.97, 0.5)], 0.97) == "whole"
    assert _headline([module], 0.97) == "module_3"


def test_no_variants_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        _headline([], 0.9)


def test_every_column_is_described_and_typed() -> None:
    table = results_table([], {}, None, **RULE)
    assert table.schema.equals(SCHEMA)
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)
    assert all(column.description.endswith(".") for column in COLUMNS)


def test_a_finished_run_has_one_row_per_variant_with_all_figures() -> None:
    dense = make_result(make_run("digits", "dense", {}, 0), [graded("final", 0.97, 1.0)])
    run = make_run("digits", "magnitude", {"rate": 0.9}, 0)
    result = make_result(run, [graded("w50", 0.966, 0.5, settings={"width": 0.5}), graded("w25", 0.962, 0.25)])
    records = [make_record(run, trial=3, device_seconds=61.0), make_record(dense.run)]
    latency = {"latency_ms_1": 0.125, "latency_sparse_ms_1": 0.1}
    test = {"rows": {f"{run.key}/w25": {"accuracy": 0.95, "macro_f1": 0.94} | latency}}
    rows = results_table(records, {run.key: result, dense.key: dense}, test, **RULE).to_pylist()

    assert [(row["method"], row["variant"], row["headline"]) for row in rows] == [
        ("dense", "final", True),
        ("magnitude", "w50", False),
        ("magnitude", "w25", True),
    ]
    large, small = rows[1:]
    assert (large["test_score"], large["latency_ms_1"]) == (None, pytest.approx(0.8))
    assert (small["val_score"], small["val_accuracy"], small["metric"]) == (0.962, 0.962, "accuracy")
    assert (small["test_score"], small["test_accuracy"], small["test_macro_f1"]) == (0.95, 0.95, 0.94)
    assert small["latency_ms_1"] == 0.125, "timed alone after the study, which counts more"
    assert (small["latency_sparse_ms_1"], small["latency_sparse_ms_256"]) == (0.1, None)
    assert large["latency_sparse_ms_1"] is None
    assert small["stored_bytes"] == DENSE_SIZES.stored_bytes // 4
    assert small["macs_ratio"] == pytest.approx(0.25)
    assert (json.loads(large["config"]), json.loads(large["settings"])) == ({"rate": 0.9}, {"width": 0.5})
    assert (small["trial"], small["seed"], small["device_seconds"], small["cached"]) == (3, 0, 61.0, False)


def test_runs_without_result_have_one_row_with_their_reason_and_no_figures() -> None:
    run = make_run("digits", "magnitude", {}, 1)
    failed = make_record(run, status="failed", reason="loss became nan", device_seconds=5.0)
    stopped = make_record(run, phase="search", status="stopped_early", reason="beaten")
    rows = results_table([failed, stopped], {}, None, **RULE).to_pylist()
    assert [(row["status"], row["reason"], row["headline"]) for row in rows] == [
        ("stopped_early", "beaten", False),
        ("failed", "loss became nan", False),
    ]
    assert all(row[name] is None for row in rows for name in ("variant", "val_score", "macs", "metric", "fit_seconds"))


def test_the_dense_run_of_the_same_seed_decides_what_is_within_tolerance() -> None:
    runs = [make_run("digits", "magnitude", {}, seed) for seed in (0, 1)]
    variants = [graded("large", 0.97, 0.5), graded("small", 0.95, 0.1)]
    outcomes = {run.key: make_result(run, variants) for run in runs}
    dense = make_result(make_run("digits", "dense", {}, 1), [graded("final", 0.955, 1.0)])
    records = [*map(make_record, runs), make_record(dense.run, label="baseline")]
    rows = results_table(records, outcomes | {dense.key: dense}, None, **RULE).to_pylist()
    heads = {(row["method"], row["seed"]): row["variant"] for row in rows if row["headline"]}
    assert heads == {("magnitude", 0): "large", ("magnitude", 1): "small", ("baseline", 1): "final"}


def test_regression_scores_by_r2() -> None:
    run = make_run("houses", "magnitude", {}, 0)
    variant = graded("final", 0.5, 0.5).model_copy(update={"validation": {"r2": 0.61, "mse": 2.0}})
    test = {"rows": {f"{run.key}/final": {"r2": 0.58, "mse": 2.2}}}
    [row] = results_table([make_record(run)], {run.key: make_result(run, [variant])}, test, **RULE).to_pylist()
    assert (row["metric"], row["val_score"], row["test_score"], row["test_mse"]) == ("r2", 0.61, 0.58, 2.2)
    assert row["val_accuracy"] is None


def test_a_finished_record_without_its_result_is_named() -> None:
    run = make_run("digits", "magnitude", {}, 0)
    with pytest.raises(UnknownRecord, match=f"confirm-digits-magnitude-00000-0.*{run.key}"):
        results_table([make_record(run)], {}, None, **RULE)


def test_the_same_records_in_another_order_give_the_same_bytes() -> None:
    runs = [make_run("digits", "magnitude", {}, seed) for seed in (2, 0, 1)]
    outcomes = {run.key: make_result(run, [graded("final", 0.9, 0.5)]) for run in runs}
    records = [make_record(run) for run in runs]
    tables = [results_table(order, outcomes, None, **RULE) for order in (records, records[::-1])]
    assert table_bytes(tables[0]) == table_bytes(tables[1])


def test_a_modular_run_has_the_figures_of_its_modules_in_every_row() -> None:
    run = make_run("digits", "activation_driven", {}, 0)
    modules = make_modules(size=0.08, overlap=0.05, accuracy={2: 0.98}, settings={})
    result = make_result(run, [graded("whole", 0.97, 1.0), graded("union", 0.96, 0.6)], modules=modules)
    dense = make_result(make_run("digits", "dense", {}, 0), [graded("final", 0.97, 1.0)])
    records = [make_record(run), make_record(dense.run)]
    rows = results_table(records, {run.key: result, dense.key: dense}, None, **RULE).to_pylist()
    found = {
        (row["module_size"], row["module_overlap"], row["kernels_kept"]) for row in rows if row["method"] != "dense"
    }
    assert found == {(0.08, 0.05, 0.3)}
    assert [row["kernels_kept"] for row in rows if row["method"] == "dense"] == [None]
