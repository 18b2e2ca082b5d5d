"""What is foretold of a study: how many runs, which of them are there already, how long the rest takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from methods.data.load import load_dataset
from orchestrator.errors import StudyInvalid
from orchestrator.plan import Plan, make_plan
from orchestrator.runs import Record, Run
from orchestrator.spec import Study
from orchestrator.spec.study_file import parse_study
from orchestrator.store import Store
from tests.fakes import a_result

DENSE = "dense: {search: none}"
MAGNITUDE = "magnitude: {search: {pruning_rate: [0.8, 0.95]}}"
FROM_DENSE = "magnitude: {set: {start: dense}, search: {pruning_rate: [0.8, 0.95]}}"


def _study(store: Path, *methods: str, more: str = "executor: inline") -> Study:
    lines = [
        "study: planned",
        "tasks: {digits: {data: digits, network: small_cnn, epochs: 10, fraction: 0.1}}",
        "methods:",
        *(f"  {method}" for method in methods),
        "seeds: [0, 1, 2]",
        "search: {trials: 5, confirm: 2}",
        f"store: {store}",
        more,
    ]
    return parse_study("\n".join(lines), file="planned.yaml")


def _first_run(study: Study, method: str, *, seed: int = 0) -> Run:
    task = study.tasks["digits"]
    fingerprint = load_dataset(task.data, test_share=task.test_share).fingerprint
    config = {"start": "dense"} if method == "magnitude" else {}
    return Run(task_name="digits", task=task, data_fingerprint=fingerprint, method=method, config=config, seed=seed)


def _counts(plan: Plan) -> dict[str, tuple[int, int, int]]:
    return {cell.method: (cell.trials, cell.runs, cell.cached) for cell in plan.cells}


def test_a_plan_counts_trials_confirmations_and_prerequisites(tmp_path: Path) -> None:
    plan = make_plan(_study(tmp_path, FROM_DENSE))
    assert _counts(plan) == {"magnitude": (5, 9, 0)}  # two of the front on two seeds more
    assert (plan.search_runs, plan.confirm_runs, plan.cache_hits) == (5, 4, 0)
    assert [(needed.method, needed.seed, needed.cached) for needed in plan.prerequisites] == [
        ("dense", seed, False) for seed in (0, 1, 2)
    ]


def test_a_plan_counts_extra_seeds_at_most_and_none_of_dense(tmp_path: Path) -> None:
    study = _study(tmp_path, DENSE, FROM_DENSE)
    more = study.with_changes(search=study.search.model_copy(update={"extra_seeds": 2}))
    plan = make_plan(more)
    # Two of the front on two seeds more, and two extra ones; those need a dense network of their own.
    assert _counts(plan) == {"dense": (1, 3, 0), "magnitude": (5, 13, 0)}
    assert [(needed.method, needed.seed) for needed in plan.prerequisites] == [("dense", 3), ("dense", 4)]


def test_a_plan_names_the_cells_that_will_have_no_result(tmp_path: Path) -> None:
    study = _study(tmp_path, DENSE, "gradsplitter: {search: none}", "odf2nna: {search: none}")
    plan = make_plan(study)
    refused = {cell.method: cell.refused for cell in plan.cells}
    assert refused["dense"] == ""
    assert "epochs, and the task has" in refused["gradsplitter"]
    assert plan.seconds_high < make_plan(_study(tmp_path, DENSE, MAGNITUDE)).seconds_high


def test_a_plan_of_a_closed_study_says_that_nothing_will_train(tmp_path: Path) -> None:
    study = _study(tmp_path, DENSE)
    assert not make_plan(study).closed
    Store.open(study.store).study(study.name).put_test({"rows": {}})
    assert make_plan(study).closed


def test_a_prerequisite_that_the_study_runs_anyway_is_not_counted_twice(tmp_path: Path) -> None:
    plan = make_plan(_study(tmp_path, DENSE, FROM_DENSE))
    assert _counts(plan) == {"dense": (1, 3, 0), "magnitude": (5, 9, 0)}
    assert plan.prerequisites == ()


def test_a_plan_promises_an_interval_that_grows_with_the_work_and_shrinks_with_workers(tmp_path: Path) -> None:
    small, large = make_plan(_study(tmp_path, DENSE)), make_plan(_study(tmp_path, DENSE, MAGNITUDE))
    assert 0 < small.seconds_low < small.seconds_high
    assert large.seconds_low > 2 * small.seconds_low
    assert small.workers == 1
    assert make_plan(_study(tmp_path, DENSE, more="resources: {workers: 1}")).workers == 1


def test_results_of_other_studies_are_hits(tmp_path: Path) -> None:
    study = _study(tmp_path, FROM_DENSE)
    store = Store.open(str(tmp_path))
    store.put_outcome(a_result(_first_run(study, "magnitude")))
    store.put_outcome(a_result(_first_run(study, "dense", seed=1)))
    plan = make_plan(study)
    assert _counts(plan) == {"magnitude": (5, 9, 1)}
    assert [needed.cached for needed in plan.prerequisites] == [False, True, False]
    assert plan.cache_hits == 2


def test_the_first_trial_within_a_narrowed_range_is_a_hit(tmp_path: Path) -> None:
    study = _study(tmp_path, "magnitude: {search: {pruning_rate: [0.95, 0.98]}}")
    first = _first_run(study, "magnitude").replaced(config={"pruning_rate": 0.95})
    Store.open(str(tmp_path)).put_outcome(a_result(first))
    assert _counts(make_plan(study)) == {"magnitude": (5, 9, 1)}


def test_what_the_study_has_done_is_not_foretold_again(tmp_path: Path) -> None:
    study = _study(tmp_path, DENSE)
    before = make_plan(study)
    folder = Store.open(str(tmp_path)).study("planned")
    for seed in (0, 1, 2):
        run = _first_run(study, "dense", seed=seed)
        for phase in ("search", "confirm") if seed == 0 else ("confirm",):
            folder.put_record(
                Record.model_validate(
                    {
                        "study": "planned",
                        "task_name": "digits",
                        "method": "dense",
                        "trial": 0,
                        "seed": seed,
                        "phase": phase,
                        "run": run,
                        "status": "finished",
                    }
                )
            )
    after = make_plan(study)
    assert (before.cache_hits, after.cache_hits) == (0, 3)
    assert after.seconds_high == 0


def test_a_plan_refuses_what_this_machine_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(StudyInvalid, match=r"planned\.yaml:8: resources\.cpus: 4096 asked"):
        make_plan(_study(tmp_path, DENSE, more="resources: {cpus: 4096}"))


def test_planning_leaves_no_trace(tmp_path: Path) -> None:
    make_plan(_study(tmp_path / "store", DENSE))
    assert not (tmp_path / "store").exists()
