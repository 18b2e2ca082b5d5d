"""What a search says and knows of its trials, without Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from methods.json_value import Json
from orchestrator.search.dominance import Point, ranks


@dataclass(frozen=True)
class Proposal:
    """A configuration to try."""

    trial: int
    """0-based number within the cell."""
    config: dict[str, Json]
    """What the study fixes and what the search chose; other fields have the method's defaults."""


@dataclass(frozen=True)
class TrialState:
    """What the search knows of one trial."""

    trial: int
    config: dict[str, Json]
    values: dict[str, Json]
    """The part of `config` that the search chose."""
    status: Literal["running", "finished", "stopped_early", "failed"] = "running"
    score: float | None = None
    """None when running or failed; that of the last report when stopped early."""
    size: float | None = None
    progress: float = 1.0
    """Share of the schedule after which it was stopped; else 1."""
    reason: str = ""
    """Why it failed."""

    @property
    def point(self) -> Point:
        """Score and size of a trial that has them."""
        assert self.score is not None
        assert self.size is not None
        return self.score, self.size


def worth_seeing(trials: Sequence[TrialState], *, most: int) -> list[TrialState]:
    """The trials a sampler should learn from, by number; failed ones teach nothing, running ones are all kept.

    Of more than `most` ended trials these are half the best (finished before stopped, then by non-dominated rank, then
    the newer) and half the newest of the rest.
    """
    running = [state for state in trials if state.status == "running"]
    ended = [state for state in trials if state.status in ("finished", "stopped_early")]
    if len(ended) > most:
        rank = dict(zip((s.trial for s in ended), ranks([s.point for s in ended]), strict=True))
        ended.sort(key=lambda state: (state.status != "finished", rank[state.trial], -state.trial))
        rest = sorted(ended[most // 2 :], key=lambda state: state.trial)
        ended = ended[: most // 2] + rest[-(most - most // 2) :]
    return sorted(running + ended, key=lambda state: state.trial)
