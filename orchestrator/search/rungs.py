"""Early stopping with two objectives: which running trials are not worth their remaining epochs.

This rule is our own design; no paper is claimed for it. It joins the rungs of asynchronous successive halving (Li et
al., MLSys 2020) with non-dominated sorting (Deb et al. 2002): at fixed shares of the schedule a trial is compared with
all that came there before, in accuracy and size at once, and is stopped when it is beaten by more than noise and half
of them are in better layers. A trial that nobody beats is never stopped, however small or inaccurate it is.

Pure and deterministic: the decisions follow from the sequence of observations alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from methods.json_value import Json
from orchestrator.search.dominance import Point, ranks

_NEARLY = 1e-9
"""Progress is a quotient of epochs: 3 / 12 must reach a rung at 0.25 however it was rounded."""


@dataclass(frozen=True)
class Decision:
    """Whether to stop a trial."""

    stop: bool
    reason: str = ""
    """For people; empty when the trial goes on."""


_GO_ON = Decision(stop=False)


@dataclass
class _Rung:
    at: float
    seen: dict[int, Point] = field(default_factory=dict)
    """Trial -> what it had here, in order of arrival."""


class ParetoRungs:
    """Asynchronous early stopping of one cell's trials by non-dominated rank."""

    def __init__(
        self, rungs: Sequence[float], *, margin: float, warmup_trials: int, state: Sequence[Json] | None = None
    ) -> None:
        """Start without observations, or where another object's `state` left off.

        Args:
            rungs: Shares of the schedule in (0, 1), ascending; none: nothing is ever stopped.
            margin: Accuracy by which another trial must be ahead to count; at least 0.
            warmup_trials: The first so many trials that report run to the end, and a rung decides nothing before so
                many others have passed it; at least 0.

        Raises:
            ValueError: A value is out of range.
        """
        if list(rungs) != sorted(set(rungs)) or any(not 0 < rung < 1 for rung in rungs):
            raise ValueError(f"rungs {list(rungs)} must lie between 0 and 1 and ascend, e.g. [0.25, 0.5]")
        if not (math.isfinite(margin) and margin >= 0 and warmup_trials >= 0):
            raise ValueError(f"margin {margin} and warmup_trials {warmup_trials} must not be negative")
        self._rungs = [_Rung(at=float(rung)) for rung in rungs]
        self._margin = margin
        self._warmup = warmup_trials
        self._exempt: list[int] = []
        self._stopped: dict[int, Decision] = {}
        self._log: list[tuple[int, float, float | None, float]] = []
        for trial, progress, accuracy, size in state or ():
            self.observe(trial, progress, -math.inf if accuracy is None else accuracy, size)

    def observe(self, trial: int, progress: float, accuracy: float, size: float) -> Decision:
        """Take in one report of a running trial and decide about it.

        Only the first report at or above a rung counts there. A report that passes several rungs counts at the
        highest alone, for it would shine among reports made earlier in the schedule. A trial that starts over is not
        compared again at rungs it has passed; one told to stop is told so again.

        Args:
            trial: Number of the trial within its cell.
            progress: Share of the schedule done, in (0, 1].
            accuracy: What it would deliver now; not finite counts as worst.
            size: Share of the dense network's size it would deliver.
        """
        if trial in self._stopped:
            return self._stopped[trial]
        passed = [rung for rung in self._rungs if progress >= rung.at - _NEARLY]
        if not passed or trial in passed[-1].seen:
            return _GO_ON
        if len(self._exempt) < self._warmup and trial not in self._exempt:
            self._exempt.append(trial)
        rung = passed[-1]
        known = math.isfinite(accuracy)
        rung.seen[trial] = (accuracy if known else -math.inf, size)
        self._log.append((trial, rung.at, accuracy if known else None, size))
        decision = self._judge(trial, rung)
        if decision.stop:
            self._stopped[trial] = decision
        return decision

    def state(self) -> list[Json]:
        """The reports that counted, in order, as JSON: `[trial, rung, accuracy, size]`, accuracy None for worst."""
        return [list(entry) for entry in self._log]

    def _judge(self, trial: int, rung: _Rung) -> Decision:
        layers = dict(zip(rung.seen, ranks(list(rung.seen.values()), margin=self._margin), strict=True))
        others = len(layers) - 1
        better = sum(layer < layers[trial] for layer in layers.values())
        if layers[trial] == 0 or trial in self._exempt or others < self._warmup or 2 * better < others:
            return _GO_ON
        accuracy, size = rung.seen[trial]
        return Decision(
            stop=True,
            reason=f"at {rung.at:.0%} of the schedule {better} of {others} trials were in better layers of accuracy "
            f"and size (accuracy {accuracy:.4f}, size {size:.4f}, margin {self._margin:g})",
        )
