"""Tables of a user's own: one file, or a folder with `train` and `test`; one column is the target.

Columns of text, truths and dictionaries are categories, columns of whole or real numbers are numbers; `numeric`
promises that a column holds numbers, so that a stray text in it is an error and does not make categories of them. The
samples stay as the file has them; `methods.data.encoding` makes features of them once the training part is known.

N = samples, F = columns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from methods.data.bundled import TEST_SEED
from methods.data.dataset import Array, Column, DataError, DataSet, LockedTest
from methods.data.fingerprints import fingerprint_files
from methods.data.splits import require_samples, stratified_split
from methods.data.table_files import TableFiles, suffix_of, table_files
from methods.data.table_reader import RawColumn, column_names, read_columns, require_columns
from methods.task_spec import DataSpec

MOST_WHOLE_CLASSES = 20
"""A target of whole numbers with more distinct values than this is a regression unless `kind` says otherwise."""
_EXACT = 2.0**53
"""Whole numbers beyond this are not told apart as real ones."""
_MOST_CATEGORIES = 1_000
"""Each is a feature. A column with more is an identifier or free text, which one-hot features cannot serve."""
_MOST_CLASSES = 10_000

Kind = Literal["classification", "regression"]
_Table = dict[str, RawColumn]


def load_table(spec: DataSpec, path: Path, *, test_share: float, cache_dir: Path | None = None) -> DataSet:
    """The samples of a table, still to be encoded.

    Where the files hold no official test split, `test_share` of every class (of every tenth of a regression's ranking)
    is held out as for bundled sets. Without `spec.kind`, a target of text or truths is a classification, one of
    whole numbers is so up to `MOST_WHOLE_CLASSES` distinct values, and anything else is a regression.

    Raises:
        DataError: A file cannot be read, columns are not as promised, or there is nothing to learn.
    """
    files = table_files(path)
    check_columns(spec, path)
    pool = read_columns(files.train)
    test = read_columns(files.test) if files.test else None
    assert spec.target is not None, "check_data refuses a table without target"
    targets = [table[spec.target] for table in (pool, test) if table is not None]
    kind = spec.kind or _kind_of(targets[0])
    class_names = _class_names(targets[0]) if kind == "classification" else ()
    found: list[Array] = [_labels(target, class_names) if class_names else _quantities(target) for target in targets]
    if kind == "regression":
        _refuse_constant(targets[0], found[0])
    guessed = spec.kind is None and targets[0].type == "whole"
    _require_enough(files, found[0], class_names, guessed=guessed)
    names = [name for name in pool if name not in (spec.target, *spec.drop)]
    columns, inputs = _inputs(names, [pool] if test is None else [pool, test], promised=spec.numeric)
    if test is None:
        kept, held_out = stratified_split(found[0], test_share, seed=TEST_SEED)
        inputs = [inputs[0][kept], inputs[0][held_out]]
        found = [found[0][kept], found[0][held_out]]
    return DataSet(
        name=path.name.split(".")[0],
        kind=kind,
        fingerprint=fingerprint_table(spec, path, test_share=test_share, cache_dir=cache_dir),
        class_names=class_names,
        train_inputs=inputs[0],
        train_targets=found[0],
        locked=LockedTest(inputs[1], found[1]),
        columns=columns,
    )


def fingerprint_table(spec: DataSpec, path: Path, *, test_share: float, cache_dir: Path | None = None) -> str:
    """SHA-256 of the contents of the files and of all that changes the samples taken from them."""
    files = table_files(path)
    there = [file for file in (files.train, files.test) if file]
    content = fingerprint_files(files.root, there, cache_dir=cache_dir)
    options = {
        # A single file counts by its content and format whatever it is called.
        "suffixes": [suffix_of(file) for file in there],
        "target": spec.target,
        "kind": spec.kind,
        "numeric": sorted(spec.numeric),
        "drop": sorted(spec.drop),
        "test_share": None if files.test else test_share,
    }
    return hashlib.sha256(f"table {content} {json.dumps(options)}".encode()).hexdigest()


def check_columns(spec: DataSpec, path: Path) -> None:
    """Make sure that the files have the columns that `spec` names, and one to learn from. Reads their first rows.

    Raises:
        DataError: They have not, or cannot be read.
    """
    files = table_files(path)
    named = {spec.target or "": "target", **dict.fromkeys(spec.numeric, "numeric"), **dict.fromkeys(spec.drop, "drop")}
    known = column_names(files.train)
    if len(known) == 1:
        hint = " Are its columns separated by something else?" if set(known[0]) & set(";\t|") else ""
        raise DataError(f"{files.train} has the single column '{known[0]}'; a table needs a target and columns.{hint}")
    require_columns(named, known, place=str(files.train))
    if not set(known) - {spec.target, *spec.drop}:
        raise DataError(f"{files.train} has no column but the target and what `drop` leaves out; keep at least one.")
    if files.test is not None:
        needed = {name: "the training file" for name in known if name not in spec.drop}
        require_columns(needed, column_names(files.test), place=str(files.test))


def _inputs(
    names: Sequence[str], tables: Sequence[_Table], *, promised: Sequence[str]
) -> tuple[tuple[Column, ...], list[Array]]:
    """What each column is by the first table, the training pool, and float32 values (N, F) of every table."""
    pool = tables[0]
    inputs: list[Array] = [np.empty((_num_rows(table), len(names)), dtype=np.float32) for table in tables]
    columns: list[Column] = []
    for place, name in enumerate(names):
        if name in promised or pool[name].type in ("whole", "real"):
            columns.append(Column(name, None))
            for table, values_NF in zip(tables, inputs, strict=True):
                values_NF[:, place] = table[name].numbers()
            _refuse_lost_digits(pool[name], inputs[0][:, place])
            continue
        truths = pool[name].type == "truth"
        texts = [table[name].texts(truths=truths) for table in tables]
        _refuse_many_categories(pool[name], texts[0])
        categories = sorted({text for found in texts for text in pc.unique(found).to_pylist()} - {None})
        columns.append(Column(name, tuple(categories)))
        for found, values_NF in zip(texts, inputs, strict=True):
            codes = pc.index_in(found, value_set=pa.array(categories, pa.string()))
            values_NF[:, place] = pc.cast(codes, pa.float32()).to_numpy(zero_copy_only=False)
    return tuple(columns), inputs


def _num_rows(table: _Table) -> int:
    return len(next(iter(table.values())).values)


def _refuse_lost_digits(column: RawColumn, kept_N: Array) -> None:
    """A column whose values differ, but not in float32, would be taken for a constant."""
    there = kept_N[~np.isnan(kept_N)]
    exact = column.numbers()
    if len(np.unique(there)) < 2 <= len(np.unique(exact[~np.isnan(exact)])):
        raise DataError(
            f"{column.place} differs by less than float32 can tell around {there[0]:g}; subtract an offset, or leave "
            "it out with `drop`."
        )


def _refuse_many_categories(column: RawColumn, texts: pa.Array) -> None:
    distinct = pc.count_distinct(texts).as_py()
    if distinct > _MOST_CATEGORIES:
        raise DataError(
            f"{column.place} holds {distinct:,} different texts, each of which would be a feature "
            f"(at most {_MOST_CATEGORIES:,}); leave it out with `drop`, or, if it should hold numbers, name it in "
            "`numeric` to find the one that is none."
        )


def _kind_of(target: RawColumn) -> Kind:
    """See `load_table`."""
    if target.type in ("text", "truth"):
        return "classification"
    few = target.type == "whole" and len(np.unique(target.numbers())) <= MOST_WHOLE_CLASSES
    return "classification" if few else "regression"


def _class_names(target: RawColumn) -> tuple[str, ...]:
    """Every class of the training pool: numbers by value, texts by alphabet."""
    _refuse_missing(target)
    names = set(_class_texts(target, truths=target.type == "truth").to_pylist())
    if len(names) < 2:
        raise DataError(f"{target.place} is '{next(iter(names))}' in every row; a target needs two classes at least.")
    if len(names) > _MOST_CLASSES:
        raise DataError(
            f"{target.place} holds {len(names):,} classes (at most {_MOST_CLASSES:,}); if it is a quantity, set "
            "`kind: regression`."
        )
    return tuple(sorted(names, key=(lambda name: (int(name), name)) if target.type in ("whole", "real") else None))


def _class_texts(target: RawColumn, *, truths: bool) -> pa.Array:
    if target.type not in ("whole", "real"):
        return target.texts(truths=truths)
    if target.type == "whole":
        return pc.cast(target.whole_numbers(), pa.string())
    numbers = target.numbers()
    large = np.flatnonzero(np.abs(numbers) > _EXACT)
    if len(large):
        raise DataError(
            f"{target.place}: row {large[0] + 1} holds {numbers[large[0]]:g}, too large for a class written as a real "
            "number; write classes as whole numbers or texts."
        )
    broken = np.flatnonzero(numbers != np.rint(numbers))
    if len(broken):
        raise DataError(
            f"{target.place}: row {broken[0] + 1} holds {numbers[broken[0]]:g}, which is no class; classes are texts "
            "or whole numbers. If it is a quantity, set `kind: regression`."
        )
    return pc.cast(pa.array(numbers.astype(np.int64)), pa.string())


def _labels(target: RawColumn, class_names: Sequence[str]) -> NDArray[np.int64]:
    _refuse_missing(target)
    texts = _class_texts(target, truths=set(class_names) <= {"false", "true"})
    labels = pc.index_in(texts, value_set=pa.array(class_names, pa.string()))
    if labels.null_count:
        row = labels.is_null().index(True).as_py()
        raise DataError(
            f"{target.place}: row {row + 1} is of class '{texts[row]}', which no training row is; "
            "add training rows of that class, or remove it from the test split."
        )
    return np.asarray(labels.to_numpy(zero_copy_only=False), dtype=np.int64)


def _quantities(target: RawColumn) -> NDArray[np.float32]:
    _refuse_missing(target)
    values = target.numbers()
    # Spellings such as NAN are no missing values to the reader of texts, and no numbers either.
    broken = np.flatnonzero(np.isnan(values))
    if len(broken):
        raise DataError(f"{target.place}: row {broken[0] + 1} is not a number; remove rows whose target is unknown.")
    return values.astype(np.float32)


def _refuse_constant(target: RawColumn, values: Array) -> None:
    # Compared as training will see them: in float32 a small spread around a large number is none.
    if len(np.unique(values)) < 2:
        raise DataError(
            f"{target.place} is {values[0]:g} in every row, as far as float32 can tell; there is nothing to predict."
        )


def _refuse_missing(target: RawColumn) -> None:
    missing = pc.is_null(target.values, nan_is_null=True).to_numpy(zero_copy_only=False)
    if missing.any():
        raise DataError(
            f"{target.place}: row {np.flatnonzero(missing)[0] + 1} has no value, and {int(missing.sum())} rows in all; "
            "remove rows whose target is unknown."
        )


def _require_enough(files: TableFiles, targets: Array, class_names: Sequence[str], *, guessed: bool) -> None:
    """One sample of each class for training, one for validation and, unless there is a test file, one for the test."""
    minimum, purpose = (2, "training on") if files.test else (3, "training, validating and testing on")
    if not class_names:
        if len(targets) < minimum:
            raise DataError(f"{files.train} holds {len(targets)} rows; {purpose} it needs at least {minimum}.")
        return
    try:
        require_samples(targets, minimum=minimum, purpose=f"{purpose} {files.train}", class_names=class_names)
    except DataError as error:
        hint = " Its whole numbers were taken for classes; if they are quantities, set `kind: regression`."
        raise DataError(f"{error}{hint if guessed else ''}") from error
