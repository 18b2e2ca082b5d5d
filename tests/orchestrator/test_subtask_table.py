"""The second axis as a table: which rows a run has, and where their values come from."""

from __future__ import annotations

import pytest

from orchestrator.module_results import COMPOSED_ROW, ModuleCard, ModulesResult, SubtaskSize
from orchestrator.results import search_point
from orchestrator.runs import RunResult
from orchestrator.subtask_table import SCHEMA, subtask_table
from tests.orchestrator.constructed_study import DENSE_SIZES, graded, make_record, make_result, make_run


def modular_result(*, seed: int = 0) -> RunResult:
    """A run with a whole network and two modules; sub-tasks of two of three classes and of all."""
    run = make_run("digits", "activation_driven", {"gamma": 1.0}, seed)
    whole = graded("whole", 0.95, 1.0).model_copy(update={"subtasks": {"2": 0.98, "3": 0.95}})
    halves = DENSE_SIZES.model_copy(update={"parameters": DENSE_SIZES.parameters // 2})
    quarters = DENSE_SIZES.model_copy(update={"parameters": DENSE_SIZES.parameters // 4})
    cards = [
        ModuleCard(class_name=name, units_kept=0.5, sizes=sizes, precision=0.9, recall=0.8, f1=0.85)
        for name, sizes in (("cat", halves), ("dog", quarters), ("frog", quarters))
    ]
    modules = ModulesResult(
        variant="whole",
        settings={"threshold": 0.9},
        cards=tuple(cards),
        module_size=0.3,
        module_macs=0.6,
        units_kept=0.5,
        overlap=0.1,
        coupling=0.2,
        united_accuracy=0.94,
        subtasks=(
            SubtaskSize(num_classes=2, subsets=3, accuracy=0.97, parameters_ratio=0.5, macs_ratio=0.8),
            SubtaskSize(num_classes=3, subsets=1, accuracy=0.94, parameters_ratio=0.7, macs_ratio=0.9),
        ),
    )
    return make_result(run, [whole]).model_copy(update={"modules": modules})


def test_a_modular_run_has_rows_for_its_compositions_and_for_its_whole_network() -> None:
    result = modular_result()
    table = subtask_table([make_record(result.run)], {result.key: result}, None)
    assert table.schema == SCHEMA
    rows = table.to_pylist()
    assert [(row["network"], row["num_classes"], row["val_accuracy"], row["parameters_ratio"]) for row in rows] == [
        ("composed", 2, 0.97, 0.5),
        ("composed", 3, 0.94, 0.7),
        ("whole", 2, 0.98, 1.0),
        ("whole", 3, 0.95, 1.0),
    ]
    assert all(row["test_accuracy"] is None for row in rows)
    assert [row["settings"] for row in rows] == ['{"threshold": 0.9}', '{"threshold": 0.9}', "{}", "{}"]


def test_test_values_come_from_the_sheet_of_the_study() -> None:
    result = modular_result()
    rows = {
        f"{result.key}/whole": {"accuracy": 0.94, "subtask_accuracy_2": 0.96},
        f"{result.key}/{COMPOSED_ROW}": {"subtask_accuracy_2": 0.955, "subtask_accuracy_3": 0.93},
    }
    table = subtask_table([make_record(result.run)], {result.key: result}, {"rows": rows})
    assert table["test_accuracy"].to_pylist() == [0.955, 0.93, 0.96, None]


def test_runs_that_did_not_finish_and_results_of_earlier_versions_have_no_rows() -> None:
    old = make_result(make_run("digits", "dense", {}, 0), [graded("dense", 0.95, 1.0)])
    failed = make_run("digits", "dense", {}, 1)
    records = [make_record(old.run), make_record(failed, status="failed")]
    table = subtask_table(records, {old.key: old}, None)
    assert table.num_rows == 0
    assert table.schema == SCHEMA
    assert RunResult.model_validate_json(old.model_dump_json(exclude={"modules"})).modules is None


def test_every_column_says_what_it_holds() -> None:
    assert all(field.metadata[b"description"] for field in SCHEMA)


def test_a_search_hears_of_the_modules_and_not_of_a_headline_that_is_better_than_they_are() -> None:
    result = modular_result()
    assert result.modules is not None
    modules = result.modules.model_copy(update={"united_accuracy": 0.4})
    best = result.variants[0]
    assert search_point(result, best, "parameters") == (0.94, pytest.approx(1 / 3, abs=1e-5))
    assert search_point(result.model_copy(update={"modules": modules}), best, "macs") == (0.4, 1.0)
    assert search_point(result.model_copy(update={"modules": None}), best, "parameters") == (0.95, 1.0)
