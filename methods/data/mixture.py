"""Several sets of images side by side as one: the classes of all of them are told apart."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from methods.data.dataset import Array, DataError, DataSet, LockedTest, change_locked, join_locked


def mix(parts: Sequence[DataSet], *, sources: Sequence[str]) -> DataSet:
    """One data set of all samples, those of each part after those of the part before; inputs are copied.

    Classes are numbered in the order of the parts. A name that two parts have is prefixed with its part's source, and
    where several parts have the same source with the part's number from 1 too: `digits:3`, `image_folder2:cat`.
    There are no published constants for a mixture, so its pixels are normalised by those of the training part.

    Args:
        parts: At least two classifications of images, all with or all without a test split.
        sources: `DataSpec.source` of each part; unlike a part's name it does not hang on where the samples lie.

    Raises:
        DataError: The parts' images differ in shape.
    """
    shapes = [part.input_shape for part in parts]
    if len(set(shapes)) > 1:
        told = ", ".join(f"'{part.name}' {list(shape)}" for part, shape in zip(parts, shapes, strict=True))
        common = [max(sizes) for sizes in zip(*shapes, strict=True)]
        raise DataError(
            f"the parts of a mixture need images of one shape, and these differ: {told}; "
            f"write e.g. `image_shape: {common}` in the parts that have another."
        )
    firsts = [sum(part.num_outputs for part in parts[:index]) for index in range(len(parts))]
    locked = [
        _renumbered(part.locked, first) for part, first in zip(parts, firsts, strict=True) if part.locked is not None
    ]
    return DataSet(
        name="+".join(part.name for part in parts),
        kind="classification",
        fingerprint=fingerprint_mixture([part.fingerprint for part in parts]),
        class_names=_class_names(parts, sources),
        train_inputs=np.concatenate([part.train_inputs for part in parts]),
        train_targets=np.concatenate([part.train_targets + first for part, first in zip(parts, firsts, strict=True)]),
        locked=join_locked(locked) if locked else None,
        undecodable=tuple(name for part in parts for name in part.undecodable),
    )


def fingerprint_mixture(parts: Sequence[str]) -> str:
    """`mix(...).fingerprint` for parts with these fingerprints."""
    return hashlib.sha256(f"mixture {' '.join(parts)}".encode()).hexdigest()


def _renumbered(locked: LockedTest, first: int) -> LockedTest:
    """With class 0 as class `first`."""

    def moved(inputs: Array, targets: Array) -> tuple[Array, Array]:
        return inputs, targets + first

    return change_locked(locked, moved)


def _class_names(parts: Sequence[DataSet], sources: Sequence[str]) -> tuple[str, ...]:
    having = Counter(name for part in parts for name in set(part.class_names))
    prefixes = [
        source if sources.count(source) == 1 else f"{source}{number}" for number, source in enumerate(sources, start=1)
    ]
    return tuple(
        name if having[name] == 1 else f"{prefix}:{name}"
        for part, prefix in zip(parts, prefixes, strict=True)
        for name in part.class_names
    )
