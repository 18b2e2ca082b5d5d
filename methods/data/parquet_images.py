"""Image sets as public hubs publish them: Parquet files with a column of encoded images and one of integer labels.

Files are named `train-00000-of-00004.parquet` (any suffix after the split's name will do) and lie in the folder itself
or in `data/` below it. Validation files join the training pool; test files are the official test split.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from methods.data.dataset import DataError
from methods.data.decoding import EncodedImage

_SPLIT_FILE = re.compile(r"(train|validation|valid|val|test)([-_.].*)?\.parquet")
_SHARD = re.compile(r"-(\d+)-of-(\d+)")
_LABEL_NAMES = ("label", "fine_label")
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class ParquetImages:
    """The images of the Parquet files in `root`."""

    root: Path

    @property
    def files(self) -> tuple[Path, ...]:
        return (*self._pool, *self._test)

    @property
    def has_test(self) -> bool:
        return bool(self._test)

    def count(self) -> int:
        total = 0
        for path in self.files:
            with _opened(path) as file:
                total += file.metadata.num_rows
        return total

    def images(self) -> Iterator[EncodedImage]:
        image, label = self._columns
        for path in self.files:
            yield from self._images_of(path, image, label)

    def class_names(self) -> tuple[str, ...]:
        """From the hub's description of the label column in the metadata of the schema; empty where there is none."""
        with _opened(self._pool[0]) as file:
            metadata = file.schema_arrow.metadata or {}
        try:
            features = json.loads(metadata[b"huggingface"])["info"]["features"]
            names = features[self._columns[1]]["names"]
        except (KeyError, TypeError, ValueError):
            return ()
        return tuple(str(name) for name in names)

    def _images_of(self, path: Path, image: str, label: str) -> Iterator[EncodedImage]:
        name = path.relative_to(self.root).as_posix()
        row = 0
        with _opened(path) as file:
            missing = [column for column in (image, label) if column not in file.schema_arrow.names]
            if missing:
                raise DataError(f"{path} has no column '{missing[0]}', unlike {self.files[0].name}; replace the file.")
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[image, label]):
                contents = batch[image]
                if pa.types.is_struct(contents.type):
                    contents = contents.flatten()[contents.type.get_field_index("bytes")]
                for content, target in zip(contents.to_pylist(), batch[label].to_pylist(), strict=True):
                    if target is None:
                        raise DataError(f"{path}: row {row} has no {label}; remove such rows or label them.")
                    yield EncodedImage(f"{name} row {row}", content, target, path in self._test)
                    row += 1

    @cached_property
    def _columns(self) -> tuple[str, str]:
        """Names of the image and the label column, as the first file has them."""
        path = self.files[0]
        with _opened(path) as file:
            fields = list(file.schema_arrow)
        images = [field.name for field in fields if _holds_images(field.type)]
        integers = [field.name for field in fields if pa.types.is_integer(field.type)]
        labels = [name for name in _LABEL_NAMES if name in integers][:1] or integers
        for role, found, kind in (("image", images, "struct with binary `bytes`"), ("label", labels, "integer")):
            if len(found) != 1:
                listed = ", ".join(f"{field.name}: {field.type}" for field in fields)
                told = f"{len(found)} could be it ({', '.join(found)})" if found else f"no column is a {kind}"
                raise DataError(f"{path}: cannot tell the {role} column: {told}. Columns: {listed}. Keep one.")
        return images[0], labels[0]

    @property
    def _pool(self) -> tuple[Path, ...]:
        return self._parts[0]

    @property
    def _test(self) -> tuple[Path, ...]:
        return self._parts[1]

    @cached_property
    def _parts(self) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
        """Files of the pool (training, then validation) and of the test."""
        for folder in (self.root, self.root / "data"):
            by_split: dict[str, list[Path]] = {}
            for path in sorted(folder.glob("*.parquet")):
                if split := _SPLIT_FILE.fullmatch(path.name):
                    by_split.setdefault(split.group(1), []).append(path)
            if "train" in by_split:
                for paths in by_split.values():
                    _refuse_missing_shards(paths)
                validation = [path for name in ("validation", "valid", "val") for path in by_split.get(name, [])]
                return (*by_split["train"], *validation), tuple(by_split.get("test", ()))
        found = [path.relative_to(self.root).as_posix() for path in sorted(self.root.rglob("*.parquet"))[:3]]
        told = f"there is {', '.join(found)}; give the folder of these files" if found else "there is no Parquet file"
        raise DataError(f"{self.root}: expected train-*.parquet here or in data/; {told}.")


def _holds_images(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and _is_binary(kind.field(at).type)
    return _is_binary(kind)


def _is_binary(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _refuse_missing_shards(paths: list[Path]) -> None:
    shards = [found for path in paths if (found := _SHARD.search(path.name))]
    present = {int(shard.group(1)) for shard in shards}
    missing = sorted(set(range(max((int(shard.group(2)) for shard in shards), default=0))) - present)
    if missing:
        last = shards[0].group(2)
        wanted = ", ".join(f"{number:05d}-of-{last}" for number in missing[:5])
        raise DataError(f"{paths[0].parent}: the set lies in {last} files and {wanted} is missing; download it again.")


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is no complete Parquet file ({error}); download it again.") from error
