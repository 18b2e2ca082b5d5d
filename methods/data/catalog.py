"""Names of the sample sources a study may use and what each expects. Loads neither torch nor scikit-learn."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from methods.data.table_files import check_table_path
from methods.registry import did_you_mean

if TYPE_CHECKING:
    from methods.task_spec import DataSpec

_VARIABLE = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class Source:
    """One place samples can come from."""

    kind: Literal["classification", "regression"] | None
    """None: the samples decide."""
    takes_path: bool
    description: str


_SOURCES = {
    "breast_cancer": Source("classification", False, "569 tumours, 30 features, 2 classes (bundled)"),
    "diabetes": Source("regression", False, "442 patients, 10 features, disease progression (bundled)"),
    "digits": Source("classification", False, "1,797 handwritten digits, 8x8 grey, 10 classes (bundled)"),
    "image_folder": Source("classification", True, "folders of images: train/<class>/, test/<class>/ or <class>/"),
    "iris": Source("classification", False, "150 flowers, 4 features, 3 classes (bundled)"),
    "parquet_images": Source("classification", True, "Parquet files of encoded images, as public hubs publish them"),
    "table": Source(None, True, "CSV or Parquet tables with a target column"),
    "wine": Source("classification", False, "178 wines, 13 features, 3 classes (bundled)"),
}

_OF_TABLES = ("target", "kind", "numeric", "drop")
"""Fields of `DataSpec` that other sources have no use for."""


def source_names() -> tuple[str, ...]:
    """All names `DataSpec.source` accepts, in alphabetical order."""
    return tuple(_SOURCES)


def source(name: str) -> Source:
    """What is known of a source by its name.

    Raises:
        KeyError: No such name; `check_data` says so in words.
    """
    return _SOURCES[name]


def known_kind(spec: DataSpec) -> Literal["classification", "regression"] | None:
    """What `spec` is for certain before samples are read; None where they decide or the source is unknown."""
    found = _SOURCES.get(spec.source)
    return spec.kind or (found.kind if found else None)


def check_data(spec: DataSpec) -> list[str]:
    """Everything wrong with `spec` that can be seen without reading samples, each with its mend; empty when fine.

    Of a table the names of its columns are read.
    """
    if spec.source not in _SOURCES:
        known = source_names()
        return [f"unknown data source '{spec.source}'; known: {', '.join(known)}.{did_you_mean(spec.source, known)}"]
    faults = [*_check_options(spec), *_check_path(spec)]
    if spec.source == "table" and not faults:
        # pyarrow is loaded for tables alone, as most studies have none and are checked in a moment.
        from methods.data.dataset import DataError
        from methods.data.tables import check_columns

        try:
            check_columns(spec, resolve_path(spec.path or ""))
        except DataError as error:
            return [str(error)]
    return faults


def _check_options(spec: DataSpec) -> list[str]:
    if spec.source != "table":
        given = [name for name in _OF_TABLES if getattr(spec, name)]
        return [f"only data source 'table' takes `{name}`, not '{spec.source}'; remove it." for name in given]
    if not spec.target:
        return ["data source 'table' needs `target`, the name of the column to predict."]
    faults = []
    if spec.target in spec.drop:
        faults.append(f"'{spec.target}' is the `target` and in `drop` as well; remove it from one of them.")
    if spec.target in spec.numeric:
        faults.append(f"'{spec.target}' is the `target` and in `numeric`; remove it there and set `kind: regression`.")
    faults += [
        f"'{name}' is in `numeric` and in `drop`; remove it from one."
        for name in sorted({*spec.numeric} & {*spec.drop})
    ]
    return faults


def _check_path(spec: DataSpec) -> list[str]:
    if not _SOURCES[spec.source].takes_path:
        if spec.path is None:
            return []
        return [f"data source '{spec.source}' is bundled and takes no path; remove `path: {spec.path}`."]
    if not spec.path:
        what = "file or folder" if spec.source == "table" else "folder"
        return [f"data source '{spec.source}' needs `path`, the {what} that holds its samples."]
    undefined = [name for name in _VARIABLE.findall(spec.path) if not os.environ.get(name)]
    if undefined:
        return [
            f"path '{spec.path}' uses the environment variable '{name}', which is not set; run `export {name}=...`."
            for name in undefined
        ]
    place = resolve_path(spec.path)
    if spec.source == "table":
        return check_table_path(place)
    if not place.exists():
        return [f"no folder {place}; correct `path` or put the samples there."]
    if not place.is_dir():
        return [f"{place} is a file; `path` must name the folder that holds it."]
    return []


def resolve_path(path: str) -> Path:
    """`path` as an absolute path, with `${NAME}` read from the environment and `~` as the home folder.

    Raises:
        KeyError: A variable is not set; `check_data` says so in words.
    """
    expanded = _VARIABLE.sub(lambda found: os.environ[found.group(1)], path)
    return Path(expanded).expanduser().absolute()
