"""Which files a table lies in, by their names alone. Reads none of them and loads no pyarrow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from methods.registry import did_you_mean

SEPARATORS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t", ".parquet": None}
"""Every suffix that is read, and what separates the columns of a text file; None: Parquet."""


@dataclass(frozen=True)
class TableFiles:
    """The files of one table."""

    root: Path
    """What the user named: the one file, or the folder of both."""
    train: Path
    """The training pool; all rows where there is no official test split."""
    test: Path | None


def suffix_of(file: Path) -> str | None:
    """The file's suffix in `SEPARATORS`; None for any other."""
    return next((suffix for suffix in SEPARATORS if file.name.lower().endswith(suffix)), None)


def table_files(path: Path) -> TableFiles:
    """The files at a path in which `check_table_path` finds no fault."""
    if path.is_file():
        return TableFiles(path, path, None)
    [train] = _named(path, "train")
    return TableFiles(path, train, next(iter(_named(path, "test")), None))


def check_table_path(path: Path) -> list[str]:
    """Everything wrong with a place where a table should lie, each with its mend; empty when fine."""
    if path.is_file():
        if suffix_of(path) is None:
            return [f"{path} is no table that can be read; give a file that ends in {_known_suffixes()}."]
        return []
    if not path.is_dir():
        siblings = tuple(found.name for found in path.parent.iterdir()) if path.parent.is_dir() else ()
        return [f"no file or folder {path}; correct `path`.{did_you_mean(path.name, siblings)}"]
    faults = []
    for split in ("train", "test"):
        found = _named(path, split)
        if len(found) > 1:
            names = ", ".join(file.name for file in found)
            faults.append(f"{path} holds {names}; keep one file for {split}, or give the file itself as `path`.")
    if not _named(path, "train"):
        there = ", ".join(sorted(file.name for file in path.iterdir())[:5]) or "nothing"
        faults.append(
            f"{path} holds no train file, but {there}; name it train with {_known_suffixes()} at its end "
            "(and the test split test likewise), or give the file itself as `path`."
        )
    return faults


def _named(folder: Path, split: str) -> list[Path]:
    """Files such as `train.csv`."""
    return [folder / f"{split}{suffix}" for suffix in SEPARATORS if (folder / f"{split}{suffix}").is_file()]


def _known_suffixes() -> str:
    *most, last = SEPARATORS
    return f"{', '.join(most)} or {last}"
