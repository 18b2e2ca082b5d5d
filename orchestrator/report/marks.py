"""The colour and shape of each method: the same in the page, in print and in the PNG.

The colours were searched for: each stands out from the page by 3:1, and any two differ clearly to full, protanopic
and deuteranopic sight alike. The shape says the same again. A method's mark depends on its place among the sorted
names alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

LIGHT = ("#0e5bc3", "#c23907", "#1f915a", "#973d83", "#b68b08", "#4f8bc4", "#502e1d", "#4c4f57")
INK = "#1b1f24"
"""Of the light page's text, and of the dense networks, which are drawn as a line across it."""
DARK = ("#5085fd", "#fb6a3b", "#32c59b", "#ce67bc", "#f8d130", "#abd9ed", "#8f5e3e", "#959fab")


DASHES: tuple[tuple[int, ...], ...] = ((), (7, 3), (2, 3), (9, 3, 2, 3))
"""Strokes and gaps of the lines of one chart, in order: they are told apart in grey as well."""


def _regular(corners: int, *, turn: float, size: float, inner: float | None = None) -> tuple[tuple[float, float], ...]:
    """Corners of a regular polygon, or of a star when `inner` gives the radius between its rays; y grows downwards."""
    radii = [size] if inner is None else [size, inner]
    count = corners * len(radii)
    angles = [math.radians(turn) + 2 * math.pi * i / count for i in range(count)]
    return tuple(
        (radii[i % len(radii)] * math.sin(angle), -radii[i % len(radii)] * math.cos(angle))
        for i, angle in enumerate(angles)
    )


@dataclass(frozen=True)
class Mark:
    """How one method is drawn."""

    slot: int
    """Index into `LIGHT` and `DARK`."""
    outline: tuple[tuple[float, float], ...]
    """Corners around (0, 0) with y downwards, about 6 units large; a circle has none."""
    matplotlib: str
    """The nearest marker of matplotlib."""

    @property
    def css(self) -> str:
        return f"var(--m{self.slot})"


_SHAPES = (
    ((), "o"),
    (_regular(4, turn=45, size=6.6), "s"),
    (_regular(3, turn=0, size=7.0), "^"),
    (_regular(4, turn=0, size=6.8), "D"),
    (_regular(3, turn=180, size=7.0), "v"),
    (_regular(5, turn=0, size=6.2), "p"),
    (_regular(5, turn=0, size=7.4, inner=3.2), "*"),
    (_regular(6, turn=30, size=6.0), "h"),
)


def marks_of(methods: Iterable[str]) -> dict[str, Mark]:
    """Each method's mark; beyond eight methods colours repeat with another shape."""
    names = sorted(set(methods))
    return {name: Mark(i % len(LIGHT), *_SHAPES[(i + i // len(LIGHT)) % len(_SHAPES)]) for i, name in enumerate(names)}


def colours_of(methods: Iterable[str], *, dense: Collection[str]) -> dict[str, str]:
    """Each method's colour on the light page, for views of a study elsewhere; `dense` are labels of dense networks."""
    names = set(methods)
    competitors = {name: LIGHT[mark.slot] for name, mark in marks_of(names - set(dense)).items()}
    return competitors | dict.fromkeys(names & set(dense), INK)


def slot_of(line: int) -> int:
    """The colour of a chart's line by its number: an index into `LIGHT` and `DARK`."""
    return line % len(LIGHT)


def dash_of(line: int) -> tuple[int, ...]:
    """The same for its dashes, of `DASHES`; the first 32 lines of a chart all differ."""
    return DASHES[(line + line // len(LIGHT)) % len(DASHES)]
