"""Some of the classes of a data set, in an order of one's own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from methods.data.dataset import Array, DataError, DataSet, change_locked
from methods.registry import did_you_mean

_MOST_SHOWN = 20


def keep_classes(dataset: DataSet, names: Sequence[str]) -> DataSet:
    """The samples of some classes, numbered in the order of `names`; the test split loses the others alike.

    Samples keep their order and a recognised set its published constants. Where no class goes, inputs are not copied.

    Raises:
        DataError: There is no such class, nothing of them is in the test split, or `dataset` is a regression.
    """
    if dataset.kind == "regression":
        raise DataError(f"'{dataset.name}' is a regression and has no classes; remove `classes`.")
    unknown = [name for name in names if name not in dataset.class_names]
    if unknown:
        raise DataError("\n".join(_unknown(name, dataset) for name in unknown))
    number_K = np.full(len(dataset.class_names), -1, dtype=np.int64)
    number_K[[dataset.class_names.index(name) for name in names]] = np.arange(len(names))

    def kept(inputs: Array, targets: Array) -> tuple[Array, Array]:
        number_N = number_K[targets]
        stays_N = number_N >= 0
        return (inputs, number_N) if stays_N.all() else (inputs[stays_N], number_N[stays_N])

    inputs, targets = kept(dataset.train_inputs, dataset.train_targets)
    locked = dataset.locked and change_locked(dataset.locked, kept)
    if locked is not None and len(locked) == 0:
        raise DataError(f"the test split of '{dataset.name}' has no sample of {', '.join(names)}; keep other classes.")
    return replace(
        dataset,
        fingerprint=fingerprint_classes(dataset.fingerprint, names),
        class_names=tuple(names),
        train_inputs=inputs,
        train_targets=targets,
        locked=locked,
    )


def fingerprint_classes(whole: str, names: Sequence[str]) -> str:
    """`keep_classes(...).fingerprint` for a data set with the fingerprint `whole`."""
    return hashlib.sha256(f"classes {whole} {json.dumps(list(names))}".encode()).hexdigest()


def _unknown(name: str, dataset: DataSet) -> str:
    known = dataset.class_names
    shown = ", ".join(known[:_MOST_SHOWN]) + (", ..." if len(known) > _MOST_SHOWN else "")
    return f"'{dataset.name}' has no class '{name}'; its classes: {shown}.{did_you_mean(name, known)}"
