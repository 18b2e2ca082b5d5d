"""The search proposes each configuration once, learns, survives kills and proposes the same again in the same place."""

import json
import logging
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import optuna
import pytest
from pydantic import Field, model_validator

from methods.config import Choice, MethodConfig, Range, SearchSpace
from orchestrator.errors import PareError, ServiceMissing, StoreFull, StoreProblem
from orchestrator.search import CellSearch, Proposal, open_storage
from orchestrator.search.space import count, first_values, whole_fields
from orchestrator.search.trials import TrialState, worth_seeing


class Config(MethodConfig):
    rate: Annotated[float, Field(gt=0), Range(1e-3, 1, "log")] = 0.1
    epochs: Annotated[int, Range(1, 60)] = 20
    share: Annotated[float, Range(0, 1)] = 0.5
    kind: Annotated[Literal["a", "b"], Choice(("a", "b"))] = "a"
    seldom: int | None = None


class Picky(MethodConfig):
    low: Annotated[int, Range(0, 3)] = 2
    high: Annotated[int, Range(0, 3)] = 1

    @model_validator(mode="after")
    def _in_order(self) -> "Picky":
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


FULL = Config.search_space()
NEVER = 10**6


def search(
    path: Path,
    *,
    space: SearchSpace = FULL,
    config_class: type[MethodConfig] = Config,
    fixed: dict[str, Any] | None = None,
    num_trials: int = 20,
    seed: int = 0,
    sampler: Literal["tpe", "random"] = "tpe",
    name: str = "study/task/method",
) -> CellSearch:
    return CellSearch.open(
        storage=open_storage(path),
        name=name,
        space=space,
        config_class=config_class,
        fixed=fixed or {},
        num_trials=num_trials,
        seed=seed,
        sampler=sampler,
    )


def quality(config: dict[str, Any]) -> dict[str, float]:
    """A made-up method: accurate near rate 0.03 with many epochs; smaller with a larger share."""
    score = math.exp(-((math.log10(config["rate"]) + 1.5) ** 2)) - 0.2 * config["share"] ** 3
    return {"score": score + config["epochs"] / 1000, "size": 0.01 + 0.9 * (1 - config["share"]) ** 2}


def ask(cell: CellSearch) -> Proposal:
    proposal = cell.ask()
    assert proposal is not None
    return proposal


def run(cell: CellSearch, number: int = NEVER) -> list[dict[str, Any]]:
    """Ask and tell with one worker until the trials or `number` are used up; what was proposed."""
    configs = []
    while len(configs) < number and (proposal := cell.ask()) is not None:
        cell.tell(proposal.trial, **quality(proposal.config))
        configs.append(proposal.config)
    return configs


@pytest.fixture(params=["journal", "database"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return tmp_path / "search.journal" if request.param == "journal" else f"sqlite:///{tmp_path}/search.db"


def test_the_first_proposal_is_the_methods_default(tmp_path: Path) -> None:
    assert ask(search(tmp_path / "j")).config == {"rate": 0.1, "epochs": 20, "share": 0.5, "kind": "a"}


def test_a_default_outside_the_studys_range_moves_to_its_nearest_end() -> None:
    space: SearchSpace = {
        "rate": Range(0.2, 0.9),
        "epochs": Range(1, 10),
        "kind": Choice(("b",)),
        "seldom": Range(1, 100, "log"),
    }
    assert first_values(space, Config) == {"rate": 0.2, "epochs": 10, "kind": "b", "seldom": 10}


def test_proposals_stay_in_range_with_whole_numbers_where_the_field_is_whole(tmp_path: Path) -> None:
    space: SearchSpace = {"rate": Range(0.01, 0.02, "log"), "epochs": Range(5, 9), "seldom": Range(1, 8, "log")}
    for config in run(search(tmp_path / "j", space=space, fixed={"share": 0.25})):
        assert 0.01 <= config["rate"] <= 0.02
        assert isinstance(config["epochs"], int)
        assert 5 <= config["epochs"] <= 9
        assert isinstance(config["seldom"], int)
        assert config["share"] == 0.25
    assert whole_fields(Config) == {"epochs", "seldom"}


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_budget_of_trials_is_kept(tmp_path: Path, sampler: Literal["tpe", "random"]) -> None:
    cell = search(tmp_path / "j", num_trials=12, sampler=sampler)
    assert len(run(cell)) == 12
    assert cell.ask() is None
    assert cell.num_asked == 12


def test_an_empty_space_gives_one_trial_of_what_is_fixed(tmp_path: Path) -> None:
    cell = search(tmp_path / "j", space={}, fixed={"epochs": 3})
    assert ask(cell) == Proposal(trial=0, config={"epochs": 3})
    assert cell.ask() is None
    assert search(tmp_path / "k", space={}).ask() == Proposal(trial=0, config={})


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_small_space_is_gone_through_once_without_repetition(
    tmp_path: Path, sampler: Literal["tpe", "random"]
) -> None:
    space: SearchSpace = {"epochs": Range(1, 7), "kind": Choice(("a", "b"))}
    configs = run(search(tmp_path / "j", space=space, num_trials=100, sampler=sampler, fixed={"rate": 0.1, "share": 0}))
    assert count(space, whole_fields(Config)) == 14
    assert len(configs) == len({json.dumps(config) for config in configs}) == 14


def test_configurations_that_the_method_refuses_are_not_proposed(tmp_path: Path) -> None:
    cell = search(tmp_path / "j", space=Picky.search_space(), config_class=Picky, num_trials=100)
    proposals = [proposal.config for proposal in iter(cell.ask, None)]
    assert sorted((config["low"], config["high"]) for config in proposals) == [
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 2),
        (1, 3),
        (2, 3),
    ]


def test_a_space_refused_whole_is_reported_with_the_methods_reason(tmp_path: Path) -> None:
    cell = search(tmp_path / "j", space={"low": Range(2, 3)}, config_class=Picky, fixed={"high": 1})
    with pytest.raises(PareError, match=r"accepts no configuration within the ranges.*low must be below high"):
        cell.ask()


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_one_worker_gets_the_same_proposals_each_time(tmp_path: Path, sampler: Literal["tpe", "random"]) -> None:
    first = run(search(tmp_path / "first", num_trials=16, sampler=sampler))
    assert run(search(tmp_path / "second", num_trials=16, sampler=sampler)) == first
    assert run(search(tmp_path / "third", num_trials=16, sampler=sampler, seed=1)) != first
    assert run(search(tmp_path / "fourth", num_trials=16, sampler=sampler, name="another/cell"))[1:] != first[1:]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_going_on_after_interruptions_proposes_what_would_have_come(
    tmp_path: Path, sampler: Literal["tpe", "random"]
) -> None:
    whole = run(search(tmp_path / "whole", num_trials=70, sampler=sampler))
    pieces: list[dict[str, Any]] = []
    for number in (3, 63, NEVER):
        pieces += run(search(tmp_path / "pieces", num_trials=70, sampler=sampler), number)
    assert pieces == whole


def test_what_was_told_is_there_when_the_search_is_opened_again(place: Any) -> None:
    cell = search(place)
    for _ in range(5):
        ask(cell)
    cell.tell(0, score=0.9, size=0.5)
    cell.tell_stopped(1, score=0.4, size=0.3, progress=0.25)
    cell.tell_failed(2, "the loss was not finite")
    again = search(place)
    assert again.trials() == cell.trials()
    assert [state.status for state in again.trials()] == ["finished", "stopped_early", "failed", "running", "running"]
    assert again.trials()[1].progress == 0.25
    assert again.trials()[2].reason == "the loss was not finite"
    assert again.pending() == [Proposal(state.trial, state.config) for state in cell.trials()[3:]]
    assert ask(again).trial == 5


def test_cells_of_one_storage_do_not_mix(place: Any) -> None:
    storage = open_storage(place)
    cells = [
        CellSearch.open(
            storage=storage,
            name=name,
            space=FULL,
            config_class=Config,
            fixed={},
            num_trials=5,
            seed=0,
            sampler="random",
        )
        for name in ("s/t/one", "s/t/two")
    ]
    for cell, score in zip(cells, (0.1, 0.2), strict=True):
        assert ask(cell).trial == 0
        cell.tell(0, score=score, size=0.5)
    assert [cell.trials()[0].score for cell in cells] == [0.1, 0.2]


def test_the_front_holds_finished_trials_that_nobody_betters_smallest_first(tmp_path: Path) -> None:
    cell = search(tmp_path / "j")
    for _ in range(6):
        ask(cell)
    cell.tell(0, score=0.9, size=0.5)
    cell.tell(1, score=0.8, size=0.1)
    cell.tell(2, score=0.85, size=0.6)
    cell.tell_stopped(3, score=0.99, size=0.01, progress=0.5)
    cell.tell_failed(4, "killed")
    assert cell.front() == [1, 0]


def test_a_stopped_trial_is_complete_for_optuna_and_violates_a_constraint(tmp_path: Path) -> None:
    cell = search(tmp_path / "j")
    for _ in range(2):
        ask(cell)
    cell.tell_stopped(0, score=0.99, size=0.01, progress=0.5)
    cell.tell(1, score=0.5, size=0.5)
    # Any Optuna program reads the journal, with Optuna's own file backend.
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "j"))
    study = optuna.load_study(study_name="study/task/method", storage=optuna.storages.JournalStorage(backend))
    stopped = study.get_trials()[0]
    assert stopped.state == optuna.trial.TrialState.COMPLETE
    assert stopped.values == [0.99, 0.01]
    assert stopped.constraints == {"early_stopped": 1.0}
    assert [trial.number for trial in study.best_trials] == [1]


@pytest.mark.parametrize("lines_kept", [1, 2])
def test_a_stop_that_was_half_told_is_told_on_opening(tmp_path: Path, lines_kept: int) -> None:
    cell = search(tmp_path / "j")
    ask(cell)
    told = (tmp_path / "j").read_bytes().count(b"\n")
    cell.tell_stopped(0, score=0.4, size=0.3, progress=0.25)
    lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
    (tmp_path / "j").write_bytes(b"".join(lines[: told + lines_kept]))
    again = search(tmp_path / "j")
    assert again.trials() == cell.trials()
    assert again.pending() == []


def test_the_first_telling_of_a_trial_stays(tmp_path: Path) -> None:
    cell = search(tmp_path / "j")
    ask(cell)
    cell.tell(0, score=0.9, size=0.5)
    cell.tell(0, score=0.1, size=0.1)
    cell.tell_failed(0, "late")
    assert cell.trials()[0].point == (0.9, 0.5)
    with pytest.raises(ValueError, match="no trial 7; 1 were asked for"):
        cell.tell(7, score=0.9, size=0.5)


def test_values_that_are_not_finite_are_a_failure(tmp_path: Path) -> None:
    cell = search(tmp_path / "j")
    ask(cell), ask(cell)
    cell.tell(0, score=math.nan, size=0.5)
    cell.tell_stopped(1, score=0.5, size=math.inf, progress=0.5)
    assert [state.status for state in cell.trials()] == ["failed", "failed"]
    assert "nan" in cell.trials()[0].reason


def dominated_area(states: list[TrialState]) -> float:
    area = best = 0.0
    for score, size in sorted((s.point for s in states), key=lambda point: point[1]):
        if score > best:
            area, best = area + (score - best) * (1 - size), score
    return area


def test_learning_finds_better_fronts_than_drawing_blindly(tmp_path: Path) -> None:
    areas: dict[str, list[float]] = {"tpe": [], "random": []}
    for sampler, found in areas.items():
        for seed in range(3):
            cell = search(tmp_path / f"{sampler}{seed}", num_trials=40, seed=seed, sampler=sampler)  # type: ignore[arg-type]
            run(cell)
            found.append(dominated_area(cell.trials()))
    assert sum(areas["tpe"]) > sum(areas["random"])


def test_several_workers_get_different_proposals_before_anything_is_told(tmp_path: Path) -> None:
    cell = search(tmp_path / "j", num_trials=60)
    run(cell, 30)
    at_once = [ask(cell).config for _ in range(8)]
    assert len({config["rate"] for config in at_once}) == 8


def a_state(trial: int, status: Any = "finished", score: float = 0.5, size: float = 0.5) -> TrialState:
    ended = status in ("finished", "stopped_early")
    return TrialState(trial, {}, {}, status, score if ended else None, size if ended else None)


def test_the_sampler_sees_the_best_and_the_newest_of_many() -> None:
    poor = [a_state(trial, score=0.1, size=0.9) for trial in range(2, 20)]
    trials = [
        a_state(0, score=0.9, size=0.1),
        a_state(1, "stopped_early", score=1.0, size=0.01),
        *poor,
        a_state(20, "failed"),
        a_state(21, "running"),
    ]
    assert [state.trial for state in worth_seeing(trials, most=4)] == [0, 17, 18, 19, 21]
    assert [state.trial for state in worth_seeing(trials, most=40)] == [*range(20), 21]


def test_a_line_cut_short_is_left_out_and_the_former_file_kept(tmp_path: Path) -> None:
    journal = tmp_path / "search.journal"
    run(search(journal), 4)
    good = journal.read_bytes()
    torn = good + b'{"op_code":4,"worker_id":"x","stu'
    journal.write_bytes(torn)
    storage = open_storage(journal)
    assert storage.note is not None
    assert "33 bytes left out" in storage.note
    assert journal.read_bytes() == good
    assert (tmp_path / "search.journal.before-mending").read_bytes() == torn
    assert search(journal).num_asked == 4
    assert open_storage(journal).note is None


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_journal_cut_anywhere_at_its_end_can_be_gone_on_with(tmp_path: Path, cut: int) -> None:
    journal = tmp_path / "j"
    run(search(journal, sampler="random"), 3)
    journal.write_bytes(journal.read_bytes()[: -7 * cut])
    cell = search(journal, sampler="random", num_trials=4)
    for proposal in cell.pending():
        cell.tell(proposal.trial, **quality(proposal.config))
    run(cell)
    assert [state.status for state in search(journal).trials()] == ["finished"] * 4


def test_a_journal_broken_in_its_midst_is_refused_with_the_line(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    run(search(journal), 2)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], b"oops\n", *lines[2:]]))
    with pytest.raises(StoreProblem, match=r"j:3: not a line of a search journal.*finds finished runs"):
        open_storage(journal)


def test_a_full_disk_leaves_a_journal_that_can_be_gone_on_with(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    cell = search(journal, sampler="random")
    run(cell, 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size + 50, hard))
    try:
        with pytest.raises(StoreFull, match="free some space"):
            cell.ask()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ask(cell).trial == 2
    assert search(journal).trials() == cell.trials()


SEARCH_FOREVER = """
import sys
from pathlib import Path
from tests.orchestrator.test_search import NEVER, quality, search
cell = search(Path(sys.argv[1]), num_trials=NEVER, sampler="random")
while True:
    proposal = cell.ask()
    cell.tell(proposal.trial, **quality(proposal.config))
    print(proposal.trial, flush=True)
"""


def test_every_telling_that_returned_survives_a_kill(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SEARCH_FOREVER, str(tmp_path / "j")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        for _ in range(50):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        printed = process.stdout.read().split("\n")
    last = max([int(number) for number in printed[:-1] if number], default=49)
    again = search(tmp_path / "j")
    assert all(state.status == "finished" for state in again.trials()[: last + 1])
    assert len(again.pending()) <= 1


def test_a_database_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(ServiceMissing, match=r"postgresql://nowhere\.invalid/optuna cannot be opened") as caught:
        open_storage("postgresql://user:secret@nowhere.invalid/optuna")
    assert caught.value.exit_code == 5


def test_optuna_keeps_its_progress_to_itself(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    call: Callable[[], object] = lambda: run(search(tmp_path / "j"), 10)  # noqa: E731
    with caplog.at_level(logging.DEBUG):
        call()
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
