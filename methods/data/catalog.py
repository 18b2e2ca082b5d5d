"""Names of the sample sources a study may use and what each expects. Loads neither torch nor scikit-learn."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from methods.registry import did_you_mean

if TYPE_CHECKING:
    from methods.task_spec import DataSpec

_VARIABLE = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class Source:
    """One place samples can come from."""

    kind: Literal["classification", "regression"]
    takes_path: bool
    description: str


_SOURCES = {
    "breast_cancer": Source("classification", False, "569 tumours, 30 features, 2 classes (bundled)"),
    "diabetes": Source("regression", False, "442 patients, 10 features, disease progression (bundled)"),
    "digits": Source("classification", False, "1,797 handwritten digits, 8x8 grey, 10 classes (bundled)"),
    "image_folder": Source("classification", True, "folders of images: train/<class>/, test/<class>/ or <class>/"),
    "iris": Source("classification", False, "150 flowers, 4 features, 3 classes (bundled)"),
    "parquet_images": Source("classification", True, "Parquet files of encoded images, as public hubs publish them"),
    "wine": Source("classification", False, "178 wines, 13 features, 3 classes (bundled)"),
}


def source_names() -> tuple[str, ...]:
    """All names `DataSpec.source` accepts, in alphabetical order."""
    return tuple(_SOURCES)


def source(name: str) -> Source:
    """What is known of a source by its name.

    Raises:
        KeyError: No such name; `check_data` says so in words.
    """
    return _SOURCES[name]


def check_data(spec: DataSpec) -> list[str]:
    """Everything wrong with `spec` that can be seen without reading samples, each with its mend; empty when fine."""
    if spec.source not in _SOURCES:
        known = source_names()
        return [f"unknown data source '{spec.source}'; known: {', '.join(known)}.{did_you_mean(spec.source, known)}"]
    if not _SOURCES[spec.source].takes_path:
        if spec.path is None:
            return []
        return [f"data source '{spec.source}' is bundled and takes no path; remove `path: {spec.path}`."]
    if not spec.path:
        return [f"data source '{spec.source}' needs `path`, the folder that holds its samples."]
    undefined = [name for name in _VARIABLE.findall(spec.path) if not os.environ.get(name)]
    if undefined:
        return [
            f"path '{spec.path}' uses the environment variable '{name}', which is not set; run `export {name}=...`."
            for name in undefined
        ]
    folder = resolve_path(spec.path)
    if not folder.exists():
        return [f"no folder {folder}; correct `path` or put the samples there."]
    if not folder.is_dir():
        return [f"{folder} is a file; `path` must name the folder that holds it."]
    return []


def resolve_path(path: str) -> Path:
    """`path` as an absolute path, with `${NAME}` read from the environment and `~` as the home folder.

    Raises:
        KeyError: A variable is not set; `check_data` says so in words.
    """
    expanded = _VARIABLE.sub(lambda found: os.environ[found.group(1)], path)
    return Path(expanded).expanduser().absolute()
