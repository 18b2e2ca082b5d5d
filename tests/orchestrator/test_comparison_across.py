"""Studies compared with each other: what is paired, what is refused, what a reader is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.comparison import StudyPlace, compare, compare_across
from orchestrator.errors import ComparisonRefused, UnknownRecord
from orchestrator.results import results_table, table_bytes
from orchestrator.store import Store
from tests.orchestrator.constructed_study import ConstructedStudy, graded, make_record, make_result, make_run


def _study(store: Store, name: str, *, seeds: tuple[int, ...] = (0, 1, 2), methods: tuple[str, ...]) -> StudyPlace:
    study = ConstructedStudy(store, name=name, seeds=seeds)
    study.build({"digits": 0.98}, methods=("dense", *methods))
    return StudyPlace(store, name, name)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


def test_methods_of_two_studies_meet_on_the_task_they_share(store: Store, tmp_path: Path) -> None:
    one = _study(store, "one", methods=("magnitude",))
    two = _study(Store.open(str(tmp_path / "other")), "two", methods=("scratch",))
    found = compare_across([one, two])
    [task] = found.comparison.tasks
    assert [summary.method for summary in task.methods] == ["magnitude@one", "scratch@two"]
    assert task.dense is not None
    assert task.dense.method == "dense@one"
    assert {(v.first, v.second) for v in task.verdicts} == {("magnitude@one", "scratch@two")}
    [alone] = compare(store, "one").tasks
    assert task.methods[0].hypervolume == alone.methods[0].hypervolume, "as in its own study"
    assert found.notes == ()


def test_only_shared_seeds_and_tasks_count_and_it_is_said(store: Store, tmp_path: Path) -> None:
    one = _study(store, "one", seeds=(0, 1, 2), methods=("magnitude",))
    other = Store.open(str(tmp_path / "other"))
    study = ConstructedStudy(other, name="two", seeds=(1, 2, 3))
    study.build({"digits": 0.98, "cifar10": 0.9}, methods=("dense", "scratch"))
    found = compare_across([one, StudyPlace(other, "two", "two")])
    assert found.comparison.terms.seeds == (1, 2)
    assert [task.task for task in found.comparison.tasks] == ["digits"]
    assert any("seeds 0 of one" in note for note in found.notes)
    assert any("seeds 3 of two" in note for note in found.notes)
    assert any("tasks cifar10 of two" in note for note in found.notes)
    [task] = found.comparison.tasks
    assert {one.seeds for one in task.configurations} == {(1, 2)}
    assert task.extra_runs == {}
    assert all(summary.effort is not None and summary.effort.trials > 0 for summary in task.methods)


def _single(store: Store, name: str, *, git: str = "0123456789ab", **run: Any) -> StudyPlace:
    """A study of one confirmed dense run."""
    folder = store.study(name)
    measure = run.pop("measure", "stored_bytes")
    folder.put_spec(
        f"study: {name}\nseeds: [0]\ntasks: {{digits: {{}}}}\nmethods: {{dense: {{}}}}\n"
        f"report: {{measure: {measure}}}\n"
    )
    made = make_run("digits", "dense", {}, 0).model_copy(update=run)
    result = make_result(made, [graded("final", 0.9, 1.0)])
    result = result.model_copy(update={"environment": {"git": git}})
    store.put_outcome(result)
    records = [make_record(made, phase="confirm", study=name)]
    table = results_table(records, {made.key: result}, None, measure="stored_bytes", tolerance=0.01)
    folder.write_file("results.parquet", table_bytes(table))
    return StudyPlace(store, name, name)


def test_results_of_two_versions_of_the_code_are_flagged(store: Store, tmp_path: Path) -> None:
    other = Store.open(str(tmp_path / "other"))
    found = compare_across([_single(store, "one"), _single(other, "two", git="fedcba987654")])
    assert found.notes == (
        "results come from 2 versions of the code (0123456789ab, fedcba987654): differences between methods may be "
        "differences between these",
    )


def test_shares_of_different_networks_are_refused_and_other_settings_noted(store: Store, tmp_path: Path) -> None:
    one = _single(store, "one")
    task = make_run("digits", "dense", {}, 0).task
    longer = _single(Store.open(str(tmp_path / "b")), "longer", task=task.model_copy(update={"epochs": 50}))
    assert compare_across([one, longer]).notes == (
        "task digits is set up differently (epochs): differences between methods may be differences between these",
    )
    wide = task.network.model_copy(update={"arguments": {"width": 2.0}})
    wider = _single(Store.open(str(tmp_path / "c")), "wider", task=task.model_copy(update={"network": wide}))
    with pytest.raises(ComparisonRefused, match="sizes are shares of another network in each"):
        compare_across([one, wider])


def test_what_cannot_be_compared_is_refused_with_the_reason(store: Store, tmp_path: Path) -> None:
    other = Store.open(str(tmp_path / "other"))
    one = _study(store, "one", methods=("magnitude",))
    with pytest.raises(ComparisonRefused, match="two or more different studies"):
        compare_across([one, one])
    with pytest.raises(ComparisonRefused, match=r"share no seed \(one: 0, 1, 2; late: 7, 8\)"):
        compare_across([one, _study(other, "late", seeds=(7, 8), methods=("magnitude",))])
    cifar = ConstructedStudy(other, name="cifar")
    cifar.build({"cifar10": 0.9}, methods=("dense",))
    with pytest.raises(ComparisonRefused, match=r"share no task \(one: digits; cifar: cifar10\)"):
        compare_across([one, StudyPlace(other, "cifar", "cifar")])
    with pytest.raises(ComparisonRefused, match="task 'digits' is not the same"):
        compare_across([one, _single(other, "resplit", data_fingerprint="another")])
    with pytest.raises(ComparisonRefused, match="different measures"):
        compare_across([one, _single(other, "by_macs", measure="macs")])
    with pytest.raises(UnknownRecord):
        compare_across([one, StudyPlace(store, "none", "none")])


def test_the_command_prints_a_table_or_json_and_reads_other_stores(store: Store, tmp_path: Path) -> None:
    _study(store, "one", methods=("magnitude",))
    other = Store.open(str(tmp_path / "other"))
    _study(other, "one", methods=("hypersparse",))
    words = ["compare", "one", f"{other.uri}:one", "--store", store.uri]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "magnitude@one" in shown.output
    assert f"hypersparse@{other.uri}:one" in shown.output
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert [task["task"] for task in found["comparison"]["tasks"]] == ["digits"]
    refused = CliRunner().invoke(app, ["compare", "one", "--store", store.uri])
    assert refused.exit_code == 2
    assert "name two or more" in refused.output
