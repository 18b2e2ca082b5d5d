"""A user's table: what its columns become, what counts as which kind of task, and every way it can be wrong."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from methods.data.dataset import Column, DataError, DataSet
from methods.data.load import fingerprint
from methods.data.tables import MOST_WHOLE_CLASSES
from methods.task_spec import DataSpec
from tests.methods.data.table_sets import Columns, as_text, houses, load, passengers, write_table


def whole(dataset: DataSet) -> tuple[np.ndarray, np.ndarray]:
    assert dataset.locked is not None
    inputs, targets = dataset.locked.open("a test")
    return np.concatenate([dataset.train_inputs, inputs]), np.concatenate([dataset.train_targets, targets])


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv", "t.tsv.gz", "t.parquet", "T.CSV"])
def test_every_format_gives_the_same_samples(name: str, tmp_path: Path) -> None:
    table = passengers()
    expected = load(write_table(tmp_path / "expected.csv", table), "survived")
    found = load(write_table(tmp_path / name, table), "survived")
    assert (found.kind, found.class_names, found.columns) == ("classification", ("0", "1"), expected.columns)
    assert np.array_equal(found.train_inputs, expected.train_inputs, equal_nan=True)
    assert np.array_equal(found.train_targets, expected.train_targets)


def test_samples_are_as_the_file_has_them(tmp_path: Path) -> None:
    table = passengers()
    dataset = load(write_table(tmp_path / "t.csv", table), "survived")
    assert dataset.columns == (
        Column("age", None),
        Column("deck", ("A", "B", "C")),
        Column("crew", ("false", "true")),
    )
    inputs, targets = whole(dataset)
    assert (inputs.dtype, targets.dtype, inputs.shape) == (np.float32, np.int64, (120, 3))
    assert np.isnan(inputs[:, 0]).sum() == table["age"].count(None)
    assert np.isnan(inputs[:, 1]).sum() == table["deck"].count(None)
    assert (inputs[:, 1] == 2).sum() == table["deck"].count("C")
    assert (targets == 1).sum() == table["survived"].count(1)
    ages = sorted(value for value in table["age"] if value is not None)
    assert np.sort(inputs[~np.isnan(inputs[:, 0]), 0]).tolist() == pytest.approx(ages)


def test_a_regression_keeps_its_raw_targets(tmp_path: Path) -> None:
    table = houses()
    dataset = load(write_table(tmp_path / "houses.csv", table), "price")
    assert (dataset.name, dataset.kind, dataset.class_names, dataset.num_outputs) == ("houses", "regression", (), 1)
    _, targets = whole(dataset)
    assert targets.dtype == np.float32
    assert np.sort(targets) == pytest.approx(np.sort(np.float32(table["price"])))


def test_the_held_out_part_is_stratified_and_the_same_at_every_load(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", passengers())
    first, again = load(path, "survived"), load(path, "survived")
    assert np.array_equal(first.train_inputs, again.train_inputs, equal_nan=True)
    assert first.locked is not None
    assert len(first.locked) == pytest.approx(24, abs=1)
    assert len(load(path, "survived", test_share=0.5).train_targets) == pytest.approx(60, abs=1)


def test_a_folder_with_a_test_file_has_an_official_test_split(tmp_path: Path) -> None:
    write_table(tmp_path / "set" / "train.csv", passengers(80))
    write_table(tmp_path / "set" / "test.parquet", passengers(30, seed=1))
    dataset = load(tmp_path / "set", "survived", test_share=0.9)
    assert dataset.locked is not None
    assert (dataset.name, len(dataset.train_targets), len(dataset.locked)) == ("set", 80, 30)


def test_a_folder_without_a_test_file_holds_a_part_out(tmp_path: Path) -> None:
    write_table(tmp_path / "set" / "train.tsv", passengers(100))
    assert len(load(tmp_path / "set", "survived").train_targets) == pytest.approx(80, abs=1)


def test_a_category_of_the_test_split_alone_has_an_index_of_its_own(tmp_path: Path) -> None:
    train, test = passengers(80), passengers(30, seed=1)
    test["deck"][3] = "Z"
    write_table(tmp_path / "set" / "train.csv", train)
    write_table(tmp_path / "set" / "test.csv", test)
    dataset = load(tmp_path / "set", "survived")
    assert dataset.columns[1].categories == ("A", "B", "C", "Z")
    assert not (dataset.train_inputs[:, 1] == 3).any()


@pytest.mark.parametrize(
    ("values", "kind", "classes"),
    [
        (["yes", "no"] * 20, "classification", ("no", "yes")),
        ([True, False] * 20, "classification", ("false", "true")),
        ([2, 10] * 20, "classification", ("2", "10")),
        (list(range(MOST_WHOLE_CLASSES)) * 3, "classification", tuple(map(str, range(MOST_WHOLE_CLASSES)))),
        (list(range(MOST_WHOLE_CLASSES + 1)) * 3, "regression", ()),
        ([0.0, 1.5] * 20, "regression", ()),
    ],
    ids=["text", "truth", "whole", "as many whole as classes may be", "more of them", "real"],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_target_decides_the_kind(
    values: list[Any], kind: str, classes: tuple[str, ...], suffix: str, tmp_path: Path
) -> None:
    path = write_table(tmp_path / f"t.{suffix}", {"x": list(range(len(values))), "y": values})
    dataset = load(path, "y")
    assert (dataset.kind, dataset.class_names) == (kind, classes)


def test_kind_overrules_the_target(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", {"x": list(range(40)), "y": [1, 2] * 20})
    assert load(path, "y", kind="regression").train_targets.dtype == np.float32
    reals = write_table(tmp_path / "r.csv", {"x": list(range(40)), "y": [1.0, 2.0] * 20})
    assert load(reals, "y", kind="classification").class_names == ("1", "2")


def test_dropped_columns_are_gone_and_may_hold_anything(tmp_path: Path) -> None:
    table = passengers() | {"id": [f"passenger {i}" for i in range(120)]}
    dataset = load(write_table(tmp_path / "t.csv", table), "survived", drop=("id", "crew"))
    assert [column.name for column in dataset.columns] == ["age", "deck"]


def test_dictionaries_of_texts_are_categories_and_decimals_are_numbers(tmp_path: Path) -> None:
    table = pa.table(
        {
            "size": pa.array(["s", "m", None, "s"] * 10).dictionary_encode(),
            "cost": pa.array([Decimal("1.50"), None, Decimal(3), Decimal(4)] * 10),
            "y": ["a", "b"] * 20,
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    columns = load(tmp_path / "t.parquet", "y").columns
    assert columns == (Column("size", ("m", "s")), Column("cost", None))


def test_what_stands_for_missing_in_text_files(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,c,y\n" + "1,a,u\n NA , ,v\nnan,N/A,u\n2.5, a ,v\n,None,u\n4,a,v\n")
    inputs, _ = whole(load(path, "y"))
    assert np.isnan(inputs[:, 0]).sum() == 3
    assert np.isnan(inputs[:, 1]).sum() == 2
    assert load(path, "y").columns[1].categories == ("None", "a")


def test_the_fingerprint_follows_contents_and_options_and_not_the_place(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a" / "t.csv", passengers())
    copy = write_table(tmp_path / "b" / "other name.csv", passengers())
    changed = write_table(tmp_path / "c.csv", passengers(seed=1))

    def of(path: Path, *, test_share: float = 0.2, **fields: Any) -> str:
        spec = DataSpec(source="table", path=str(path), **({"target": "survived"} | fields))
        return fingerprint(spec, test_share=test_share, cache_dir=tmp_path / "cache")

    assert of(path) == of(copy)
    others = [
        of(changed),
        of(path, target="crew"),
        of(path, kind="regression"),
        of(path, numeric=("age",)),
        of(path, drop=("age",)),
        of(path, test_share=0.3),
    ]
    assert len({of(path), *others}) == 7


def test_the_held_out_share_does_not_matter_where_there_is_a_test_file(tmp_path: Path) -> None:
    write_table(tmp_path / "set" / "train.csv", passengers(80))
    write_table(tmp_path / "set" / "test.csv", passengers(30, seed=1))
    shares = [load(tmp_path / "set", "survived", test_share=share).fingerprint for share in (0.1, 0.5)]
    assert shares[0] == shares[1]


# A table, fields of the spec, and pieces of the message that must come of it.
SIX = {"x": [1, 2, 3, 4, 5, 6], "c": ["a", "b"] * 3, "y": ["u", "v"] * 3}
BAD: list[tuple[str, Columns | str, dict[str, Any], list[str]]] = [
    ("empty", "", {}, ["t.csv is empty"]),
    ("no rows", "x,y\n", {}, ["no rows"]),
    ("ragged", "x,y\n1,u\n2\n", {}, ["t.csv", "line 3", "Expected 2 columns, got 1"]),
    ("same names", "x,x,y\n1,2,u\n", {}, ["two columns are named 'x'"]),
    ("one column", "y\nu\nv\n", {}, ["single column 'y'"]),
    ("other separator", "x;y\n1;u\n", {}, ["single column 'x;y'", "separated by something else"]),
    ("no such target", SIX, {"target": "z"}, ["no column 'z'", "`target`", "columns: x, c, y"]),
    ("nearly the target", {**SIX, "price": range(6)}, {"target": "prize"}, ["Did you mean 'price'?"]),
    ("no such promise", SIX, {"numeric": ("z",)}, ["no column 'z'", "`numeric`"]),
    ("no such drop", SIX, {"drop": ("z",)}, ["no column 'z'", "`drop`"]),
    ("all dropped", SIX, {"drop": ("x", "c")}, ["no column but the target"]),
    (
        "text for a number",
        {**SIX, "x": [1, 2, "?", 4, 5, "x"]},
        {"numeric": ("x",)},
        ["column 'x'", "row 3 holds '?'", "leave it empty"],
    ),
    ("infinite", {**SIX, "x": [1, 2, 3, 4, "inf", 6]}, {}, ["column 'x'", "row 5 holds an infinite value"]),
    ("too large", {**SIX, "x": [1, 2, 3, 4, -1e39, 6]}, {}, ["column 'x'", "row 5", "more than float32 holds"]),
    ("no target", {**SIX, "y": ["u", None] * 3}, {}, ["column 'y'", "row 2 has no value, and 3 rows in all"]),
    ("NaN as target", {**SIX, "y": [0.5, "nan"] * 3}, {}, ["column 'y'", "row 2 has no value"]),
    ("infinite target", {**SIX, "y": [0.5, "-inf"] * 3}, {}, ["column 'y'", "row 2 holds an infinite value"]),
    ("one class", {**SIX, "y": ["u"] * 6}, {}, ["'u' in every row", "two classes"]),
    ("constant", {**SIX, "y": [0.5] * 6}, {}, ["0.5 in every row", "nothing to predict"]),
    ("float32 constant", {**SIX, "y": [1e9 + i / 10 for i in range(6)]}, {}, ["as far as float32 can tell"]),
    ("a lonely class", {**SIX, "y": ["u"] * 5 + ["v"]}, {}, ["at least 3 samples", "'v' (1)"]),
    ("a number of each", {**SIX, "y": range(6)}, {}, ["at least 3 samples", "set `kind: regression`"]),
    ("two rows", {"x": [1, 2], "y": [0.5, 0.6]}, {}, ["2 rows", "at least 3"]),
    ("text as quantity", SIX, {"kind": "regression"}, ["column 'y'", "row 1 holds 'u' where a number"]),
    ("real as class", {**SIX, "y": [1, 2.5] * 3}, {"kind": "classification"}, ["row 2 holds 2.5, which is no class"]),
    (
        "free text",
        {"x": [f"t{i}" for i in range(1001)], "y": [1, 2, 3] * 333 + [1, 2]},
        {},
        ["1,001 different", "drop"],
    ),
]


@pytest.mark.parametrize(("table", "fields", "told"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_a_faulty_table_says_where_what_and_how_to_mend(
    table: Columns | str, fields: dict[str, Any], told: list[str], tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text(table if isinstance(table, str) else as_text(table))
    with pytest.raises(DataError) as caught:
        load(tmp_path / "t.csv", **({"target": "y"} | fields))
    assert "t.csv" in str(caught.value)
    for piece in told:
        assert piece in str(caught.value)


@pytest.mark.parametrize(
    ("column", "fields", "told"),
    [
        (pa.array([1, 2] * 10).cast(pa.timestamp("s")), {}, "holds timestamp"),
        (pa.array([[1], [2]] * 10), {}, "holds list"),
        (pa.array([True, False] * 10), {"numeric": ("x",)}, "true and false where numbers were promised"),
        (pa.array([1.0, float("inf")] * 10), {}, "row 2 holds an infinite value"),
        (pa.array(["1", "one"] * 10), {"numeric": ("x",)}, "row 2 holds 'one'"),
    ],
    ids=["dates", "lists", "promised truths", "infinite", "promised text"],
)
def test_faulty_columns_of_parquet_files(column: pa.Array, fields: dict[str, Any], told: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": column, "z": range(20), "y": ["u", "v"] * 10}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet: column 'x'") as caught:
        load(tmp_path / "t.parquet", "y", **fields)
    assert told in str(caught.value)


def test_broken_files_are_named(tmp_path: Path) -> None:
    for name, content in (("t.parquet", b"PAR1 torn"), ("t.csv.gz", b"no gzip"), ("t.csv", b"x,y\n\xff\xfe,1\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            load(tmp_path / name, "y")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"survived": [0, 2] * 15}, r"test\.csv.*'survived': row 2 is of class '2', which no training row is"),
        ({"age": ["old"] * 30}, r"test\.csv.*'age': row 1 holds 'old' where a number was promised"),
        ({"survived": [None, 1] * 15}, r"test\.csv.*row 1 has no value"),
    ],
)
def test_a_test_file_that_does_not_fit_is_named(change: Columns, told: str, tmp_path: Path) -> None:
    write_table(tmp_path / "set" / "train.csv", passengers(80))
    write_table(tmp_path / "set" / "test.csv", passengers(30, seed=1) | change)
    with pytest.raises(DataError, match=told):
        load(tmp_path / "set", "survived")


def test_a_test_file_that_lacks_a_column_is_named(tmp_path: Path) -> None:
    write_table(tmp_path / "set" / "train.csv", passengers(80))
    write_table(tmp_path / "set" / "test.csv", {"age": [1.0, 2.0], "crew": [True, False], "survived": [0, 1]})
    with pytest.raises(DataError, match=r"test\.csv has no column 'deck', which `the training file` names"):
        load(tmp_path / "set", "survived")
    assert load(tmp_path / "set", "survived", drop=("deck",)).num_outputs == 2


@pytest.mark.parametrize(
    ("pool", "test", "categories"),
    [
        (["True", "False", "Unknown"], ["True", "False", "True"], ("False", "True", "Unknown")),
        (["True", "false", "TRUE"], ["True", "False", "TRUE"], ("false", "true")),
    ],
    ids=["texts", "truths"],
)
def test_the_training_file_says_whether_true_and_false_are_texts(
    pool: list[str], test: list[str], categories: tuple[str, ...], tmp_path: Path
) -> None:
    for name, words in (("train.csv", pool), ("test.csv", test)):
        write_table(tmp_path / name, {"word": words * 10, "y": [0, 1, 0] * 10})
    dataset = load(tmp_path, "y")
    assert dataset.columns == (Column("word", categories),)
    inputs, _ = whole(dataset)
    assert not np.isnan(inputs).any()


def test_a_target_spelt_as_no_number_is_refused(tmp_path: Path) -> None:
    table: Columns = {"x": list(range(60)), "y": [str(0.5 + i) for i in range(59)] + ["NAN"]}
    with pytest.raises(DataError, match="row 60 is not a number"):
        load(write_table(tmp_path / "t.csv", table), "y")


def test_a_column_that_float32_takes_for_a_constant_is_refused(tmp_path: Path) -> None:
    table: Columns = {"time": [1_700_000_000 + i % 20 for i in range(60)], "y": [i % 2 for i in range(60)]}
    with pytest.raises(DataError, match=r"column 'time' differs by less than float32 can tell .* subtract an offset"):
        load(write_table(tmp_path / "t.csv", table), "y")


def test_large_whole_classes_keep_every_digit(tmp_path: Path) -> None:
    labels = [2**53, 2**53 + 1, 2**53 + 2]
    dataset = load(write_table(tmp_path / "t.csv", {"x": list(range(60)), "y": labels * 20}), "y")
    assert dataset.class_names == tuple(map(str, labels))


def test_codes_in_hexadecimal_are_texts(tmp_path: Path) -> None:
    table: Columns = {"code": ["0x0", "0x1", "0x2"] * 20, "y": [0, 1] * 30}
    dataset = load(write_table(tmp_path / "t.csv", table), "y")
    assert dataset.columns == (Column("code", ("0x0", "0x1", "0x2")),)
