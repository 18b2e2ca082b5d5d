"""The small sets that come with scikit-learn: always at hand, no download, no path.

None has an official test split, so a stratified part is held out, the same for every study (seed 0).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from methods.data.dataset import Array, DataSet, LockedTest
from methods.data.splits import stratified_split

if TYPE_CHECKING:
    from collections.abc import Callable

TEST_SEED = 0
"""Seed of every held-out test part; no study setting changes it, so no seed is ever tested on another's training."""


@dataclass(frozen=True)
class _Table:
    kind: Literal["classification", "regression"]
    class_names: tuple[str, ...]
    inputs: Array
    targets: Array


def load_bundled(name: str, *, test_share: float) -> DataSet:
    """The bundled set `name` (see `methods.data.catalog`) with `test_share` of every class held out for the test.

    Images are uint8 (N, 1, 8, 8), tables float32 (N, D) in their original units. Regression targets are raw.
    """
    table = _load(name)
    pool, test = stratified_split(table.targets, test_share, seed=TEST_SEED)
    return DataSet(
        name=name,
        kind=table.kind,
        fingerprint=fingerprint_bundled(name, test_share=test_share),
        class_names=table.class_names,
        train_inputs=table.inputs[pool],
        train_targets=table.targets[pool],
        locked=LockedTest(table.inputs[test], table.targets[test]),
    )


def fingerprint_bundled(name: str, *, test_share: float) -> str:
    """SHA-256 of the set's arrays and of the share held out for the test."""
    table = _load(name)
    digest = hashlib.sha256(f"{table.kind} {table.inputs.shape} test_share={test_share!r}".encode())
    digest.update(table.inputs.tobytes())
    digest.update(table.targets.tobytes())
    return digest.hexdigest()


@cache
def _load(name: str) -> _Table:
    # scikit-learn takes a second to import, so it is loaded with the first set and not with this file.
    from sklearn import datasets

    if name == "digits":
        bunch = datasets.load_digits()
        # 16 ink levels spread over a byte; round(value * 16 / 255) gives the level back exactly.
        inputs: Array = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    elif name == "diabetes":
        # The default `scaled=True` has been normalised with the mean and spread of the test samples as well.
        bunch = datasets.load_diabetes(scaled=False)
        return _Table("regression", (), bunch.data.astype(np.float32), bunch.target.astype(np.float32))
    else:
        loaders: dict[str, Callable[[], Any]] = {
            "breast_cancer": datasets.load_breast_cancer,
            "iris": datasets.load_iris,
            "wine": datasets.load_wine,
        }
        bunch = loaders[name]()
        inputs = bunch.data.astype(np.float32)
    class_names = tuple(str(label) for label in bunch.target_names)
    return _Table("classification", class_names, inputs, bunch.target.astype(np.int64))
