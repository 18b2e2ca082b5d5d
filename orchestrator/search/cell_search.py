"""Searches one cell's configurations for high score and small size.

Optuna's part is the durable list of trials (a journal file or a database) and the sampler; `optuna_parts` has what is
asked of it. What is ours:

* A trial is written with its whole configuration in one step, so one that was running when the coordinator died can be
  run again under its number.
* Each proposal draws from a generator seeded by study, cell and number of the trial. One worker thus gets the same
  proposals each time, and going on after an interruption gives those that would have come without it.
* The size told is the plain ratio to the dense network, as the report compares it; its logarithm searched no better in
  our trials (12 seeds, 16 to 100 trials of a test function).
* The sampler sees a bounded part of the trials: `sampler_view`.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from methods.config import MethodConfig, SearchSpace
from methods.json_value import Json
from orchestrator.errors import PareError
from orchestrator.search.dominance import non_dominated
from orchestrator.search.optuna_parts import (
    STOPPED,
    SearchStorage,
    begin_study,
    distributions_of,
    live_trial,
    optuna_module,
)
from orchestrator.search.sampler_view import SamplerView
from orchestrator.search.space import count, everything, first_values, same, whole_fields
from orchestrator.search.trials import Proposal, TrialState

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

_REASON = "reason"
_REDRAWS = 8
_BLIND_DRAWS = 200
_MOST_ENUMERATED = 100_000


class CellSearch:
    """The search of one cell (task and method). For one thread of one process.

    Every trial asked for must be told how it ended; what was told last is kept when the call returns.
    """

    def __init__(
        self,
        study: Study,
        storage: BaseStorage,
        *,
        name: str,
        space: SearchSpace,
        config_class: type[MethodConfig],
        fixed: Mapping[str, Json],
        num_trials: int,
        seed: int,
        sampler: Literal["tpe", "random"],
    ) -> None:
        self._name = name
        self._study = study
        self._storage = storage
        self._space = space
        self._config_class = config_class
        self._fixed = dict(fixed)
        self._num_trials = num_trials if space else 1
        self._seed = seed
        self._distributions = distributions_of(space, whole_fields(config_class))
        self._trials: list[TrialState] = []
        self._identities: set[str] = set()
        self._refusal = ""
        self._view = SamplerView(self._distributions, sampler=sampler, num_trials=num_trials)
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
            name: Of the cell, unique within the study.
            space: The fields to search; empty: one trial with what is fixed.
            config_class: The method's configuration, for defaults, whole numbers and checks.
            fixed: Values of other fields, part of each proposal.
            num_trials: Most trials, failed ones included; at least 1.
            seed: Of the study's search.
            sampler: `tpe` learns from earlier trials after a quarter of them (4 to 32); `random` does not.
        """
        optuna = optuna_module()
        try:
            study = optuna.load_study(
                study_name=storage.prefix + name, storage=storage.backend, sampler=optuna.samplers.RandomSampler()
            )
        except KeyError:
            study = begin_study(storage.backend, storage.prefix + name)
        return cls(
            study,
            storage.backend,
            name=name,
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
                    f"{self._name}: the method accepts no configuration within the ranges searched, "
                    f"e.g. {self._refusal}; change the ranges or what is fixed"
                )
            return None
        optuna = optuna_module()
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
            stored = live_trial(self._study, self._storage, trial)
            stored.set_user_attr(STOPPED, values)
            self._tell_stopped(stored, values)

    def tell_failed(self, trial: int, reason: str) -> None:
        """A trial gave no result; the sampler forgets it, for its configuration need not be why."""
        if self._is_open(trial):
            optuna = optuna_module()
            live_trial(self._study, self._storage, trial).set_user_attr(_REASON, reason)
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
        seed = f"{self._seed}/{self._name}/{number}"
        for attempt in range(_REDRAWS):
            values = self._view.sample(self._trials, seed=_number(f"{seed}/{attempt}"))
            if self._is_welcome(values):
                return values
        # The sampler insists on what is known, so the space is small or nearly used up: look at what is left of it.
        if count(self._space, whole_fields(self._config_class)) <= _MOST_ENUMERATED:
            left = [values for values in everything(self._space) if self._is_welcome(values)]
            return random.Random(_number(seed)).choice(left) if left else None
        blind = optuna_module().samplers.RandomSampler(seed=_number(seed))
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
        states = optuna_module().trial.TrialState
        stopped = stored.user_attrs.get(STOPPED)
        if stored.state == states.RUNNING and stopped is not None:
            self._tell_stopped(live_trial(self._study, self._storage, stored.number), stopped)
        elif stored.state == states.COMPLETE and stopped is not None:
            self._end(stored.number, status="stopped_early", **stopped)
        elif stored.state == states.COMPLETE:
            score, size = stored.values
            self._end(stored.number, status="finished", score=score, size=size)
        elif stored.state == states.FAIL:
            self._end(stored.number, status="failed", reason=stored.user_attrs.get(_REASON, ""))

    def _tell_stopped(self, stored: Trial, values: Mapping[str, float]) -> None:
        if STOPPED not in stored.constraints:
            stored.set_constraint(STOPPED, 1.0)
        self._study.tell(stored, (values["score"], values["size"]))
        self._end(stored.number, status="stopped_early", **values)

    def _is_open(self, trial: int) -> bool:
        if not 0 <= trial < self.num_asked:
            raise ValueError(f"{self._name}: no trial {trial}; {self.num_asked} were asked for")
        return self._trials[trial].status == "running"

    def _end(self, trial: int, **ending: Any) -> None:
        self._trials[trial] = replace(self._trials[trial], **ending)
        self._view.end(self._trials[trial])


def _number(text: str) -> int:
    """A seed in 32 bits that follows from a text, on every machine alike."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
