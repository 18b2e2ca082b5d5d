"""Searches one cell's configurations for high score and small size. The only file that imports Optuna.

Optuna's part is the durable list of trials (a journal file or a database) and the sampler. What is ours:

* A trial is written with its whole configuration in one step, so one that was running when the coordinator died can be
  run again under its number.
* Each proposal draws from a generator seeded by study, cell and number of the trial. One worker thus gets the same
  proposals each time, and going on after an interruption gives those that would have come without it.
* The size told is the plain ratio to the dense network, as the report compares it; its logarithm searched no better in
  our trials (12 seeds, 16 to 100 trials of a test function).
* The sampler sees about 200 trials at most [design]: of more it sees the best and the newest. TPE's cost grows with
  what it sees (four fields, one by one: 9 ms a proposal at 100 trials, 29 at 1,000, 78 at 2,000).
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from methods.config import Choice, MethodConfig, SearchSpace
from methods.json_value import Json
from orchestrator.errors import PareError, ServiceMissing
from orchestrator.search.dominance import non_dominated
from orchestrator.search.journal import JournalFile, mend
from orchestrator.search.space import count, everything, first_values, same, whole_fields
from orchestrator.search.trials import Proposal, TrialState, worth_seeing
from orchestrator.store.files import shown

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

_STOPPED = "early_stopped"
_REASON = "reason"
_SEEN = 128
"""Finished trials in a fresh view of the sampler; between two refreshes it gains `_REFRESH` more."""
_REFRESH = 64
_REDRAWS = 8
_BLIND_DRAWS = 200
_MOST_ENUMERATED = 100_000

__all__ = ["CellSearch", "Proposal", "SearchStorage", "TrialState", "open_storage"]


class SearchStorage:
    """Where the searches of all cells of a study are kept."""

    def __init__(self, backend: BaseStorage, note: str | None = None) -> None:
        self.backend = backend
        self.note = note
        """What had to be mended when it was opened, for people."""


def open_storage(place: Path | str) -> SearchStorage:
    """Open the trials of a study, making them if need be.

    Args:
        place: Path of a journal file, mended if a kill cut its last line short; or the URL of a database, such as
            `postgresql://user@host/name`, which must not be MLflow's.

    Raises:
        StoreProblem: The journal cannot be read or written, or is broken in its midst.
        ServiceMissing: The database cannot be reached.
    """
    optuna = _optuna()
    if isinstance(place, Path) or "://" not in place:
        path = Path(place)
        note = mend(path)
        return SearchStorage(optuna.storages.JournalStorage(JournalFile(path)), note)
    from sqlalchemy.exc import SQLAlchemyError  # a part of Optuna's own installation

    try:
        return SearchStorage(optuna.storages.RDBStorage(place))
    except (ImportError, ValueError, SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise ServiceMissing(
            f"the search's database {shown(place)} cannot be opened: {error}; start it or install its driver, or leave "
            "the URL out: the search is then kept in a file of the store"
        ) from error


class CellSearch:
    """The search of one cell (task and method). For one thread of one process.

    Every trial asked for must be told how it ended; what was told last is kept when the call returns.
    """

    def __init__(
        self,
        study: Study,
        storage: BaseStorage,
        *,
        space: SearchSpace,
        config_class: type[MethodConfig],
        fixed: Mapping[str, Json],
        num_trials: int,
        seed: int,
        sampler: Literal["tpe", "random"],
    ) -> None:
        self._study = study
        self._storage = storage
        self._space = space
        self._config_class = config_class
        self._fixed = dict(fixed)
        self._num_trials = num_trials if space else 1
        self._seed = seed
        self._distributions = _distributions(space, whole_fields(config_class))
        self._trials: list[TrialState] = []
        self._identities: set[str] = set()
        self._refusal = ""
        self._view = _SamplerView(self._distributions, sampler=sampler, num_trials=num_trials)
        for trial in study.get_trials(deepcopy=False):
            self._remember(trial.params)
            self._recall_ending(trial)

    @classmethod
    def open(
        cls,
        *,
        storage: SearchStorage,
        name: str,
        space: SearchSpace,
        config_class: type[MethodConfig],
        fixed: Mapping[str, Json],
        num_trials: int,
        seed: int,
        sampler: Literal["tpe", "random"],
    ) -> CellSearch:
        """Begin a search or go on with it.

        Args:
            storage: Shared by the cells of a study.
            name: Of the cell, unique within the storage.
            space: The fields to search; empty: one trial with what is fixed.
            config_class: The method's configuration, for defaults, whole numbers and checks.
            fixed: Values of other fields, part of each proposal.
            num_trials: Most trials, failed ones included; at least 1.
            seed: Of the study's search.
            sampler: `tpe` learns from earlier trials after a quarter of them (4 to 32); `random` does not.
        """
        optuna = _optuna()
        try:
            study = optuna.load_study(study_name=name, storage=storage.backend, sampler=optuna.samplers.RandomSampler())
        except KeyError:
            study = _begin_study(storage.backend, name)
        return cls(
            study,
            storage.backend,
            space=space,
            config_class=config_class,
            fixed=fixed,
            num_trials=num_trials,
            seed=seed,
            sampler=sampler,
        )

    @property
    def num_asked(self) -> int:
        """Trials asked for so far, in earlier executions too."""
        return len(self._trials)

    def ask(self) -> Proposal | None:
        """The next configuration; None when the trials are used up or nothing new is left in the space.

        The first is the method's own defaults, moved into the study's ranges. None is proposed twice, nor any that
        the method's configuration refuses.

        Raises:
            PareError: The method refuses every configuration within the ranges.
            StoreProblem: It cannot be written down.
        """
        if self.num_asked >= self._num_trials:
            return None
        values = self._draw()
        if values is None:
            if not self._trials:
                raise PareError(
                    f"{self._study.study_name}: the method accepts no configuration within the ranges searched, "
                    f"e.g. {self._refusal}; change the ranges or what is fixed"
                )
            return None
        optuna = _optuna()
        self._study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING, params=values, distributions=self._distributions
            )
        )
        self._remember(values)
        return Proposal(self._trials[-1].trial, self._trials[-1].config)

    def tell(self, trial: int, *, score: float, size: float) -> None:
        """A trial has finished. One told before stays as it was told first.

        Args:
            trial: Number of the proposal.
            score: Validation accuracy or R2 of the headline variant; not finite: the trial counts as failed.
            size: Its size as a share of the dense network's.
        """
        if not (math.isfinite(score) and math.isfinite(size)):
            self.tell_failed(trial, f"score {score} or size {size} is not finite")
        elif self._is_open(trial):
            self._study.tell(trial, (score, size))
            self._end(trial, status="finished", score=score, size=size)

    def tell_stopped(self, trial: int, *, score: float, size: float, progress: float) -> None:
        """A trial was stopped early with these values; it stays out of the front, the sampler learns from it.

        Told to Optuna as complete with the violated constraint `early_stopped`, since a pruned trial has no values
        when there are two objectives.
        """
        if not (math.isfinite(score) and math.isfinite(size)):
            self.tell_failed(trial, f"stopped at {progress:.0%} with score {score} and size {size}")
        elif self._is_open(trial):
            values = {"score": score, "size": size, "progress": progress}
            # First all values in one step: a coordinator that dies before the others makes up for them on opening.
            stored = _trial(self._study, self._storage, trial)
            stored.set_user_attr(_STOPPED, values)
            self._tell_stopped(stored, values)

    def tell_failed(self, trial: int, reason: str) -> None:
        """A trial gave no result; the sampler forgets it, for its configuration need not be why."""
        if self._is_open(trial):
            optuna = _optuna()
            _trial(self._study, self._storage, trial).set_user_attr(_REASON, reason)
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            self._end(trial, status="failed", reason=reason)

    def pending(self) -> list[Proposal]:
        """Trials asked for and not told: after an interruption, those to run again or to tell failed."""
        return [Proposal(state.trial, state.config) for state in self._trials if state.status == "running"]

    def trials(self) -> list[TrialState]:
        """All trials, by number."""
        return list(self._trials)

    def front(self) -> list[int]:
        """Finished trials that no other finished one matches in both objectives and betters in one; smallest first."""
        finished = [state for state in self._trials if state.status == "finished"]
        return [finished[index].trial for index in non_dominated([state.point for state in finished])]

    def _draw(self) -> dict[str, Json] | None:
        """Values for the next trial that are new and that the method accepts; None when there seem to be none."""
        number = self.num_asked
        if number == 0 and self._is_welcome(values := first_values(self._space, self._config_class)):
            return values
        seed = f"{self._seed}/{self._study.study_name}/{number}"
        for attempt in range(_REDRAWS):
            values = self._view.sample(self._trials, seed=_number(f"{seed}/{attempt}"))
            if self._is_welcome(values):
                return values
        # The sampler insists on what is known, so the space is small or nearly used up: look at what is left of it.
        if count(self._space, whole_fields(self._config_class)) <= _MOST_ENUMERATED:
            left = [values for values in everything(self._space) if self._is_welcome(values)]
            return random.Random(_number(seed)).choice(left) if left else None
        blind = _optuna().samplers.RandomSampler(seed=_number(seed))
        for _ in range(_BLIND_DRAWS):
            values = self._view.sample_with(blind)
            if self._is_welcome(values):
                return values
        return None

    def _is_welcome(self, values: dict[str, Json]) -> bool:
        """Whether the method accepts these values and no trial had them."""
        try:
            return self._identity(values) not in self._identities
        except ValidationError as error:
            self._refusal = f"{values}: {error.errors()[0]['msg']}"
            return False

    def _identity(self, values: Mapping[str, Json]) -> str:
        return same(self._config_class(**{**self._fixed, **values}).changed())

    def _remember(self, values: dict[str, Json]) -> None:
        """Add an open trial to what is known without asking the storage."""
        self._trials.append(TrialState(self.num_asked, self._fixed | values, values))
        with suppress(ValidationError):  # of an earlier version of the method, so none to be proposed now
            self._identities.add(self._identity(values))
        self._view.add(self._trials[-1])

    def _recall_ending(self, stored: FrozenTrial) -> None:
        """Take over how a trial of an earlier execution ended."""
        states = _optuna().trial.TrialState
        stopped = stored.user_attrs.get(_STOPPED)
        if stored.state == states.RUNNING and stopped is not None:
            self._tell_stopped(_trial(self._study, self._storage, stored.number), stopped)
        elif stored.state == states.COMPLETE and stopped is not None:
            self._end(stored.number, status="stopped_early", **stopped)
        elif stored.state == states.COMPLETE:
            score, size = stored.values
            self._end(stored.number, status="finished", score=score, size=size)
        elif stored.state == states.FAIL:
            self._end(stored.number, status="failed", reason=stored.user_attrs.get(_REASON, ""))

    def _tell_stopped(self, stored: Trial, values: Mapping[str, float]) -> None:
        if _STOPPED not in stored.constraints:
            stored.set_constraint(_STOPPED, 1.0)
        self._study.tell(stored, (values["score"], values["size"]))
        self._end(stored.number, status="stopped_early", **values)

    def _is_open(self, trial: int) -> bool:
        if not 0 <= trial < self.num_asked:
            raise ValueError(f"{self._study.study_name}: no trial {trial}; {self.num_asked} were asked for")
        return self._trials[trial].status == "running"

    def _end(self, trial: int, **ending: Any) -> None:
        self._trials[trial] = replace(self._trials[trial], **ending)
        self._view.end(self._trials[trial])


class _SamplerView:
    """What the sampler gets to see: a study in memory with the running trials and a part of the ended ones.

    [design] Chosen anew at every `_REFRESH`-th trial, and trials are added in between. Choosing at fixed numbers makes
    the view, and so a proposal, a function of the trials alone, however often the coordinator was started.
    """

    def __init__(
        self, distributions: dict[str, BaseDistribution], *, sampler: Literal["tpe", "random"], num_trials: int
    ) -> None:
        self._distributions = distributions
        self._learns = sampler == "tpe"
        self._num_blind = max(4, min(32, num_trials // 4))
        self._chosen_at = -1
        """Number of trials when the view was chosen; -1: not yet."""

    def sample(self, trials: Sequence[TrialState], *, seed: int) -> dict[str, Json]:
        """Values for the trial that follows `trials`."""
        at = len(trials) - len(trials) % _REFRESH
        if at != self._chosen_at:
            self._begin([*worth_seeing(trials[:at], most=_SEEN), *trials[at:]], at=at)
        if not self._learns:
            return self.sample_with(_optuna().samplers.RandomSampler(seed=seed))
        return self.sample_with(_joint_tpe()(self._distributions, num_blind=self._num_blind, seed=seed))

    def sample_with(self, sampler: BaseSampler) -> dict[str, Json]:
        self._study.sampler = sampler
        drawn = self._study.ask(self._distributions)
        # It may not be taken; if it is, `add` brings it in. Samplers pass over failed trials.
        self._study.tell(drawn, state=_optuna().trial.TrialState.FAIL)
        self._size += 1
        return drawn.params

    def add(self, state: TrialState) -> None:
        """A trial was begun, or comes from an earlier execution."""
        if not self._learns or self._chosen_at < 0 or state.status == "failed":
            return
        optuna = _optuna()
        kinds = optuna.trial.TrialState
        running = state.status == "running"
        seen = optuna.trial.create_trial(
            state=kinds.RUNNING if running else kinds.COMPLETE,
            values=None if running else state.point,
            params=state.values,
            distributions=self._distributions,
        )
        if state.status == "stopped_early":
            seen.set_constraint(_STOPPED, 1.0)
        self._study.add_trial(seen)
        if running:
            self._running[state.trial] = self._size
        self._size += 1

    def end(self, state: TrialState) -> None:
        """A running trial ended."""
        if self._chosen_at < 0 or state.trial not in self._running:
            return
        seen = _trial(self._study, self._memory, self._running.pop(state.trial))
        if state.status == "failed":
            self._study.tell(seen, state=_optuna().trial.TrialState.FAIL)
            return
        if state.status == "stopped_early":
            seen.set_constraint(_STOPPED, 1.0)
        self._study.tell(seen, state.point)

    def _begin(self, states: Sequence[TrialState], *, at: int) -> None:
        optuna = _optuna()
        self._memory: BaseStorage = optuna.storages.InMemoryStorage()
        self._study = _begin_study(self._memory, "view")
        self._chosen_at = at
        self._size = 0
        self._running: dict[int, int] = {}
        """Number in the cell -> number in the view."""
        for state in states:
            self.add(state)


def _optuna() -> ModuleType:
    """Optuna, loaded when first needed (half a second) and told to keep its progress to itself.

    Raises:
        ServiceMissing: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ServiceMissing(f"Optuna cannot be imported: {error}; install it with `pip install paredown`") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


@cache
def _joint_tpe() -> Callable[..., BaseSampler]:
    """TPE that draws all fields jointly, at two thirds of the cost of one by one.

    On a test function (12 seeds) the fronts were as good or better up to 40 trials, and a little worse at 100.
    """

    class JointTpe(_optuna().samplers.TPESampler):  # type: ignore[misc]  # the base is loaded when first needed
        def __init__(self, distributions: dict[str, BaseDistribution], *, num_blind: int, seed: int) -> None:
            super().__init__(seed=seed, n_startup_trials=num_blind, multivariate=True, constant_liar=True)
            self._joint = {name: kind for name, kind in distributions.items() if not kind.single()}

        def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
            # Optuna looks for it in all trials, a fifth of the time; our trials all have the same fields.
            del study, trial
            return self._joint

    return JointTpe


def _begin_study(storage: BaseStorage, name: str) -> Study:
    optuna = _optuna()
    # The sampler of a study does nothing but listen; proposals come from the view's.
    study: Study = optuna.create_study(
        storage=storage,
        study_name=name,
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.RandomSampler(),
    )
    return study


def _trial(study: Study, storage: BaseStorage, number: int) -> Trial:
    """The live trial of that number."""
    study_id = storage.get_study_id_from_name(study.study_name)
    trial: Trial = _optuna().trial.Trial(study, storage.get_trial_id_from_study_id_trial_number(study_id, number))
    return trial


def _distributions(space: SearchSpace, whole: frozenset[str]) -> dict[str, BaseDistribution]:
    kinds = _optuna().distributions
    result: dict[str, BaseDistribution] = {}
    for name, domain in space.items():
        if isinstance(domain, Choice):
            result[name] = kinds.CategoricalDistribution(domain.options)
        elif name in whole:
            low, high = math.ceil(domain.low), math.floor(domain.high)
            result[name] = kinds.IntDistribution(low, high, log=domain.scale == "log")
        else:
            result[name] = kinds.FloatDistribution(domain.low, domain.high, log=domain.scale == "log")
    return result


def _number(text: str) -> int:
    """A seed in 32 bits that follows from a text, on every machine alike."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
