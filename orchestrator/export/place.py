"""Where an exported file goes, and how it gets there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from methods.export import FORMATS, Format, format_of
from methods.registry import did_you_mean
from orchestrator.errors import ExportRefused, StoreProblem


def choose_format(name: str | None, output: Path | None) -> Format:
    """The format that is named, else that of the output's suffix, else the first there is.

    Raises:
        ExportRefused: There is no such format, the suffix tells none, or name and suffix contradict each other.
    """
    if name is not None and name not in FORMATS:
        raise ExportRefused(
            f"--format: no format '{name}'; known: {', '.join(FORMATS)}.{did_you_mean(name, tuple(FORMATS))}"
        )
    suffixed = None if output is None or _is_folder(output) else format_of(output.name)
    if name is not None:
        if suffixed is not None and suffixed.name != name:
            raise ExportRefused(
                f"{output}: would hold the format {name} under the suffix of {suffixed.name}; "
                f"name it {FORMATS[name].suffix} or leave --format out"
            )
        return FORMATS[name]
    if output is None or _is_folder(output):
        return next(iter(FORMATS.values()))
    if suffixed is None:
        known = ", ".join(made.suffix for made in FORMATS.values())
        raise ExportRefused(f"{output}: its suffix tells no format; give --format, or one of {known}")
    return suffixed


def choose_place(output: Path | None, default_name: str, *, force: bool) -> tuple[Path, Path]:
    """The file to write and the description beside it.

    Args:
        output: A file, a folder (one that exists, or a name without suffix), or None for the current folder.
        default_name: Of the file, where `output` does not give one.
        force: Whether what lies there may be replaced.

    Raises:
        ExportRefused: One of the two is there already.
    """
    path = (output or Path()) / default_name if output is None or _is_folder(output) else output
    description = path.with_name(f"{path.name}.json")
    for there in (path, description):
        if there.is_dir():
            raise ExportRefused(f"{there}: is a folder; give --output another name")
        if there.exists() and not force:
            raise ExportRefused(f"{there}: is there already; give --force to replace it, or --output another place")
    return path, description


@contextmanager
def parts_of(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Paths to write to inside; when the block ends well, each becomes the path it stands for, else all are deleted.

    The last one moves last: where it is, the others are. The folders are made if need be.

    Raises:
        StoreProblem: The place cannot be written.
    """
    parts = tuple(path.with_name(f".part-{os.getpid()}-{path.name}") for path in paths)
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield parts
        for part, path in zip(parts, paths, strict=True):
            os.replace(part, path)
    except OSError as error:
        raise StoreProblem(f"{paths[-1]}: {error.strerror or error}; choose another place with --output") from error
    finally:
        for part in parts:
            with suppress(OSError):
                part.unlink()


def _is_folder(output: Path) -> bool:
    return output.is_dir() or not output.suffix
