"""Format and place of an exported file follow from what the user says, or the user is told what would do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.errors import ExportRefused, StoreProblem
from orchestrator.export.place import choose_format, choose_place, parts_of


@pytest.mark.parametrize(
    ("name", "output", "expected"),
    [
        (None, None, "safetensors"),
        (None, "net.onnx", "onnx"),
        (None, "net.safetensors.zst", "artefact"),
        (None, "folder", "safetensors"),
        ("torch", "net.bin", "torch"),
        ("torch", "folder", "torch"),
        ("artefact", None, "artefact"),
    ],
)
def test_the_format_is_as_named_or_as_the_suffix_says(name: str | None, output: str | None, expected: str) -> None:
    assert choose_format(name, None if output is None else Path(output)).name == expected


@pytest.mark.parametrize(
    ("name", "output", "message"),
    [
        ("onxx", None, "no format 'onxx'; known: safetensors, artefact, torch, onnx. Did you mean 'onnx'"),
        (None, "net.bin", r"net.bin: its suffix tells no format; give --format, or one of .safetensors, "),
        ("torch", "net.onnx", "would hold the format torch under the suffix of onnx; name it .pt2"),
    ],
)
def test_a_format_that_is_not_clear_is_refused(name: str | None, output: str | None, message: str) -> None:
    with pytest.raises(ExportRefused, match=message):
        choose_format(name, None if output is None else Path(output))


def test_a_folder_is_one_that_exists_or_has_no_suffix(tmp_path: Path) -> None:
    dotted = tmp_path / "v1.0"
    dotted.mkdir()
    assert choose_place(None, "a.pt2", force=False)[0] == Path("a.pt2")
    assert choose_place(tmp_path / "new", "a.pt2", force=False)[0] == tmp_path / "new/a.pt2"
    assert choose_place(dotted, "a.pt2", force=False)[0] == dotted / "a.pt2"
    assert choose_format(None, dotted).name == "safetensors"
    file = tmp_path / "b.pt2"
    assert choose_place(file, "a.pt2", force=False) == (file, tmp_path / "b.pt2.json")


def test_a_folder_where_the_file_would_go_is_refused_even_by_force(tmp_path: Path) -> None:
    (tmp_path / "a.pt2").mkdir()
    with pytest.raises(ExportRefused, match=r"a.pt2: is a folder; give --output another name"):
        choose_place(tmp_path, "a.pt2", force=True)


def test_files_appear_together_when_the_block_ends_well_and_not_otherwise(tmp_path: Path) -> None:
    wanted = (tmp_path / "new/one", tmp_path / "new/two")
    with parts_of(*wanted) as parts:
        for part in parts:
            part.write_text(part.name)
        assert not any(path.exists() for path in wanted)
    assert sorted(tmp_path.rglob("*")) == sorted([tmp_path / "new", *wanted])
    wanted[0].write_text("earlier")
    with pytest.raises(KeyError):
        _interrupted(*wanted)
    assert wanted[0].read_text() == "earlier"
    assert len(list((tmp_path / "new").iterdir())) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreProblem, match=r"net.pt2: Permission denied; choose another place with --output"):
        _write(tmp_path / "net.pt2")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreProblem, match=r"file/net.pt2: .*; choose another place with --output"):
        _write(tmp_path / "file" / "net.pt2")


def _interrupted(*paths: Path) -> None:
    with parts_of(*paths) as parts:
        parts[0].write_text("later")
        raise KeyError


def _write(path: Path) -> None:
    with parts_of(path) as (part,):
        part.write_text("x")
