"""An encoding is what the training samples say, all of it and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from methods.data.dataset import Column, DataError
from methods.data.encoding import ENCODING, CategoryEncoding, NumberEncoding, TableEncoding, fit_encoding

NAN = float("nan")
COLUMNS = (Column("age", None), Column("deck", ("A", "B", "C")))
TRAIN = np.array([[30, 0], [NAN, 1], [50, 1], [10, NAN]], dtype=np.float32)
FITTED = TableEncoding((NumberEncoding("age", 30.0), CategoryEncoding("deck", "B", ("A", "B"))))


def test_median_and_mode_fill_gaps_and_every_category_is_a_feature() -> None:
    encoding = fit_encoding(TRAIN, COLUMNS)
    assert encoding == FITTED
    assert encoding.feature_names == ("age", "deck=A", "deck=B")
    features = encoding.encode(TRAIN, COLUMNS)
    assert features.dtype == np.float32
    assert features.tolist() == [[30, 1, 0], [30, 0, 1], [50, 0, 1], [10, 0, 1]]


def test_a_category_that_training_has_not_is_zero_everywhere() -> None:
    assert FITTED.encode(np.array([[5, 2]], dtype=np.float32), COLUMNS).tolist() == [[5, 0, 0]]


def test_categories_are_known_by_their_text_and_columns_by_their_name() -> None:
    elsewhere = (Column("deck", ("B", "new", "A")), Column("age", None))
    other = np.array([[0, 1], [1, 2], [2, 3], [NAN, NAN]], dtype=np.float32)
    assert FITTED.encode(other, elsewhere).tolist() == [[1, 0, 1], [2, 0, 0], [3, 1, 0], [30, 0, 1]]


def test_equally_frequent_categories_give_the_first_as_mode() -> None:
    encoding = fit_encoding(np.array([[2], [1]], dtype=np.float32), (Column("deck", ("A", "C", "B")),))
    assert encoding.columns == (CategoryEncoding("deck", "B", ("B", "C")),)


@pytest.mark.parametrize(
    ("values", "categories"),
    [([NAN, NAN], None), ([7, 7], None), ([7, NAN], None), ([0, 0], ("A", "B")), ([NAN, NAN], ())],
    ids=["missing", "constant", "constant and missing", "one category", "missing categories"],
)
def test_a_column_that_says_nothing_in_training_gives_no_feature(
    values: list[float], categories: tuple[str, ...] | None
) -> None:
    columns = (Column("age", None), Column("mute", categories))
    inputs = np.array([[1, values[0]], [2, values[1]]], dtype=np.float32)
    encoding = fit_encoding(inputs, columns)
    assert (encoding.left_out, encoding.feature_names) == (("mute",), ("age",))
    # A value that turns up later cannot reach a network that never saw it move.
    assert encoding.encode(np.array([[1, 1e30]], dtype=np.float32), columns).tolist() == [[1]]


def test_samples_that_say_nothing_at_all_are_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"no column has two different values .*\(age, deck\)"):
        fit_encoding(TRAIN[:1], COLUMNS)


@pytest.mark.parametrize("columns", [COLUMNS[:1], (Column("age", ("x",)), COLUMNS[1])], ids=["missing", "other kind"])
def test_another_table_is_refused(columns: tuple[Column, ...]) -> None:
    with pytest.raises(ValueError, match="give the columns of the table"):
        FITTED.encode(TRAIN[:, : len(columns)], columns)


@st.composite
def samples(draw: st.DrawFn, *, least: int = 1) -> tuple[np.ndarray, tuple[Column, ...]]:
    """A table of numbers and categories with gaps, and its columns."""
    columns, drawn = [], []
    count = draw(st.integers(least, 12))
    for place in range(draw(st.integers(1, 4))):
        names = draw(st.none() | st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=4, unique=True))
        columns.append(Column(f"c{place}", None if names is None else tuple(names)))
        present: Any = st.floats(width=32, allow_nan=False, allow_infinity=False)
        if names is not None:
            present = st.integers(0, len(names) - 1)
        drawn.append(draw(st.lists(present | st.just(NAN), min_size=count, max_size=count)))
    return np.array(drawn, dtype=np.float32).T, tuple(columns)


def fitted(inputs: np.ndarray, columns: tuple[Column, ...]) -> TableEncoding | None:
    try:
        return fit_encoding(inputs, columns)
    except DataError:
        return None


@given(samples())
def test_an_encoding_survives_json_bit_for_bit(table: tuple[np.ndarray, tuple[Column, ...]]) -> None:
    encoding = fitted(*table)
    if encoding is not None:
        again = ENCODING.validate_json(ENCODING.dump_json(encoding))
        assert again == encoding
        assert np.array_equal(again.encode(*table), encoding.encode(*table))


@given(samples())
def test_features_are_finite_and_one_hot(table: tuple[np.ndarray, tuple[Column, ...]]) -> None:
    encoding = fitted(*table)
    if encoding is None:
        return
    features = encoding.encode(*table)
    assert features.shape == (len(table[0]), len(encoding.feature_names))
    assert np.isfinite(features).all()
    start = 0
    for column in encoding.columns:
        width = len(column.feature_names)
        if isinstance(column, CategoryEncoding):
            assert (features[:, start : start + width].sum(axis=1) == 1).all(), "training knows all its categories"
        start += width


@given(samples(least=2), st.data())
def test_categories_that_no_training_sample_has_leave_no_trace(
    table: tuple[np.ndarray, tuple[Column, ...]], data: st.DataObject
) -> None:
    inputs, columns = table
    extra = data.draw(st.lists(st.text(min_size=4, max_size=5), max_size=3, unique=True))
    wider = tuple(
        column if column.categories is None else Column(column.name, (*column.categories, *extra)) for column in columns
    )
    assert fitted(inputs, columns) == fitted(inputs, wider)
