"""Charts as data: a method says what is to be seen, whoever shows the run draws it. Imports no torch.

Figures go to JSON and back without loss (`FIGURES` reads and writes a list of them), so they are stored beside a run
and drawn on the page, in MLflow or in a notebook, each in its own style.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator


class _Chart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    """Unique within the run; names files."""
    title: str
    """One line that says what is shown."""
    x_label: str
    y_label: str


class Line(BaseModel):
    """One curve. Values that are not finite are gaps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    x: tuple[float | None, ...]
    y: tuple[float | None, ...]
    spread: tuple[float | None, ...] = ()
    """How far each value reaches either way, drawn as a bar; empty, or one for each value."""

    @model_validator(mode="after")
    def _pairs(self) -> Line:
        for what, given in (("places", self.x), ("spreads", self.spread or self.y)):
            if len(given) != len(self.y):
                raise ValueError(f"line '{self.label}': {len(given)} {what} for {len(self.y)} values; give one each")
        return self

    def bars(self) -> list[tuple[float, float, float]]:
        """Place, lower and upper end of each bar that can be shown."""
        return [
            (x, y - reach, y + reach)
            for x, y, reach in zip(self.x, self.y, self.spread, strict=False)
            if x is not None and y is not None and reach is not None
        ]


class Shade(BaseModel):
    """A stretch of the horizontal axis that means something."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    low: float
    high: float


class LineChart(_Chart):
    """Curves over one axis, or histograms drawn as steps."""

    kind: Literal["lines"] = "lines"
    lines: tuple[Line, ...] = Field(min_length=1)
    log_x: bool = False
    """Places at or below zero are then left out; so are values with `log_y`."""
    log_y: bool = False
    steps: bool = False
    """Each value holds from its place to the next, as in a histogram whose places are left edges of bins."""
    shade: Shade | None = None
    """Drawn behind the lines."""


class Heatmap(_Chart):
    """A matrix as colours: rows from top to bottom, columns from left to right."""

    kind: Literal["heatmap"] = "heatmap"
    rows: tuple[str, ...] = Field(min_length=1)
    columns: tuple[str, ...] = Field(min_length=1)
    values: tuple[tuple[float | None, ...], ...]
    """(rows, columns); None is an empty cell."""

    @model_validator(mode="after")
    def _rectangle(self) -> Heatmap:
        if len(self.values) != len(self.rows) or any(len(row) != len(self.columns) for row in self.values):
            raise ValueError(f"heatmap '{self.name}': the values are no {len(self.rows)} x {len(self.columns)} matrix")
        return self


Figure = Annotated[LineChart | Heatmap, Field(discriminator="kind")]
FIGURES: TypeAdapter[tuple[Figure, ...]] = TypeAdapter(tuple[Figure, ...])
"""Reads and writes the figures of a run: `FIGURES.dump_json(figures)`, `FIGURES.validate_json(data)`."""
