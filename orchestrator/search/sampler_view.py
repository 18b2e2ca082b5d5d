"""What a search's sampler gets to see, and the sampler: a bounded study in memory beside the durable one.

The sampler sees about 200 trials at most [design]: of more it sees the best and the newest. TPE's cost grows with what
it sees (four fields, one by one: 9 ms a proposal at 100 trials, 29 at 1,000, 78 at 2,000).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal

from methods.json_value import Json
from orchestrator.search.optuna_parts import STOPPED, begin_study, live_trial, optuna_module
from orchestrator.search.trials import TrialState, worth_seeing

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

_SEEN = 128
"""Finished trials in a fresh view of the sampler; between two refreshes it gains `_REFRESH` more."""
_REFRESH = 64


class SamplerView:
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
            return self.sample_with(optuna_module().samplers.RandomSampler(seed=seed))
        return self.sample_with(_joint_tpe()(self._distributions, num_blind=self._num_blind, seed=seed))

    def sample_with(self, sampler: BaseSampler) -> dict[str, Json]:
        self._study.sampler = sampler
        drawn = self._study.ask(self._distributions)
        # It may not be taken; if it is, `add` brings it in. Samplers pass over failed trials.
        self._study.tell(drawn, state=optuna_module().trial.TrialState.FAIL)
        self._size += 1
        return drawn.params

    def add(self, state: TrialState) -> None:
        """A trial was begun, or comes from an earlier execution."""
        if not self._learns or self._chosen_at < 0 or state.status == "failed":
            return
        optuna = optuna_module()
        kinds = optuna.trial.TrialState
        running = state.status == "running"
        seen = optuna.trial.create_trial(
            state=kinds.RUNNING if running else kinds.COMPLETE,
            values=None if running else state.point,
            params=state.values,
            distributions=self._distributions,
        )
        if state.status == "stopped_early":
            seen.set_constraint(STOPPED, 1.0)
        self._study.add_trial(seen)
        if running:
            self._running[state.trial] = self._size
        self._size += 1

    def end(self, state: TrialState) -> None:
        """A running trial ended."""
        if self._chosen_at < 0 or state.trial not in self._running:
            return
        seen = live_trial(self._study, self._memory, self._running.pop(state.trial))
        if state.status == "failed":
            self._study.tell(seen, state=optuna_module().trial.TrialState.FAIL)
            return
        if state.status == "stopped_early":
            seen.set_constraint(STOPPED, 1.0)
        self._study.tell(seen, state.point)

    def _begin(self, states: Sequence[TrialState], *, at: int) -> None:
        optuna = optuna_module()
        self._memory: BaseStorage = optuna.storages.InMemoryStorage()
        self._study = begin_study(self._memory, "view")
        self._chosen_at = at
        self._size = 0
        self._running: dict[int, int] = {}
        """Number in the cell -> number in the view."""
        for state in states:
            self.add(state)


@cache
def _joint_tpe() -> Callable[..., BaseSampler]:
    """TPE that draws all fields jointly, at two thirds of the cost of one by one.

    On a test function (12 seeds) the fronts were as good or better up to 40 trials, and a little worse at 100.
    """

    class JointTpe(optuna_module().samplers.TPESampler):  # type: ignore[misc]  # the base is loaded when first needed
        def __init__(self, distributions: dict[str, BaseDistribution], *, num_blind: int, seed: int) -> None:
            super().__init__(seed=seed, n_startup_trials=num_blind, multivariate=True, constant_liar=True)
            self._joint = {name: kind for name, kind in distributions.items() if not kind.single()}

        def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
            # Optuna looks for it in all trials, a fifth of the time; our trials all have the same fields.
            del study, trial
            return self._joint

    return JointTpe
