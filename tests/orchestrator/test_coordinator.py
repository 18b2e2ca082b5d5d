"""Policy: which runs, in which order, within which budget; and that a kill at any point loses and repeats nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from orchestrator.coordinator import Coordinator
from orchestrator.errors import StoreLocked
from orchestrator.ledger import Ledger
from orchestrator.runs import GradedVariant, Record
from orchestrator.search import CellSearch
from orchestrator.sizes import Sizes
from orchestrator.spec import Study
from orchestrator.store import Store
from orchestrator.work import Completion, Judge, Report, Work, WorkerSettings
from tests.fakes import DENSE_SIZES, a_result, no_op
from tests.orchestrator.coordinated import DENSE, MAGNITUDE, Desk, Scripted, a_study

STOPPING = "early_stopping: {rungs: [0.5], warmup_trials: 1, margin: 0.0}"


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


def _dies_at(call: int, step: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    """`step`, killed before or after its `call`-th time (from 1)."""
    calls = 0

    def dying(*args: Any, **fields: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            raise Killed
        result = step(*args, **fields)
        if calls == call:
            raise Killed
        return result

    return dying


STEPS: dict[str, tuple[type, str]] = {
    "ask": (CellSearch, "ask"),
    "outcome": (Store, "put_outcome"),
    "record": (Ledger, "add"),
    "tell": (CellSearch, "tell"),
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk(tmp_path_factory.mktemp("store"), a_study(DENSE, MAGNITUDE, search="confirm: 2, early_stopping: none"))
    desk.go()
    return desk


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_study_killed_at_any_step_ends_as_if_it_never_was(
    undisturbed: Desk, step: str, after: bool, tmp_path: Path
) -> None:
    owner, name = STEPS[step]
    lost = step == "outcome" and not after
    for call in count(1):
        desk = Desk(tmp_path / str(call), undisturbed.study)
        killed = True
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(owner, name, _dies_at(call, getattr(owner, name), after=after))
            try:
                desk.go()
            except Killed:
                desk.go()
            else:
                killed = False
        assert _ledger(desk) == _ledger(undisturbed)
        executed = Counter(work.run.key for work in desk.worked)
        assert sum(executed.values()) == len(undisturbed.worked) + (lost and killed)
        if not killed:
            break
    assert call > 4  # it was killed at each of these


def _ledger(desk: Desk) -> list[tuple[str, str, str]]:
    return [(record.id, record.status, record.run.key) for record in desk.records()]


def test_a_result_that_was_told_twice_counts_once(undisturbed: Desk) -> None:
    before = undisturbed.records()
    worked = len(undisturbed.worked)
    again = undisturbed.go()
    assert undisturbed.records() == before
    assert len(undisturbed.worked) == worked
    assert again.ledger.device_seconds == sum(record.device_seconds for record in before)


@pytest.mark.parametrize("status", ["failed", "stopped_early"])
def test_an_ending_recorded_but_not_told_stands_and_is_not_run_again(status: str, tmp_path: Path) -> None:
    desk = Desk(tmp_path, a_study(trials=2))

    def killed(*given: Any) -> Completion:
        del given
        raise Killed

    with pytest.raises(Killed):
        desk.coordinator(desk.inline(killed)).search()
    [lost] = desk.worked
    desk.folder.put_record(
        Record.model_validate(
            {
                "study": "steered",
                "task_name": "digits",
                "method": "magnitude",
                "trial": 0,
                "seed": 0,
                "phase": "search",
                "run": lost.run,
                "status": status,
                "reason": "as it was",
            }
        )
    )
    desk.go()
    assert [(record.trial, record.status) for record in desk.records("search")] == [(0, status), (1, "finished")]
    assert desk.records("search")[0].reason == "as it was"
    assert [work.run.key for work in desk.worked].count(lost.run.key) == 1


def test_a_failed_run_leaves_the_others_in_peace(tmp_path: Path) -> None:
    desk = Desk(tmp_path, a_study())

    def act(executor: Scripted) -> None:
        run = executor.running[0].run
        if len(executor.submitted) == 2:
            executor.fail(run, "diverged", "epoch 2: the loss became nan")
        else:
            executor.finish(run, executor.store)

    coordinator = desk.go(Scripted(desk.store, slots=1, act=act))
    statuses = [record.status for record in desk.records("search")]
    assert statuses == ["finished", "failed", "finished", "finished"]
    assert coordinator.counts["failed"] == 1
    assert all(record.trial != 1 for record in desk.records("confirm"))


def test_a_score_that_is_not_a_number_keeps_the_run_out_of_the_front(tmp_path: Path) -> None:
    desk = Desk(tmp_path, a_study(trials=2))

    def act(executor: Scripted) -> None:
        executor.finish(
            executor.running[0].run, executor.store, accuracy=float("nan") if len(executor.submitted) == 1 else 0.9
        )

    desk.go(Scripted(desk.store, slots=1, act=act))
    assert {record.trial for record in desk.records("confirm")} == {1}


def test_cells_get_their_trials_at_the_same_pace_with_the_dense_network_first(tmp_path: Path) -> None:
    study = a_study(MAGNITUDE, "scratch: {search: {learning_rate: [0.05, 0.2]}}", DENSE, budget="{trials: 6}")
    desk = Desk(tmp_path, study)
    coordinator = desk.go()
    searched = [work.run.method for work in desk.worked][:6]
    assert searched[0] == "dense"
    assert abs(searched.count("magnitude") - searched.count("scratch")) <= 1
    assert coordinator.budget_spent


def test_the_front_is_confirmed_on_every_seed_spread_over_sizes(tmp_path: Path) -> None:
    desk = Desk(tmp_path, a_study(seeds="[5, 6]", trials=7, search="confirm: 3, early_stopping: none"))
    desk.go()
    # The more is pruned, the smaller and the less accurate: the whole search is one front.
    rates = sorted((float(c.get("pruning_rate", 0.9)) for c in desk.configs()), reverse=True)
    confirmed = sorted({float(r.run.config.get("pruning_rate", 0.9)) for r in desk.records("confirm")}, reverse=True)
    assert confirmed == [rates[0], rates[3], rates[6]]
    assert Counter(record.seed for record in desk.records("confirm")) == {5: 3, 6: 3}
    assert {record.cached for record in desk.records("confirm") if record.seed == 5} == {True}
    assert [work.run.seed for work in desk.worked] == [5] * 7 + [6] * 3


def test_a_grid_is_confirmed_whole(tmp_path: Path) -> None:
    desk = Desk(tmp_path, a_study(seeds="[5, 6]", trials=7, search="confirm: all, early_stopping: none"))
    desk.go()
    assert {record.trial for record in desk.records("confirm")} == set(range(7))
    assert [work.run.seed for work in desk.worked] == [5] * 7 + [6] * 7


def test_one_confirmation_goes_to_the_most_accurate(tmp_path: Path) -> None:
    desk = Desk(tmp_path, a_study(search="confirm: 1, early_stopping: none"))
    desk.go()
    lowest = min(float(c.get("pruning_rate", 0.9)) for c in desk.configs())
    assert {record.run.config.get("pruning_rate", 0.9) for record in desk.records("confirm")} == {lowest}


@pytest.mark.parametrize("slots", [1, 3])
def test_device_hours_are_enough_for_search_and_confirmation(slots: int, tmp_path: Path) -> None:
    # Scripted runs take a second each.
    study = a_study(trials=50, budget=f"{{device_hours: {10 / 3600}}}", search="confirm: 2, early_stopping: none")
    desk = Desk(tmp_path, study)
    coordinator = desk.go(Scripted(desk.store, slots=slots))
    assert coordinator.budget_spent
    assert 7 <= coordinator.ledger.device_seconds <= 10
    assert {record.seed for record in desk.records("confirm")} == {0, 1}


def test_wall_minutes_count_earlier_executions(tmp_path: Path) -> None:
    desk = Desk(tmp_path, a_study(budget="{wall_minutes: 1}"))
    coordinator = desk.go(seconds_before=60.0)
    assert coordinator.budget_spent
    assert desk.worked == []
    assert len(Desk(tmp_path, a_study(budget="{wall_minutes: 1}")).go(seconds_before=30.0).ledger.records) > 4


def test_a_slow_first_run_does_not_end_a_search_for_good(tmp_path: Path) -> None:
    study = a_study(trials=8, seeds="[0]", budget=f"{{device_hours: {12 / 3600}}}")
    desk = Desk(tmp_path, study)

    seconds = iter([6.1] + 7 * [0.1])

    def act(executor: Scripted) -> None:
        work = executor.running[0]
        result = a_result(work.run)
        executor.store.put_outcome(result)
        executor.end(Completion(work, "finished", next(seconds), result))

    coordinator = desk.go(Scripted(desk.store, act=act))
    assert not coordinator.budget_spent
    assert len(desk.records("search")) == 8


def test_a_study_that_had_all_its_trials_has_not_run_out_of_budget(tmp_path: Path) -> None:
    desk = Desk(tmp_path, a_study(trials=4, budget="{trials: 4}"))
    assert not desk.go().budget_spent
    assert len(desk.records("search")) == 4


def test_a_headline_is_measured_against_dense_also_after_an_interruption(tmp_path: Path) -> None:
    study = a_study(DENSE, MAGNITUDE, trials=2)

    def two_variants(work: Work, data: Any, settings: WorkerSettings, judge: Judge) -> Completion:
        if work.run.method == "dense":
            return no_op(work, data, settings, judge)
        figures = {"accurate": (0.87, 0.5), "small": (0.835, 0.1)}
        variants = tuple(_variant(label, accuracy, share) for label, (accuracy, share) in figures.items())
        result = a_result(work.run).model_copy(update={"variants": variants})
        Store.open(settings.store_uri).put_outcome(result)
        return Completion(work, "finished", 0.0, result)

    def told(desk: Desk) -> list[float | None]:
        storage_reader = desk.coordinator()
        return [state.size for state in storage_reader._searches["digits/magnitude"].trials()]

    straight = Desk(tmp_path / "straight", study)
    straight.coordinator(straight.inline(two_variants)).search()
    broken = Desk(tmp_path / "broken", study)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(CellSearch, "tell", _dies_at(1, CellSearch.tell, after=True))
        with pytest.raises(Killed):
            broken.coordinator(broken.inline(two_variants)).search()
    broken.coordinator(broken.inline(two_variants)).search()
    # Dense has 0.84: within the tolerance of a hundredth the small one will do, though the other is better by more.
    assert told(straight) == told(broken) == [0.1, 0.1]


def _variant(label: str, accuracy: float, share: float) -> GradedVariant:
    sizes = Sizes(**{name: round(share * size) for name, size in DENSE_SIZES.model_dump().items()})
    return GradedVariant(
        label=label, kind="whole", validation={"accuracy": accuracy}, sizes=sizes, reference_sizes=DENSE_SIZES
    )


class _Judged:
    """A search on two workers in which every run reports before it ends; runs that are to stop, stop."""

    def __init__(self, desk: Desk, accuracies: list[float]) -> None:
        self.verdicts: dict[str, bool] = {}
        self._accuracies = accuracies
        self.executor = Scripted(desk.store, slots=1, act=self._act)
        self.coordinator: Coordinator = desk.coordinator(self.executor)

    def _act(self, executor: Scripted) -> None:
        work = executor.running[0]
        accuracy = self._accuracies[len(executor.submitted) - 1]
        report = Report(work.run.key, 0.5, accuracy, 0.5)
        stop = self.verdicts[work.run.key] = self.coordinator.judge(report)
        if stop:
            executor.end(Completion(work, "stopped_early", 1.0, last_report=report))
        else:
            executor.finish(work.run, executor.store, accuracy=accuracy)


def test_a_run_beaten_by_the_others_is_stopped_and_stays_out_of_the_front(tmp_path: Path) -> None:
    desk = Desk(tmp_path, a_study(trials=3, search=STOPPING))
    judged = _Judged(desk, [0.9, 0.5, 0.95, 0.9, 0.9])
    judged.coordinator.search()
    assert [record.status for record in desk.records("search")] == ["finished", "stopped_early", "finished"]
    assert "50% of the schedule" in desk.records("search")[1].reason
    judged.coordinator.confirm()
    assert 1 not in {record.trial for record in desk.records("confirm")}


def test_what_early_stopping_has_seen_outlives_the_coordinator(tmp_path: Path) -> None:
    desk = Desk(tmp_path, a_study(trials=3, search=STOPPING))
    first = _Judged(desk, [0.9, 0.9, 0.5])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(CellSearch, "ask", _dies_at(3, CellSearch.ask, after=True))
        with pytest.raises(Killed):
            first.coordinator.search()
    first.coordinator.keep_rungs()
    again = _Judged(desk, [0.5])
    again.coordinator.search()
    assert list(again.verdicts.values()) == [True]


def test_a_run_that_two_labels_share_is_not_stopped_for_one_of_them(tmp_path: Path) -> None:
    # The first trial of both labels is the method's own defaults.
    study = a_study(MAGNITUDE, "twin: {method: magnitude, search: {pruning_rate: [0.8, 0.99]}}", search=STOPPING)
    desk = Desk(tmp_path, study)
    shared: list[bool] = []

    def act(executor: Scripted) -> None:
        run = executor.running[0].run
        shared.extend(coordinator.judge(Report(run.key, 0.5, 0.1, size)) for size in (0.1, 0.2, 0.3))
        raise Killed

    coordinator = desk.coordinator(Scripted(desk.store, act=act))
    with pytest.raises(Killed):
        coordinator.search()
    assert shared == [False] * 3
    assert all(rungs.state() == [] for rungs in coordinator._rungs.values())


def test_confirmations_are_never_stopped(tmp_path: Path) -> None:
    desk = Desk(tmp_path, a_study(trials=2, search=STOPPING))
    desk.coordinator().search()
    verdicts = []

    def act(executor: Scripted) -> None:
        run = executor.running[0].run
        verdicts.append(coordinator.judge(Report(run.key, 0.5, 0.0, 1.0)))
        executor.finish(run, executor.store)

    coordinator = desk.coordinator(Scripted(desk.store, act=act))
    coordinator.confirm()
    assert verdicts
    assert not any(verdicts)


def test_a_coordinator_that_lost_its_lock_stops(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("orchestrator.coordinator._OURS_SECONDS", 0.0)

    def taken_over() -> None:
        raise StoreLocked("taken over")

    desk = Desk(tmp_path, a_study(trials=50))
    with pytest.raises(StoreLocked):
        desk.go(still_ours=taken_over)
    assert len(desk.records()) < 50


def test_runs_of_one_configuration_are_shared_between_studies_and_labels(tmp_path: Path) -> None:
    study = a_study(MAGNITUDE, "twin: {method: magnitude, search: none}", seeds="[0]", trials=1)
    desk = Desk(tmp_path, study)
    coordinator = desk.go()
    assert len(desk.worked) == 1
    assert len(desk.records("search")) == 2
    assert coordinator.counts["cached"] >= 1


def _noisy(work: Work, data: Any, settings: WorkerSettings, judge: Judge) -> Completion:
    """As `no_op`, but accuracies vary with the seed by so much that no two configurations can be told apart."""
    del data, judge
    share = 1.0 - float(work.run.config.get("pruning_rate", 0.9))
    result = a_result(work.run, accuracy=0.5 + 0.1 * share + 0.1 * (work.run.seed % 2), share=share)
    Store.open(settings.store_uri).put_outcome(result)
    return Completion(work, "finished", 1.0, result)


def _extra_study(*, budget: str = "{}") -> Study:
    return a_study(DENSE, MAGNITUDE, search="confirm: 2, extra_seeds: 2, early_stopping: none", budget=budget)


def _with_extra_seeds(desk: Desk, **options: Any) -> Coordinator:
    coordinator = desk.go(desk.inline(_noisy), **options)
    coordinator.add_seeds()
    return coordinator


def test_configurations_too_close_to_call_get_further_seeds_and_dense_gets_none(tmp_path: Path) -> None:
    desk = Desk(tmp_path, _extra_study())
    _with_extra_seeds(desk)
    confirmed = Counter((record.method, record.seed) for record in desk.records("confirm"))
    assert confirmed == {("dense", 0): 1, ("dense", 1): 1} | {("magnitude", seed): 2 for seed in (0, 1, 2, 3)}
    assert {r.run.config["pruning_rate"] for r in desk.records("confirm") if r.seed == 3} == {
        r.run.config["pruning_rate"] for r in desk.records("confirm") if r.seed == 0 and r.method == "magnitude"
    }


def test_configurations_that_are_told_apart_get_none(tmp_path: Path) -> None:
    desk = Desk(tmp_path, _extra_study())
    coordinator = desk.go()  # without noise: the intervals are points
    worked = len(desk.worked)
    coordinator.add_seeds()
    assert len(desk.worked) == worked
    assert {record.seed for record in desk.records("confirm")} == {0, 1}


def test_extra_seeds_end_with_the_budget_and_leave_the_search_its_trials(tmp_path: Path) -> None:
    # Runs take a second: 5 of the search, 3 of the confirmation, 1 of the extra seeds, and the limit itself.
    desk = Desk(tmp_path, _extra_study(budget=f"{{device_hours: {10 / 3600}}}"))
    _with_extra_seeds(desk)
    assert len(desk.records("search")) == 5
    assert [record.seed for record in desk.records("confirm") if record.seed > 1] == [2]


@pytest.mark.parametrize("call", [9, 10, 11, 12])
def test_extra_seeds_go_on_after_a_kill_as_if_it_never_was(call: int, tmp_path: Path) -> None:
    straight, broken = Desk(tmp_path / "straight", _extra_study()), Desk(tmp_path / "broken", _extra_study())
    _with_extra_seeds(straight)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Store, "put_outcome", _dies_at(call, Store.put_outcome, after=True))
        with pytest.raises(Killed):
            _with_extra_seeds(broken)
    _with_extra_seeds(broken)
    assert _ledger(broken) == _ledger(straight)
    assert len(broken.worked) == len(straight.worked)
