"""A night as data: what was measured, and what it was judged to be."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Metric = Literal["accuracy", "size", "seconds", "latency"]
Verdict = Literal["ok", "improved", "flaky", "regressed", "broken"]

ORDER: tuple[Verdict, ...] = ("ok", "improved", "flaky", "regressed", "broken")
"""From the least to the most alarming; a night is as its worst figure."""
ACCEPTED: tuple[Verdict, ...] = ("ok", "improved", "flaky")
"""Nights that later ones are compared with. Flaky ones among them: without these, nights would look steadier than they
are, and on a busy machine there would be none."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Data):
    """One metric of one method on one task, seed by seed."""

    task: str
    method: str
    metric: Metric
    """`accuracy` (R2 of a regression) on validation; `size`, the share of the dense network's; `seconds` of training;
    `latency` of a batch of one, in milliseconds."""
    values: dict[int, float]
    """Seed -> value; empty: the method gave no result."""
    reason: str = ""
    """Why there is none."""

    @property
    def place(self) -> tuple[str, str, Metric]:
        return self.task, self.method, self.metric


class Judgement(_Data):
    """What a figure is, against earlier nights."""

    task: str
    method: str
    metric: Metric
    verdict: Verdict
    change: float | None = None
    """Better is above 0: of accuracy in its own unit, of the others the share by which they fell; None: nothing to
    compare with."""
    p_value: float | None = None
    """Over seeds; None for one seed, and where nothing was compared."""
    noise: float | None = None
    """Standard deviation of such changes from night to night; None with fewer than 3 nights to tell it by."""
    nights: int = 0
    """Earlier ones that this rests on."""
    why: str = ""


class Night(_Data):
    """One execution of the nightly study."""

    study: str
    date: str
    """YYYY-MM-DD."""
    started: str
    """UTC, ISO 8601."""
    seconds: float
    environment: dict[str, str]
    """Commit, versions, machine."""
    figures: tuple[Figure, ...]
    judgements: tuple[Judgement, ...] = ()
    verdict: Verdict = "ok"
    accepted: bool = True
    """Whether later nights are compared with it; set by the verdict, and by people."""
    problem: str = ""
    """Why the study ended without its figures; empty: it did not."""
    notes: tuple[str, ...] = Field(default=())
    """What a reader must know: the first night, another machine."""
