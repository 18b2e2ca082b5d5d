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
    images: bool = False
    """Whether its samples are images."""


_SOURCES = {
    "breast_cancer": Source("classification", False, "569 tumours, 30 features, 2 classes (bundled)"),
    "diabetes": Source("regression", False, "442 patients, 10 features, disease progression (bundled)"),
    "digits": Source("classification", False, "1,797 handwritten digits, 8x8 grey, 10 classes (bundled)", images=True),
    "image_folder": Source(
        "classification", True, "folders of images: train/<class>/, test/<class>/ or <class>/", images=True
    ),
    "iris": Source("classification", False, "150 flowers, 4 features, 3 classes (bundled)"),
    "mixture": Source("classification", False, "several sets of images side by side, as `parts`", images=True),
    "parquet_images": Source(
        "classification", True, "Parquet files of encoded images, as public hubs publish them", images=True
    ),
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
    return [f"parts[{place[1]}]: {fault}" if place else fault for place, fault in located_faults(spec)]


def located_faults(spec: DataSpec) -> list[tuple[tuple[str, int] | tuple[()], str]]:
    """The faults of `check_data`, each with its place in `spec`: nothing, or `parts` and the number of one of them."""
    faults = [((), fault) for fault in _check(spec, fewest_classes=2)]
    if spec.source != "mixture":
        return list(faults)
    in_parts = [
        (("parts", number), fault)
        for number, part in enumerate(spec.parts)
        for fault in _check_part(part, spec.parts[:number])
    ]
    return [*faults, *in_parts]


def _check(spec: DataSpec, *, fewest_classes: int) -> list[str]:
    if spec.source not in _SOURCES:
        known = source_names()
        return [f"unknown data source '{spec.source}'; known: {', '.join(known)}.{did_you_mean(spec.source, known)}"]
    faults = [*_check_options(spec), *_check_changes(spec, fewest_classes), *_check_path(spec)]
    if spec.source == "table" and not faults:
        # pyarrow is loaded for tables alone, as most studies have none and are checked in a moment.
        from methods.data.dataset import DataError
        from methods.data.tables import check_columns

        try:
            check_columns(spec, resolve_path(spec.path or ""))
        except DataError as error:
            return [str(error)]
    return faults


def _check_part(part: DataSpec, before: tuple[DataSpec, ...]) -> list[str]:
    """Faults of one part of a mixture; of other parts it may add a single class."""
    if part.source == "mixture":
        return ["a part of a mixture is no mixture itself; write its parts beside the others."]
    if part in before:
        return [f"is the same as parts[{before.index(part)}]; remove one, or give them different `classes`."]
    found = _SOURCES.get(part.source)
    if found is not None and not found.images:
        return [f"a mixture is made of images, and data source '{part.source}' has none; remove it."]
    return _check(part, fewest_classes=1)


def _check_changes(spec: DataSpec, fewest_classes: int) -> list[str]:
    """Faults of what may be done to the samples of a source."""
    faults = []
    if spec.classes and known_kind(spec) == "regression":
        faults.append(f"'{spec.source}' is a regression and has no classes; remove `classes`.")
    elif 0 < len(spec.classes) < fewest_classes:
        faults.append(
            f"`classes` keeps '{spec.classes[0]}' alone; name at least two, as one has nothing to tell apart."
        )
    repeated = sorted({name for name in spec.classes if spec.classes.count(name) > 1})
    faults += [f"class '{name}' is given twice in `classes`; keep one of the two." for name in repeated]
    if spec.image_shape is not None and not _SOURCES[spec.source].images:
        faults.append(f"data source '{spec.source}' has no images; remove `image_shape`.")
    return faults


def _check_options(spec: DataSpec) -> list[str]:
    if spec.source == "mixture":
        if len(spec.parts) < 2:
            return ["data source 'mixture' needs at least two `parts`, each written like the `data` of a task."]
        if spec.max_undecodable:
            return ["of data source 'mixture' each part has a `max_undecodable` of its own; move it there."]
    elif spec.parts:
        return [f"only data source 'mixture' takes `parts`, not '{spec.source}'; remove it."]
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
        if spec.source == "mixture":
            return [f"data source 'mixture' takes no path of its own; move `path: {spec.path}` into its `parts`."]
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
