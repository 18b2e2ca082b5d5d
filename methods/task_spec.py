"""A task as typed data: which samples, which dense network, how long to train. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class DataSpec(BaseModel):
    """Where samples come from: a bundled set by name, a source of the user's own by path, or several of these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    """A name in `methods.data.catalog`: a bundled set (`digits`, `iris`, ...) or a source of the user's own samples."""
    path: str | None = None
    """Where the user's own samples lie: a folder, for `table` also a file; `${NAME}` reads the environment."""
    max_undecodable: float = Field(default=0.0, ge=0, lt=1)
    """Share of images that may fail to decode before the set is refused; those that fail are left out and named."""
    classes: tuple[str, ...] = ()
    """Names of the classes to keep, numbered in this order; none: all of them, in the order of the source."""
    image_shape: tuple[int, int, int] | None = None
    """(channels, height, width) that images are brought to, see `methods.data.image_shape`; None: as they are."""
    parts: tuple[DataSpec, ...] = ()
    """Of a `mixture`: the sets of images put side by side, at least two."""
    target: str | None = None
    """Column to predict. This and the fields below are for `table` only."""
    kind: Literal["classification", "regression"] | None = None
    """None: the target's values decide, see `methods.data.tables.load_table`."""
    numeric: tuple[str, ...] = ()
    """Columns promised to hold numbers: any other text in them is an error and does not make them categories."""
    drop: tuple[str, ...] = ()
    """Columns to leave out."""

    @field_validator("classes", mode="before")
    @classmethod
    def _numbers_are_names(cls, names: Any) -> Any:
        # A class of digits is called '3', and in YAML everybody writes 3.
        if not isinstance(names, list | tuple):
            return names
        return tuple(str(name) if isinstance(name, int) and not isinstance(name, bool) else name for name in names)

    @field_validator("image_shape", mode="before")
    @classmethod
    def _three_sizes(cls, shape: Any) -> Any:
        if shape is None:
            return None
        if isinstance(shape, list | tuple) and len(shape) == 3:
            sizes = tuple(size for size in shape if isinstance(size, int) and not isinstance(size, bool) and size >= 1)
            if len(sizes) == 3:
                return sizes
        raise ValueError("must be [channels, height, width], three whole numbers from 1")


class NetworkSpec(BaseModel):
    """A dense network by its name in `methods.networks.catalog`, with arguments such as `widths: [64, 64]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)

    def __str__(self) -> str:
        shown = ", ".join(f"{key}={value}" for key, value in self.arguments.items())
        return f"{self.name}({shown})" if shown else self.name


class SkewSpec(BaseModel):
    """A draw of unequally large classes, see `methods.data.skew`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(ge=0, lt=2**32)
    concentration: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Of the Dirichlet distribution that the classes' shares come from; the smaller, the more unequal they are."""
    minimum: int = Field(default=100, ge=1)
    """Training samples that every class keeps."""


class TaskSpec(BaseModel):
    """One task of a study: every field but the paths of its data enters the key of the runs on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: DataSpec
    network: NetworkSpec
    epochs: int = Field(ge=1)
    """Passes over the training samples that each method may spend in all."""
    batch_size: int = Field(default=64, ge=1)
    fraction: float = Field(default=1.0, gt=0, le=1)
    """Stratified part of the training pool (train and validation) that is used at all."""
    validation_share: float = Field(default=0.1, gt=0, lt=1)
    """Part of the training pool held out for validation."""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Part of all samples locked away for the test, for sets without an official test split."""
    split_seed: int = Field(default=0, ge=0)
    augmentation: Literal["none", "crop_flip"] = "none"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` makes every class count alike in the training loss, however few samples it has."""
    skew: SkewSpec | None = None
    """Makes the classes of the training part unequally large; validation and test stay as they are."""

    def identity(self, data_fingerprint: str) -> dict[str, Any]:
        """What a result depends on, as JSON: the data by content, the rest by value, defaults left out."""
        return self.without_places() | {"data_fingerprint": data_fingerprint}

    def without_places(self) -> dict[str, Any]:
        """The fields as JSON, without defaults and without where samples lie, which differs between machines."""
        places: Any = {"data": {"path": True, "parts": {"__all__": {"path"}}}}
        return self.model_dump(mode="json", exclude_defaults=True, exclude=places)


def content_key(identity: object) -> str:
    """The first 20 hexadecimal digits of the SHA-256 of the canonical JSON of `identity`."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:20]
