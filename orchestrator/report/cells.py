"""A heatmap made small enough to draw: neighbouring cells averaged where there are too many, and how dark each is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from methods.figures import Heatmap

MOST_ROWS, MOST_COLUMNS = 40, 60
"""2,400 cells are about 200 kB of page."""
_FAINTEST = 0.07
"""Shade of the lowest value: still told from paper."""


@dataclass(frozen=True)
class Cells:
    """What of a heatmap is drawn."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    """Finite; None is empty."""
    low: float
    high: float
    note: str
    """What was averaged; empty when nothing was."""


def cells_of(figure: Heatmap, *, most_rows: int = MOST_ROWS, most_columns: int = MOST_COLUMNS) -> Cells:
    """The cells of a heatmap, blocks of them averaged where there would be more than asked for."""
    tall, wide = math.ceil(len(figure.rows) / most_rows), math.ceil(len(figure.columns) / most_columns)
    values = tuple(
        tuple(
            _mean([value for row in rows for value in row[left : left + wide]])
            for left in range(0, len(figure.columns), wide)
        )
        for rows in (figure.values[top : top + tall] for top in range(0, len(figure.rows), tall))
    )
    shown = [value for row in values for value in row if value is not None]
    blocks = f"{tall} x {wide} of the {len(figure.rows)} x {len(figure.columns)}"
    return Cells(
        rows=_joined(figure.rows, tall),
        columns=_joined(figure.columns, wide),
        values=values,
        low=min(shown, default=0.0),
        high=max(shown, default=0.0),
        note=f"Each cell is the mean of {blocks} values." if tall * wide > 1 else "",
    )


def shade(value: float, *, low: float, high: float) -> float:
    """How much of the full colour a value gets, in (0, 1]: the lower, the more like the page, be that light or dark."""
    return _FAINTEST + (1 - _FAINTEST) * ((value - low) / (high - low) if high > low else 0.5)


def _mean(values: Sequence[float | None]) -> float | None:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None


def _joined(labels: Sequence[str], size: int) -> tuple[str, ...]:
    """One label for each block."""
    blocks = [labels[start : start + size] for start in range(0, len(labels), size)]
    return tuple(block[0] if block[0] == block[-1] else f"{block[0]}–{block[-1]}" for block in blocks)  # noqa: RUF001
