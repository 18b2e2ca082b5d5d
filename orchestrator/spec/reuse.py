"""What a study does with the class modules it found: mend weak networks, and make new tasks of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_CELL_PATTERN = r"^[a-z0-9_]+/[a-z0-9_]+$"
CellName = Annotated[str, Field(pattern=_CELL_PATTERN)]
"""`task/method` of the study."""


class _Scenario(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True)


class PatchScenario(_Scenario):
    """Every class that a weak and a strong cell have in common is patched, one at a time, in each way that fits."""

    weak: tuple[CellName, ...] = Field(min_length=1)
    """Cells whose networks are mended."""
    strong: tuple[CellName, ...] = Field(min_length=1)
    """Cells with class modules."""
    ways: tuple[Literal["calibrated", "score", "trained_head"], ...] = ("calibrated", "score", "trained_head")
    """See `methods.modules.patching`; `score` is left out for modules without heads."""


class NewTaskScenario(_Scenario):
    """A task made of modules of several cells, without training, against a network trained for it from scratch."""

    task: str = Field(pattern=r"^[a-z0-9_]+$")
    """Task of the study; each of its classes is taken from the cell whose module has the best F1."""
    sources: tuple[CellName, ...] = Field(validation_alias="from", min_length=1)
    """Cells with class modules that have heads."""
    scratch: str = Field(default="dense", pattern=r"^[a-z0-9_]+$")
    """Method of that task, trained from scratch."""


class ReuseSettings(_Scenario):
    """Scenarios, evaluated per seed when the study is done."""

    patch: PatchScenario | None = None
    new_tasks: tuple[NewTaskScenario, ...] = ()

    def cells(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every cell that is named, and where."""
        if self.patch is not None:
            for key in ("weak", "strong"):
                yield from ((("patch", key, place), name) for place, name in enumerate(getattr(self.patch, key)))
        for place, one in enumerate(self.new_tasks):
            yield from ((("new_tasks", place, "from", index), name) for index, name in enumerate(one.sources))
            yield ("new_tasks", place, "scratch"), f"{one.task}/{one.scratch}"
