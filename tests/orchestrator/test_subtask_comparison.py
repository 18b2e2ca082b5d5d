"""The second axis of constructed results whose answer is known."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.comparison import Terms, compare
from orchestrator.errors import StoreProblem
from orchestrator.results import table_bytes
from orchestrator.store import Store
from orchestrator.stored_subtasks import compare_subtasks, read_subtasks
from orchestrator.subtask_comparison import SubtaskComparison, compare_task
from tests.orchestrator.constructed_study import SWEEP, ConstructedStudy
from tests.orchestrator.test_comparison import confirmed, one_task

TERMS = Terms(seeds=(0, 1, 2), measure="stored_bytes", tolerance=0.02, size_budgets=(0.5,))
SPREAD = (0.0, 0.01, -0.01)
Rows = list[dict[str, Any]]


class Tables:
    """Rows of the results table and of the table of sub-tasks."""

    def __init__(self) -> None:
        self.results: Rows = []
        self.subtasks: Rows = []

    def whole(self, method: str, ratio: float, *, on_two: float, on_three: float, **more: Any) -> None:
        """A network of three classes, confirmed and tested: on test 0.1 less than on validation."""
        rows = confirmed(method, ratio, on_three, on_three - 0.1, spread=SPREAD, **more)
        self.results += rows
        for row, step in zip(rows, SPREAD, strict=True):
            self._add(row, "whole", {2: on_two + step, 3: on_three + step}, {2: ratio, 3: ratio})

    def modular(
        self, threshold: float, size: float, *, on_two: float, on_three: float, spread: Sequence[float] = SPREAD
    ) -> None:
        """Modules of a whole network that has 0.9 on three classes, and their union."""
        config, key = json.dumps({"threshold": threshold}), f"modules{threshold}-"
        for variant, score, ratio in (("whole", 0.9, 1.0), ("union", on_three, 3 * size)):
            rows = confirmed("moda", ratio, score, score - 0.1, spread=SPREAD, config=config, variant=variant)
            for row in rows:
                row |= {"run_key": f"{key}{row['seed']}", "module_size": size, "module_overlap": size / 2}
                self._add(row, "whole", {2: 0.95, 3: score}, {2: ratio, 3: ratio})
            self.results += rows
        for row, step in zip(self.results[-6:-3], spread, strict=True):
            self._add(row, "composed", {2: on_two + step, 3: on_three + step}, {2: 2 * size, 3: 3 * size}, threshold)

    def _add(
        self,
        row: Mapping[str, Any],
        network: str,
        accuracy: Mapping[int, float],
        share: Mapping[int, float],
        threshold: float | None = None,
    ) -> None:
        self.subtasks += [
            {"run_key": row["run_key"], "network": network, "variant": row["variant"], "num_classes": k}
            | {"settings": json.dumps({} if threshold is None else {"threshold": threshold})}
            | {"val_accuracy": value, "test_accuracy": value - 0.1, "parameters_ratio": share[k], "macs_ratio": 0.5}
            for k, value in accuracy.items()
        ]

    def compare(self, terms: Terms = TERMS) -> SubtaskComparison | None:
        return compare_task(one_task(self.results, terms), self.subtasks, self.results, terms)


@pytest.fixture
def tables() -> Tables:
    """Dense 0.94 (mean of 0.96 and 0.92); modules 0.93 of size 0.2, 0.90 of size 0.1, 0.88 of size 0.15."""
    tables = Tables()
    tables.whole("dense", 1.0, on_two=0.96, on_three=0.92)
    tables.modular(0.8, 0.2, on_two=0.95, on_three=0.91, spread=(0.02, 0.0, -0.02))
    tables.modular(0.9, 0.1, on_two=0.92, on_three=0.88)
    tables.modular(0.85, 0.15, on_two=0.90, on_three=0.86)
    tables.whole("magnitude", 0.4, on_two=0.95, on_three=0.91)
    tables.whole("magnitude", 0.05, on_two=0.7, on_three=0.5)
    return tables


def found(tables: Tables, terms: Terms = TERMS) -> SubtaskComparison:
    answer = tables.compare(terms)
    assert answer is not None
    return answer


def test_figures_are_means_over_seeds_and_reuse_accuracy_weighs_every_k_alike(tables: Tables) -> None:
    answer = found(tables)
    assert (answer.split, answer.sizes) == ("test", (2, 3))
    first = answer.modular[0]
    assert (first.settings, first.module_size.mean) == ({"threshold": 0.9}, 0.1)
    assert first.module_overlap.mean == pytest.approx(0.05)
    accuracy = first.composed.accuracy("test")
    assert accuracy[2].values == pytest.approx((0.82, 0.83, 0.81))
    assert accuracy[3].mean == pytest.approx(0.78)
    assert first.composed.reuse_accuracy("test").values == pytest.approx((0.80, 0.81, 0.79))
    assert first.composed.reuse_accuracy("validation").mean == pytest.approx(0.90)
    assert {k: share.mean for k, share in first.composed.parameters_ratio.items()} == pytest.approx({2: 0.2, 3: 0.3})
    assert first.composed.macs_ratio[2].mean == 0.5
    assert first.whole.accuracy("test")[3].mean == pytest.approx(0.8)
    assert first.union is not None
    assert first.union.score("test").mean == pytest.approx(0.78)


def test_kernels_kept_are_known_where_every_seed_counted_them(tables: Tables) -> None:
    assert [one.kernels_kept for one in found(tables).modular] == [None, None, None], "graded before it was counted"
    rows = [row for row in tables.results if row["run_key"].startswith("modules0.9-")]
    for row in rows:
        row["kernels_kept"] = 0.3 + 0.01 * row["seed"]
    first = found(tables).modular[0]
    assert first.kernels_kept is not None
    assert first.kernels_kept.mean == pytest.approx(0.3 + 0.01 * sum(row["seed"] for row in rows) / len(rows))
    rows[-1]["kernels_kept"] = None
    assert found(tables).modular[0].kernels_kept is None


@pytest.mark.parametrize(("label", "is_found"), [("composed", True), ("pruned", False)])
def test_modules_of_all_classes_are_found_as_composed_too(tables: Tables, label: str, is_found: bool) -> None:
    for row in tables.results:
        row["variant"] = label if row["variant"] == "union" else row["variant"]
    assert (found(tables).modular[0].union is not None) == is_found


def test_difference_from_dense_is_paired_by_seed(tables: Tables) -> None:
    by_size = {one.module_size.mean: one.against_dense for one in found(tables).modular}
    noisy, steady = by_size[0.2], by_size[0.1]
    assert noisy is not None
    assert steady is not None
    # Composed 0.93 + (0.02, 0, -0.02) less dense 0.94 + (0, 0.01, -0.01).
    assert noisy.values == pytest.approx((0.01, -0.02, -0.02))
    # Both move with the seed alike, so their difference does not.
    assert steady.values == pytest.approx((-0.04, -0.04, -0.04))
    assert steady.std == pytest.approx(0, abs=1e-12)


def test_smallest_modules_within_tolerance_of_dense_are_chosen_else_the_most_accurate(tables: Tables) -> None:
    assert [one.module_size.mean for one in found(tables).chosen] == [0.2]
    assert [one.module_size.mean for one in found(tables, replace(TERMS, tolerance=0.05)).chosen] == [0.1]
    assert [one.module_size.mean for one in found(tables, replace(TERMS, tolerance=0.0)).chosen] == [0.2]


def test_the_choice_is_by_validation(tables: Tables) -> None:
    for row in tables.subtasks:
        if row["network"] == "composed":
            row["test_accuracy"] = 0.99 if row["parameters_ratio"] < 0.4 else 0.2
    [chosen] = found(tables).chosen
    assert chosen.module_size.mean == 0.2
    assert chosen.composed.reuse_accuracy("test").mean == pytest.approx(0.2)


def test_front_is_of_module_size_and_reuse_accuracy(tables: Tables) -> None:
    assert [(one.module_size.mean, one.on_front) for one in found(tables).modular] == [
        (0.1, True),
        (0.15, False),
        (0.2, True),
    ]


def test_other_methods_are_there_as_the_network_that_one_would_deploy(tables: Tables) -> None:
    [other] = found(tables).others
    assert (other.configuration.method, other.configuration.ratios["macs"].mean) == ("magnitude", 0.4)
    assert other.curve.reuse_accuracy("test").mean == pytest.approx(0.83)
    dense = found(tables).dense
    assert dense is not None
    assert dense.curve.reuse_accuracy("test").mean == pytest.approx(0.84)


def test_test_figures_are_shown_only_when_all_have_them(tables: Tables) -> None:
    tables.subtasks[-1]["test_accuracy"] = None
    assert found(tables).split == "test", "of a network that is not shown"
    next(row for row in tables.subtasks if row["run_key"] == "dense1.02")["test_accuracy"] = None
    answer = found(tables)
    assert answer.split == "validation"
    assert answer.modular[0].against_dense is not None
    assert answer.modular[0].against_dense.mean == pytest.approx(0.90 - 0.94)


def test_configurations_without_every_seed_or_with_unknown_accuracy_do_not_count(tables: Tables) -> None:
    tables.results = [row for row in tables.results if row["run_key"] != "modules0.9-2"]
    assert [one.module_size.mean for one in found(tables).modular] == [0.15, 0.2]
    for row in tables.subtasks:
        if row["network"] == "composed" and row["num_classes"] == 3:
            row["val_accuracy"] = math.nan
    assert found(tables).sizes == (2,)
    assert all(one.against_dense is None for one in found(tables).modular), "means over other k cannot be compared"


def test_dense_and_others_that_an_earlier_version_graded_are_left_out(tables: Tables) -> None:
    tables.subtasks = [row for row in tables.subtasks if row["run_key"].startswith("modules")]
    answer = found(tables)
    assert answer.dense is None
    assert answer.others == ()
    assert {one.against_dense for one in answer.modular} == {None}
    assert [one.module_size.mean for one in answer.chosen] == [0.2], "the most accurate"


def test_without_class_modules_there_is_nothing_to_say(tables: Tables) -> None:
    tables.subtasks = [row for row in tables.subtasks if row["network"] == "whole"]
    assert tables.compare() is None


def test_the_order_of_rows_changes_nothing(tables: Tables) -> None:
    before = found(tables)
    for rows in (tables.results, tables.subtasks):
        random.Random(5).shuffle(rows)
    assert found(tables) == before


def test_a_study_is_compared_from_its_store(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    study = ConstructedStudy(store)
    study.sweep = SWEEP
    study.build()
    answers = compare_subtasks(store, "made_up", compare(store, "made_up"))
    assert list(answers) == ["digits", "cifar10"]
    for answer in answers.values():
        assert len(answer.modular) == len(SWEEP)
        assert [one.configuration.method for one in answer.others] == ["hypersparse", "magnitude", "scratch"]
        assert all(one.defaults["gamma"] == 0.3 for one in (*answer.modular, *answer.chosen))


def test_a_store_of_an_earlier_version_has_no_second_axis(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    ConstructedStudy(store).build({"digits": 0.98})
    (tmp_path / "studies" / "made_up" / "subtasks.parquet").unlink()
    assert read_subtasks(store, "made_up").num_rows == 0
    assert compare_subtasks(store, "made_up", compare(store, "made_up")) == {}


def test_a_table_of_the_first_shape_is_read_without_its_newer_column(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    study = ConstructedStudy(store)
    study.sweep = SWEEP[:2]
    study.build({"digits": 0.98})
    table = read_subtasks(store, "made_up").drop_columns(["settings"])
    store.study("made_up").write_file("subtasks.parquet", table_bytes(table))
    [answer] = compare_subtasks(store, "made_up", compare(store, "made_up")).values()
    assert [one.settings for one in answer.modular] == [{}, {}]


def test_a_table_that_cannot_be_read_is_named_with_its_mend(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    store.study("made_up").write_file("subtasks.parquet", b"PAR1 torn")
    with pytest.raises(StoreProblem, match=r"subtasks\.parquet of study 'made_up'.*delete it"):
        read_subtasks(store, "made_up")
