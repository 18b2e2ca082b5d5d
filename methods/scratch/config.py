"""Configuration of training a small network from scratch. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from pydantic import Field, model_validator

from methods.config import Range, SearchSpace
from methods.morphing.config import WIDEST
from methods.morphing.parts import Blocks
from methods.training.config import DenseConfig


class ScratchConfig(DenseConfig):
    """A plain narrower network, trained like the dense one."""

    keep_share: Annotated[float, Field(gt=0, le=1), Range(0.01, 0.5, "log")] = 0.1
    """Parameters of the narrow network as a share of the dense network's; the nearest width that exists is taken."""
    inner_width: Annotated[float | None, Field(gt=0, le=WIDEST), Range(0.125, 1.25, only_named=True)] = None
    """Instead of `keep_share`: the width of those layers alone that metamorphic and slimmable networks change."""
    blocks: Blocks = "inner"
    """With `inner_width`: which residual blocks these are, as for `metamorphic`."""

    @model_validator(mode="after")
    def _one_size(self) -> ScratchConfig:
        if self.inner_width is not None and self.keep_share != type(self).model_fields["keep_share"].default:
            raise ValueError("keep_share and inner_width both set the size; give one of them")
        return self

    @classmethod
    def default_space(cls, fixed: Collection[str]) -> SearchSpace:
        """Without `keep_share` where a study sets the size otherwise."""
        space = super().default_space(fixed)
        if "inner_width" in fixed:
            space.pop("keep_share", None)
        return space
