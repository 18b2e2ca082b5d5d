"""The four sizes of a network, as stored."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Sizes(BaseModel):
    """The four sizes of one deployed network."""

    model_config = ConfigDict(frozen=True)

    parameters: int
    nonzeros: int
    stored_bytes: int
    """Of the artefact as really written."""
    macs: int
    """Multiply-accumulates of one forward pass for one sample, dense execution."""
