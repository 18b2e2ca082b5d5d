from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from methods.data.catalog import check_data, resolve_path, source, source_names
from methods.data.load import load_dataset
from methods.task_spec import DataSpec


def test_every_bundled_source_is_what_the_catalog_says() -> None:
    for name in source_names():
        if not source(name).takes_path:
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
    ],
)
def test_a_faulty_spec_is_told_with_its_mend(fields: dict[str, str], told: str) -> None:
    (fault,) = check_data(DataSpec(**fields))
    assert told in fault


def test_every_undefined_variable_is_named() -> None:
    faults = check_data(DataSpec(source="image_folder", path="${NOT_SET_A}/${NOT_SET_B}"))
    assert [("NOT_SET_A" in faults[0]), ("NOT_SET_B" in faults[1])] == [True, True]


def test_a_path_reads_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    monkeypatch.setenv("SOME_DATA", str(tmp_path))
    assert check_data(DataSpec(source="image_folder", path="${SOME_DATA}/images")) == []
    assert resolve_path("${SOME_DATA}/images") == tmp_path / "images"
    assert resolve_path("~/x") == Path.home() / "x"
