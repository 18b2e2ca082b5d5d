"""From the columns of a user's table to the features a network reads, by what the training part alone says.

Missing numbers become the median, missing categories the most frequent one; a category becomes one feature for each
value it has in training, 1 where it holds. Normalisation comes after, as for every data set.

Plain NumPy and not scikit-learn's pipeline: a fitted pipeline is kept by pickle, which is code that runs when it is
read and breaks from version to version. What is fitted here is a few numbers and names, and goes to JSON and back.

Shapes: N = samples, F = columns, D = features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from methods.data.dataset import Array, Column, DataError

_WORTH_SAYING = 5
"""Names listed in a message."""


@dataclass(frozen=True)
class NumberEncoding:
    """A numeric column: one feature of the same name."""

    column: str
    median: float
    """Of the training part; stands for a missing value."""
    kind: Literal["number"] = "number"

    @property
    def feature_names(self) -> tuple[str, ...]:
        return (self.column,)


@dataclass(frozen=True)
class CategoryEncoding:
    """A categorical column: one feature `column=value` for each value it has in training."""

    column: str
    mode: str
    """The most frequent one in training, of equally frequent ones the first; stands for a missing value."""
    categories: tuple[str, ...]
    """In alphabetical order. Any other value is 0 in all features."""
    kind: Literal["category"] = "category"

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(f"{self.column}={category}" for category in self.categories)


@dataclass(frozen=True)
class TableEncoding:
    """How the columns of a table become features; fitted once by `fit_encoding`, plain data ever after."""

    columns: tuple[Annotated[NumberEncoding | CategoryEncoding, Field(discriminator="kind")], ...]
    left_out: tuple[str, ...] = ()
    """Columns that give no feature, because they have at most one value in training: they say nothing there, and a
    network could do nothing good with another value met later."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Name of each feature, in order."""
        return tuple(name for column in self.columns for name in column.feature_names)

    def encode(self, inputs_NF: Array, columns: Sequence[Column]) -> NDArray[np.float32]:
        """Features (N, D) of samples, NaN-free whatever is missing.

        Args:
            inputs_NF: As in `DataSet.train_inputs`: NaN where a value is missing, indices for categories.
            columns: What each of the F columns is. Order and categories may differ from those of the training part:
                columns are found by name, categories by their text.

        Raises:
            ValueError: A column is missing or of the other kind.
        """
        place_of = {column.name: place for place, column in enumerate(columns)}
        features_ND = np.zeros((len(inputs_NF), len(self.feature_names)), dtype=np.float32)
        start = 0
        for one in self.columns:
            place = place_of.get(one.column)
            if place is None or (columns[place].categories is None) != (one.kind == "number"):
                raise ValueError(
                    f"encode: no {one.kind} column '{one.column}' among {', '.join(place_of)}; give the columns of "
                    "the table that the encoding was fitted on."
                )
            values_N, width = inputs_NF[:, place], len(one.feature_names)
            if isinstance(one, NumberEncoding):
                features_ND[:, start] = np.where(np.isnan(values_N), np.float32(one.median), values_N)
            else:
                at_N = _category_places(one, values_N, columns[place].categories or ())
                known_N = np.flatnonzero(at_N >= 0)
                features_ND[known_N, start + at_N[known_N]] = 1
            start += width
        return features_ND


ENCODING: TypeAdapter[TableEncoding] = TypeAdapter(TableEncoding)
"""Reads and writes an encoding: `ENCODING.dump_json(encoding)`, `ENCODING.validate_json(data)`."""


def fit_encoding(inputs_NF: Array, columns: Sequence[Column]) -> TableEncoding:
    """The encoding that the training samples call for; no other sample may be among them.

    Args:
        inputs_NF: As in `TableEncoding.encode`, at least one sample.
        columns: What each of the F columns is; categories that no sample has leave no trace.

    Raises:
        DataError: No column has two values.
    """
    fitted: list[NumberEncoding | CategoryEncoding] = []
    left_out: list[str] = []
    for column, values_N in zip(columns, inputs_NF.T, strict=True):
        present = values_N[~np.isnan(values_N)]
        if len(np.unique(present)) < 2:
            left_out.append(column.name)
        elif column.categories is None:
            fitted.append(NumberEncoding(column.name, float(np.median(present.astype(np.float64)))))
        else:
            counts = np.bincount(present.astype(np.int64), minlength=len(column.categories))
            there = sorted(name for name, count in zip(column.categories, counts, strict=True) if count)
            of = dict(zip(column.categories, counts.tolist(), strict=True))
            fitted.append(CategoryEncoding(column.name, max(there, key=lambda name: of[name]), tuple(there)))
    if not fitted:
        shown = ", ".join(left_out[:_WORTH_SAYING]) + (", ..." if len(left_out) > _WORTH_SAYING else "")
        raise DataError(f"no column has two different values in the training part ({shown}); add columns or samples.")
    return TableEncoding(tuple(fitted), tuple(left_out))


def _category_places(one: CategoryEncoding, values_N: Array, names: Sequence[str]) -> NDArray[np.int64]:
    """Place of each sample's category among those of training, -1 for one that training has not."""
    places = {name: place for place, name in enumerate(one.categories)}
    # One more at the end, for missing values.
    place_of_code = np.array([places.get(name, -1) for name in names] + [places[one.mode]], dtype=np.int64)
    code_N = np.where(np.isnan(values_N), len(names), values_N).astype(np.int64)
    return place_of_code[code_N]
