"""Samples as every source delivers them: a training pool in the open and a test split under lock.

Shapes: N = samples, C = channels, H, W = height and width, D = features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from methods.contract import Normalization

Array = NDArray[Any]


class DataError(ValueError):
    """A data set is missing, broken or mislabelled; the message names the place and the mend."""


@dataclass(frozen=True)
class Column:
    """One column of a table whose samples are not features yet."""

    name: str
    categories: tuple[str, ...] | None
    """Text of each category by its index, for a categorical column; None for a numeric one."""


class LockedTest:
    """The test split of a data set. Nothing reads it but `open`, which remembers who asked."""

    def __init__(self, inputs: Array, targets: Array) -> None:
        self._inputs = inputs
        self._targets = targets
        self._openings: list[str] = []

    def open(self, opened_by: str) -> tuple[Array, Array]:
        """Inputs and targets, shaped like those of the training pool.

        Args:
            opened_by: Who asks and why, e.g. the name of a study; kept in `openings`.
        """
        self._openings.append(opened_by)
        return self._inputs, self._targets

    @property
    def openings(self) -> tuple[str, ...]:
        """Who has opened this object, in order. A copy in another process keeps its own list."""
        return tuple(self._openings)

    @property
    def num_bytes(self) -> int:
        return int(self._inputs.nbytes + self._targets.nbytes)

    def __len__(self) -> int:
        return len(self._targets)

    def __repr__(self) -> str:
        return f"LockedTest({len(self)} samples, opened {len(self._openings)} times)"


def change_locked(locked: LockedTest, change: Callable[[Array, Array], tuple[Array, Array]]) -> LockedTest:
    """A test split in the form that `change` gives its inputs and targets, under a new lock that nobody has opened.

    For sources that prepare samples, and do to the test split what they do to the training pool.
    """
    return LockedTest(*change(locked._inputs, locked._targets))


def join_locked(parts: Sequence[LockedTest]) -> LockedTest:
    """The samples of several test splits, one after the other, under one new lock."""
    return LockedTest(
        np.concatenate([part._inputs for part in parts]), np.concatenate([part._targets for part in parts])
    )


@dataclass(frozen=True, eq=False)
class DataSet:
    """Samples of one source. The arrays may be memory-mapped and read-only; nobody writes to them.

    Pickled with protocol 5 the arrays travel out of band, so that processes on one machine can share them.
    """

    name: str
    kind: Literal["classification", "regression"]
    fingerprint: str
    """Hash of all that the samples depend on, the held-out test part included; never of where they lie."""
    class_names: tuple[str, ...]
    """Name of each class by its index; empty for regression."""
    train_inputs: Array = field(repr=False)
    """The training pool (training and validation): uint8 (N, C, H, W) images or float32 (N, D) tables.

    With `columns` the table is as its file has it: NaN where a value is missing, indices in place of categories.
    """
    train_targets: Array = field(repr=False)
    """int64 (N,) class indices, or float32 (N,) raw values for regression."""
    locked: LockedTest | None
    normalization: Normalization | None = None
    """Published constants of a recognised set; None: to be computed from the training part."""
    undecodable: tuple[str, ...] = ()
    """Names of images that failed to decode and were left out, test images included."""
    columns: tuple[Column, ...] = ()
    """Of a table that `methods.tasks.prepare` has to encode; empty for samples that a network can read."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.train_inputs.shape[1:])

    @property
    def num_outputs(self) -> int:
        """Number of classes; 1 for regression."""
        return len(self.class_names) if self.kind == "classification" else 1

    def without_test(self) -> DataSet:
        """The same data set with no test split at all, to hand to whoever must not see one."""
        return replace(self, locked=None)
