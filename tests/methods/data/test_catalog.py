from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from methods.data.catalog import check_data, known_kind, located_faults, resolve_path, source, source_names
from methods.data.load import load_dataset
from methods.task_spec import DataSpec

GOOD = "<a table with the columns x and y>"
DIGITS = DataSpec(source="digits")
SOME = DataSpec(source="digits", classes=("1", "2"))


def test_every_bundled_source_is_what_the_catalog_says() -> None:
    for name in source_names():
        if not source(name).takes_path and name != "mixture":
            assert load_dataset(DataSpec(source=name), test_share=0.2).kind == source(name).kind


def test_checking_a_spec_loads_neither_torch_nor_scikit_learn() -> None:
    code = "import sys, methods.data.catalog; print(sorted({'torch', 'sklearn', 'pyarrow'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"source": "digit"}, "unknown data source 'digit'; known: breast_cancer"),
        ({"source": "digit"}, "Did you mean 'digits'?"),
        ({"source": "digits", "path": "/x"}, "takes no path; remove `path: /x`"),
        ({"source": "parquet_images"}, "needs `path`"),
        ({"source": "image_folder", "path": ""}, "needs `path`"),
        ({"source": "image_folder", "path": "/no/such/place"}, "no folder /no/such/place"),
        ({"source": "image_folder", "path": __file__}, "is a file; `path` must name the folder"),
        ({"source": "image_folder", "path": "${PAREDOWN_NOT_SET}/x"}, "export PAREDOWN_NOT_SET=..."),
        ({"source": "digits", "target": "y"}, "only data source 'table' takes `target`, not 'digits'"),
        ({"source": "iris", "kind": "regression"}, "only data source 'table' takes `kind`"),
        ({"source": "iris", "numeric": ("x",)}, "only data source 'table' takes `numeric`"),
        ({"source": "iris", "drop": ("x",)}, "only data source 'table' takes `drop`"),
        ({"source": "table", "path": GOOD}, "needs `target`"),
        ({"source": "table", "target": "y"}, "needs `path`, the file or folder"),
        ({"source": "table", "target": "y", "path": "/no/such.csv"}, "no file or folder /no/such.csv"),
        ({"source": "table", "target": "y", "path": "${PAREDOWN_NOT_SET}/x.csv"}, "export PAREDOWN_NOT_SET=..."),
        ({"source": "table", "target": "y", "path": __file__}, "ends in .csv, .csv.gz, .tsv, .tsv.gz or .parquet"),
        ({"source": "table", "target": "y", "path": GOOD, "drop": ("y",)}, "the `target` and in `drop` as well"),
        ({"source": "table", "target": "y", "path": GOOD, "numeric": ("y",)}, "set `kind: regression`"),
        ({"source": "table", "target": "y", "path": GOOD, "numeric": ("x",), "drop": ("x",)}, "in `numeric` and in"),
        ({"source": "table", "target": "z", "path": GOOD}, "has no column 'z', which `target` names; columns: x, y"),
        ({"source": "digits", "classes": ("3",)}, "`classes` keeps '3' alone; name at least two"),
        ({"source": "digits", "classes": ("3", "4", "3")}, "class '3' is given twice in `classes`"),
        ({"source": "diabetes", "classes": ("a", "b")}, "'diabetes' is a regression and has no classes"),
        ({"source": "iris", "image_shape": (3, 8, 8)}, "data source 'iris' has no images; remove `image_shape`"),
        ({"source": "digits", "parts": (DIGITS, SOME)}, "only data source 'mixture' takes `parts`, not 'digits'"),
        ({"source": "mixture"}, "needs at least two `parts`"),
        ({"source": "mixture", "parts": (DIGITS,)}, "needs at least two `parts`"),
        ({"source": "mixture", "parts": (DIGITS, SOME), "path": "/x"}, "move `path: /x` into its `parts`"),
        ({"source": "mixture", "parts": (DIGITS, SOME), "max_undecodable": 0.1}, "each part has a `max_undecodable`"),
        ({"source": "mixture", "parts": (DIGITS, SOME), "classes": ("3",)}, "`classes` keeps '3' alone"),
        ({"source": "mixture", "parts": (DIGITS, SOME), "target": "y"}, "only data source 'table' takes `target`"),
        ({"source": "mixture", "parts": (DIGITS, SOME, DIGITS)}, "parts[2]: is the same as parts[0]"),
        ({"source": "mixture", "parts": (DIGITS, DataSpec(source="iris"))}, "parts[1]: a mixture is made of images"),
        ({"source": "mixture", "parts": (DIGITS, DataSpec(source="digit"))}, "parts[1]: unknown data source 'digit'"),
        (
            {"source": "mixture", "parts": (DIGITS, DataSpec(source="mixture", parts=(DIGITS, SOME)))},
            "parts[1]: a part of a mixture is no mixture itself",
        ),
    ],
)
def test_a_faulty_spec_is_told_with_its_mend(fields: dict[str, Any], told: str, tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("x,y\n1,2\n")
    if fields.get("path") == GOOD:
        fields = fields | {"path": str(tmp_path / "good.csv")}
    (fault,) = check_data(DataSpec(**fields))
    assert told in fault


def test_all_faults_of_a_table_are_told_at_once() -> None:
    faults = check_data(DataSpec(source="table", path="/no/such.csv"))
    assert ["`target`" in faults[0], "no file or folder" in faults[1]] == [True, True]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["data.csv"], "holds no train file, but data.csv"),
        ([], "holds no train file, but nothing"),
        (["train.csv", "train.parquet"], "holds train.csv, train.parquet; keep one file for train"),
        (["train.csv", "test.csv", "test.tsv"], "holds test.csv, test.tsv; keep one file for test"),
    ],
)
def test_a_folder_without_one_table_for_each_split_is_told(names: list[str], told: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("x,y\n1,2\n")
    (fault,) = check_data(DataSpec(source="table", path=str(tmp_path), target="y"))
    assert told in fault


def test_a_mistyped_file_names_its_near_miss(tmp_path: Path) -> None:
    (tmp_path / "houses.csv").write_text("x,y\n1,2\n")
    (fault,) = check_data(DataSpec(source="table", path=str(tmp_path / "house.csv"), target="y"))
    assert "Did you mean 'houses.csv'?" in fault


def test_the_kind_is_known_before_samples_are_read_where_it_does_not_hang_on_them() -> None:
    specs = [{"source": "diabetes"}, {"source": "digits"}, {"source": "table"}, {"source": "no such source"}]
    assert [known_kind(DataSpec(**spec)) for spec in specs] == ["regression", "classification", None, None]
    assert known_kind(DataSpec(source="table", kind="regression")) == "regression"


def test_faults_of_a_mixture_and_of_its_parts_are_told_with_their_places() -> None:
    lost = DataSpec(source="image_folder", path="${NOT_SET_A}", classes=("a", "a"))
    places = [place for place, _ in located_faults(DataSpec(source="mixture", parts=(DIGITS, lost), path="/x"))]
    assert places == [(), ("parts", 1), ("parts", 1)]
    one_class = DataSpec(source="digits", classes=("3",))
    assert check_data(DataSpec(source="mixture", parts=(DIGITS, one_class))) == []


def test_every_undefined_variable_is_named() -> None:
    faults = check_data(DataSpec(source="image_folder", path="${NOT_SET_A}/${NOT_SET_B}"))
    assert [("NOT_SET_A" in faults[0]), ("NOT_SET_B" in faults[1])] == [True, True]


def test_a_path_reads_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    monkeypatch.setenv("SOME_DATA", str(tmp_path))
    assert check_data(DataSpec(source="image_folder", path="${SOME_DATA}/images")) == []
    assert resolve_path("${SOME_DATA}/images") == tmp_path / "images"
    assert resolve_path("~/x") == Path.home() / "x"
