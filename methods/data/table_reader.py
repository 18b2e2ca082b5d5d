"""Columns of CSV and Parquet files as numbers or as texts; what does not fit is named by file, column, row and value.

Rows are counted from 1; the header of a text file is not counted. A text file's column is what all its values can be
read as, from the first row to the last: whole numbers, real numbers, true or false, else text. So a type never
depends on how the file was cut into blocks, as it does when pyarrow guesses types itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from methods.data.dataset import DataError
from methods.data.table_files import SEPARATORS, suffix_of
from methods.registry import did_you_mean

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")
"""Texts that stand for a missing value in a text file. `None` and `?` are not among them: they may be categories."""

ColumnType = Literal["whole", "real", "truth", "text"]

_TRUTHS = ("true", "false", "True", "False", "TRUE", "FALSE")
_TOO_LARGE = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class RawColumn:
    """One column as its file has it."""

    place: str
    """For messages: file and column."""
    values: pa.Array
    """Text with nulls for missing ones, of a text file; any type of a Parquet file."""
    is_parsed: bool
    """Whether the file itself says what the values are, as Parquet does."""

    @cached_property
    def type(self) -> ColumnType:
        """What the column holds; one without any value counts as numbers.

        Raises:
            DataError: Neither numbers nor text nor truths.
        """
        return self._declared_type() if self.is_parsed else self._found_type()

    def numbers(self) -> NDArray[np.float64]:
        """The values, finite where they are there and NaN where they are missing.

        Raises:
            DataError: A value is no number, infinite, or beyond what float32 holds.
        """
        if self.type == "truth" and self.is_parsed:
            raise DataError(f"{self.place} holds true and false where numbers were promised; write 1 and 0.")
        plain = _undecoded(self.values)
        try:
            parsed = pc.cast(plain, pa.float64(), safe=False)
        except pa.ArrowInvalid as error:
            row = _first_refused(plain)
            raise DataError(
                f"{self.place}: row {row + 1} holds '{plain[row].as_py()}' where a number was promised; "
                "correct it, or leave it empty if it is missing."
            ) from error
        found: NDArray[np.float64] = np.array(parsed.to_numpy(zero_copy_only=False), dtype=np.float64)
        wrong = np.flatnonzero(np.abs(found) > _TOO_LARGE)
        if len(wrong):
            value = found[wrong[0]]
            told = "an infinite value" if np.isinf(value) else f"{value:g}, more than float32 holds"
            raise DataError(
                f"{self.place}: row {wrong[0] + 1} holds {told}; correct it, or leave it empty if it is missing."
            )
        return found

    def texts(self, *, truths: bool) -> pa.Array:
        """The values as text, null where they are missing.

        Args:
            truths: Write them in lower case, `true` and `false`; what the training pool holds says so for all tables.
        """
        plain = pc.cast(_undecoded(self.values), pa.string())
        return pc.utf8_lower(plain) if truths else plain

    def whole_numbers(self) -> pa.Array:
        """The values of a column of type `whole` as int64, every digit kept; null where they are missing."""
        return pc.cast(_undecoded(self.values), pa.int64())

    def _declared_type(self) -> ColumnType:
        kind = self.values.type
        if pa.types.is_dictionary(kind) or _is_text(kind):
            return "text"
        if pa.types.is_boolean(kind):
            return "truth"
        if pa.types.is_integer(kind):
            return "whole"
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
            return "real"
        raise DataError(
            f"{self.place} holds {kind}, neither numbers nor text; turn it into one of these, or leave it out with "
            "`drop`."
        )

    def _found_type(self) -> ColumnType:
        if self.values.null_count == len(self.values):
            return "real"
        # Codes such as 0x1F are whole numbers to the reader, and no numbers to anybody else.
        if _parses(self.values, pa.float64()):
            return "whole" if _parses(self.values, pa.int64()) else "real"
        known = pc.is_in(self.values, value_set=pa.array(_TRUTHS))
        return "truth" if pc.all(pc.or_(known, pc.is_null(self.values))).as_py() else "text"


def column_names(file: Path) -> tuple[str, ...]:
    """Names of a table's columns in their order, each once.

    Raises:
        DataError: The file is empty, damaged or unreadable, or two columns have one name.
    """
    with _read(file):
        names = _parquet_names(file) if suffix_of(file) == ".parquet" else _text_names(file)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{file}: two columns are named '{twice[0]}'; give each a name of its own.")
    return names


def read_columns(file: Path) -> dict[str, RawColumn]:
    """All columns of a table by name, in their order.

    Raises:
        DataError: See `column_names`; or there are no rows, or one has more or fewer values than there are columns.
    """
    names = column_names(file)
    with _read(file):
        if suffix_of(file) == ".parquet":
            with pq.ParquetFile(file) as opened:
                table = opened.read()
        else:
            table = _read_text(file, names)
    if table.num_rows == 0:
        raise DataError(f"{file} holds names of columns, but no rows; is this the right file?")
    is_parsed = suffix_of(file) == ".parquet"
    return {
        name: RawColumn(f"{file}: column '{name}'", _in_one_piece(table.column(name)), is_parsed)
        for name in table.column_names
    }


def require_columns(names: Mapping[str, str], known: tuple[str, ...], *, place: str) -> None:
    """Make sure that a table has the columns a user named.

    Args:
        names: Column -> the option that names it.
        known: The columns there are.
        place: The file, for the message.

    Raises:
        DataError: One is missing; says which there are and which one may be meant.
    """
    for name, option in names.items():
        if name not in known:
            shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
            raise DataError(
                f"{place} has no column '{name}', which `{option}` names; columns: {shown}.{did_you_mean(name, known)}"
            )


def _text_names(file: Path) -> tuple[str, ...]:
    """As they stand in the first line. The reader guesses types from a first block of rows, which are not used."""
    layout = _layout(file)
    layout.invalid_row_handler = lambda _: "skip"  # told when all rows are read, and then by its number
    with pacsv.open_csv(file, parse_options=layout) as opened:
        names: list[str] = opened.schema.names
    return tuple(names)


def _parquet_names(file: Path) -> tuple[str, ...]:
    with pq.ParquetFile(file) as opened:
        names: list[str] = opened.schema_arrow.names
    return tuple(names)


def _read_text(file: Path, names: tuple[str, ...]) -> pa.Table:
    table = pacsv.read_csv(
        file,
        # One thread: only then do messages of the reader say which row is wrong.
        read_options=pacsv.ReadOptions(use_threads=False),
        parse_options=_layout(file),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, null_values=[]
        ),
    )
    return pa.table({name: _with_nulls(table.column(name)) for name in names})


def _layout(file: Path) -> pacsv.ParseOptions:
    return pacsv.ParseOptions(delimiter=SEPARATORS[suffix_of(file) or ".csv"], newlines_in_values=True)


def _with_nulls(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    trimmed = pc.utf8_trim_whitespace(texts)
    missing = pc.is_in(trimmed, value_set=pa.array(MISSING))
    return pc.if_else(missing, pa.scalar(None, pa.string()), trimmed)


def _in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _undecoded(values: pa.Array) -> pa.Array:
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _parses(texts: pa.Array, kind: pa.DataType) -> bool:
    try:
        pc.cast(texts, kind)
    except pa.ArrowInvalid:
        return False
    return True


def _first_refused(values: pa.Array) -> int:
    """Index of the first value that is no number, by halving: most of a long column is then parsed twice only."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        if _parses(values[low:middle], pa.float64()):
            low = middle
        else:
            high = middle
    return low


@contextmanager
def _read(file: Path) -> Iterator[None]:
    """Inside, errors of reading become ours."""
    try:
        yield
    except (pa.ArrowException, OSError, EOFError) as error:
        # The reader counts the header too, as an editor does.
        told = re.sub(r"Row #(\d+)", r"line \1", " ".join(str(error).split()))
        if "Empty CSV" in told:
            raise DataError(f"{file} is empty; a table begins with the names of its columns.") from error
        if "UTF8" in told or "UTF-8" in told:
            raise DataError(f"{file} is not UTF-8 text ({told}); save it as UTF-8.") from error
        raise DataError(f"{file} cannot be read as a table: {told}; correct it or make it again.") from error
