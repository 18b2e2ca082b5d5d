"""A whole study in this process: phases, honesty about the test split, failures kept, nothing done twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from methods import artefact, registry
from orchestrator import compare, run_study
from orchestrator.errors import StoreLocked, StoreProblem, StudyInvalid
from orchestrator.rerun import rerun
from orchestrator.spec import Study
from orchestrator.store import Store
from orchestrator.study_run import StudySummary
from tests.integration.studies import Diverges, NotFinite, Raises, small_study


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, StudySummary]:
    study = small_study(tmp_path_factory.mktemp("store"))
    return study, run_study(study)


def _ledger(study: Study) -> Counter[tuple[str, str, str]]:
    return Counter((r.method, r.phase, r.status) for r in Store.open(study.store).study(study.name).records())


def test_every_cell_is_searched_and_its_front_confirmed_on_every_seed(done: tuple[Study, StudySummary]) -> None:
    study, summary = done
    assert (summary.status, summary.exit_code, summary.failed) == ("finished", 0, 0)
    counts = _ledger(study)
    assert counts["dense", "search", "finished"] == 1
    assert counts["magnitude", "search", "finished"] == counts["hypersparse", "search", "finished"] == 3
    for record in Store.open(study.store).study(study.name).records():
        if record.phase == "confirm":
            twins = [
                other.seed
                for other in Store.open(study.store).study(study.name).records()
                if (other.phase, other.method, other.trial) == (record.phase, record.method, record.trial)
            ]
            assert sorted(twins) == [0, 1]


def test_the_first_trial_is_the_setting_of_the_paper(done: tuple[Study, StudySummary]) -> None:
    study, _ = done
    first = [r for r in Store.open(study.store).study(study.name).records() if r.phase == "search" and r.trial == 0]
    assert {record.method: record.run.config for record in first} == {"dense": {}, "magnitude": {}, "hypersparse": {}}


def test_only_confirmed_runs_meet_the_test_split_and_it_is_opened_once(done: tuple[Study, StudySummary]) -> None:
    study, _ = done
    folder = Store.open(study.store).study(study.name)
    sheet = folder.read_test()
    assert sheet is not None
    confirmed = {record.run.key for record in folder.records() if record.phase == "confirm"}
    assert {row.partition("/")[0] for row in sheet["rows"]} == confirmed
    run_study(study)
    assert folder.read_test() == sheet


def test_a_second_call_trains_nothing(done: tuple[Study, StudySummary]) -> None:
    study, _ = done
    before = _ledger(study)
    again = run_study(study)
    assert again.finished == again.failed == 0
    assert _ledger(study) == before


def test_another_study_takes_equal_runs_from_the_store(done: tuple[Study, StudySummary]) -> None:
    study, _ = done
    summary = run_study(small_study(Path(study.store), name="twin"))
    assert summary.cached == summary.finished
    assert summary.phase_seconds["search"] < 5


def test_a_changed_study_needs_a_new_name(done: tuple[Study, StudySummary]) -> None:
    study, _ = done
    with pytest.raises(StudyInvalid, match="holds another study of this name, with other seeds"):
        run_study(study.with_changes(seeds=(0, 2)))


def test_results_table_has_a_row_per_variant_and_seed(done: tuple[Study, StudySummary]) -> None:
    study, _ = done
    table = pq.read_table(Path(study.store) / "studies" / study.name / "results.parquet").to_pylist()
    confirmed = {row["run_key"]: row for row in table if row["phase"] == "confirm"}
    assert all(row["test_accuracy"] is not None for row in confirmed.values())
    assert all(row["latency_ms_1"] is not None for row in confirmed.values() if row["seed"] == 0)
    assert all(row["test_accuracy"] is None for row in table if row["run_key"] not in confirmed)
    sparse = [row for row in table if row["method"] == "magnitude"]
    assert all(0 < row["nonzeros_ratio"] < 0.35 and row["stored_bytes_ratio"] < 0.6 for row in sparse)
    dense = [row for row in table if row["method"] == "dense"]
    assert all(0.9 < row["stored_bytes_ratio"] <= 1.1 and row["macs_ratio"] == 1 for row in dense)


def test_a_stored_artefact_gives_its_recorded_size_and_is_an_ordinary_network(done: tuple[Study, StudySummary]) -> None:
    study, _ = done
    store = Store.open(study.store)
    for key in store.finished_keys():
        result = store.read_outcome(key)
        assert result is not None
        [variant] = result.variants
        stored = store.read_variant(key, variant.label).artefact
        assert len(stored) == variant.sizes.stored_bytes
        assert artefact.decode(stored).architecture.input_shape == (1, 8, 8)


def test_compare_reads_the_study_back(done: tuple[Study, StudySummary]) -> None:
    study, summary = done
    assert compare(Store.open(study.store), study.name) is not None
    assert any("hypersparse" in line for line in summary.lines)
    assert Path(summary.report).read_text().startswith("<!doctype html>")


def test_rerunning_a_run_gives_the_recorded_figures(done: tuple[Study, StudySummary], tmp_path: Path) -> None:
    study, _ = done
    store = Store.open(study.store)
    record = next(r for r in store.study(study.name).records() if r.method == "hypersparse")
    again = rerun(record.run.key, store=store, into=tmp_path)
    assert again.repeated.variants == again.recorded.variants


@pytest.fixture
def _troubles(monkeypatch: pytest.MonkeyPatch) -> None:
    for method in (Raises, Diverges, NotFinite):
        monkeypatch.setitem(registry._registered, method.name, method)


@pytest.mark.usefixtures("_troubles")
def test_failed_runs_are_recorded_with_their_reason_and_the_study_goes_on(tmp_path: Path) -> None:
    study = small_study(
        tmp_path, more_methods="  raises: {search: none}\n  diverges: {search: none}\n  not_finite: {search: none}"
    )
    summary = run_study(study)
    assert (summary.status, summary.exit_code, summary.failed) == ("finished", 1, 3)
    store = Store.open(study.store)
    failed = {r.method: r for r in store.study(study.name).records() if r.status == "failed"}
    assert "a fault in the method's code" in failed["raises"].reason
    assert "the loss became nan" in failed["diverges"].reason
    assert "finite" in failed["not_finite"].reason
    [failure] = store.failures(failed["raises"].run.key)
    assert "Traceback" in failure.traceback
    assert failure.kind == "raised"
    page = Path(summary.report).read_text()
    assert "the loss became nan" in page


def test_a_second_coordinator_is_refused_and_names_the_first(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    with (
        Store.open(study.store).study(study.name).lock("pare run small.yaml"),
        pytest.raises(StoreLocked, match=r"pare run small\.yaml"),
    ):
        run_study(study)


def test_a_store_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file, not a folder")
    with pytest.raises(StoreProblem, match="store"):
        run_study(small_study(tmp_path / "store"))


def test_the_ledger_names_the_data_by_content(done: tuple[Study, StudySummary]) -> None:
    study, _ = done
    run_folder = next((Path(study.store) / "runs").iterdir())
    assert len(json.loads((run_folder / "run.json").read_text())["data_fingerprint"]) >= 20
