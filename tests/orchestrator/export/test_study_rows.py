"""Which network of a run is exported, and what was measured of it on test, as its studies' tables say."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import ExportRefused, UnknownRecord
from orchestrator.export.study_rows import Rows, choose_variant, figures_on_test, rows_of_run
from orchestrator.results import results_table, table_bytes
from orchestrator.runs import Run, RunResult
from orchestrator.store import Store
from tests.orchestrator.constructed_study import STUDY_FILE, graded, make_record, make_result, make_run

SEVERAL = make_result(
    make_run("digits", "scratch", {}, 0),
    [graded("w100", 0.97, 1.0), graded("w50", 0.96, 0.5), graded("w25", 0.90, 0.25)],
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.open(str(tmp_path / "store"))
    store.put_outcome(SEVERAL)
    return store


def _table(store: Store, name: str, *results: RunResult, tolerance: float, tested: bool = False) -> None:
    """A study that holds these runs, with its results table."""
    folder = store.study(name)
    folder.put_spec(STUDY_FILE.format(name=name, question="''", seeds=[0], tasks="  digits: {}", methods=""))
    records = [make_record(result.run, study=name) for result in results]
    rows = {f"{SEVERAL.key}/w50": {"accuracy": 0.95, "macro_f1": 0.94, "latency_ms_1": 0.2}}
    table = results_table(
        records,
        {result.key: result for result in results},
        {"rows": rows} if tested else None,
        measure="stored_bytes",
        tolerance=tolerance,
    )
    folder.write_file("results.parquet", table_bytes(table))


def _chosen(store: Store, wanted: str | None = None) -> tuple[str, str]:
    choice = choose_variant(SEVERAL, rows_of_run(store, SEVERAL.key), wanted)
    return choice.variant.label, choice.reason


def test_the_headline_is_that_of_the_run_s_study(store: Store) -> None:
    dense = make_result(make_run("digits", "dense", {}, 0), [graded("dense", 0.97, 1.0)])
    _table(store, "pruning", dense, SEVERAL, tolerance=0.02)
    _table(store, "elsewhere", dense, tolerance=0.1)
    assert _chosen(store) == ("w50", "the run's headline in study 'pruning'")


def test_studies_that_agree_are_all_named(store: Store) -> None:
    for name in ("one", "two"):
        _table(store, name, SEVERAL, tolerance=0.1)
    assert _chosen(store) == ("w25", "the run's headline in study 'one', 'two'")


def test_studies_that_disagree_ask_for_the_variant(store: Store) -> None:
    _table(store, "loose", SEVERAL, tolerance=0.1)
    _table(store, "strict", SEVERAL, tolerance=0.001)
    with pytest.raises(
        ExportRefused, match="several headlines: 'w25' in study 'loose', 'w100' in study 'strict'; choose one with --va"
    ):
        _chosen(store)
    assert _chosen(store, "w50") == ("w50", "as asked")


def test_without_a_table_the_headline_is_chosen_as_studies_do_by_default(store: Store) -> None:
    store.study("begun").put_spec("study: begun\n")
    store.study("damaged").put_spec("study: damaged\n")
    store.study("damaged").write_file("results.parquet", b"not a table")
    label, reason = _chosen(store)
    assert label == "w50"
    assert reason.startswith("the smallest by stored_bytes within 0.01 of the run's best; no results table")


def test_the_only_network_of_a_run_needs_no_study() -> None:
    (only,) = make_result(SEVERAL.run, [graded("w25", 0.90, 0.25)]).variants
    choice = choose_variant(make_result(SEVERAL.run, [only]), {}, None)
    assert (choice.variant, choice.reason) == (only, "the run's only one")


def test_an_unknown_label_names_those_there_are(store: Store) -> None:
    with pytest.raises(UnknownRecord, match="no variant 'w10'; it has: w100, w50, w25"):
        _chosen(store, "w10")


def test_figures_on_test_are_those_of_the_network_alone(store: Store) -> None:
    _table(store, "untested", SEVERAL, tolerance=0.1)
    _table(store, "with_test", SEVERAL, tolerance=0.1, tested=True)
    rows: Rows = rows_of_run(store, SEVERAL.key)
    assert set(rows) == {"untested", "with_test"}
    assert figures_on_test(rows, "w50") == {"accuracy": 0.95, "macro_f1": 0.94}
    assert figures_on_test(rows, "w25") is None


def test_a_run_that_failed_in_a_study_has_no_rows_there(store: Store) -> None:
    run: Run = make_run("digits", "magnitude", {}, 0)
    table = results_table([make_record(run, study="broken", status="failed")], {}, None, measure="macs", tolerance=0.01)
    store.study("broken").put_spec("study: broken\n")
    store.study("broken").write_file("results.parquet", table_bytes(table))
    assert rows_of_run(store, run.key) == {}
