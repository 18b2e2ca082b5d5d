"""Small image sets on disk, made the way public hubs and users lay them out."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

HUB_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def random_pixels(count: int, *, size: tuple[int, int] = (6, 5), channels: int = 3, seed: int = 0) -> np.ndarray:
    """uint8 (count, H, W, channels), or (count, H, W) for one channel."""
    shape = (count, *size, channels) if channels > 1 else (count, *size)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encode(pixels: np.ndarray, *, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def write_parquet(
    path: Path,
    contents: Sequence[bytes | None],
    labels: Sequence[int | None],
    *,
    image: str = "image",
    label: str = "label",
    names: Sequence[str] | None = None,
    more: dict[str, list[int]] | None = None,
) -> Path:
    """One file with a struct column of encoded images and an integer label column."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": content, "path": None} for content in contents]
    columns = {image: pa.array(rows, HUB_IMAGE), label: pa.array(labels, pa.int64())}
    columns |= {name: pa.array(values, pa.int64()) for name, values in (more or {}).items()}
    table = pa.table(columns)
    if names is not None:
        features = {label: {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=7)
    return path


def write_parquet_set(root: Path, *, per_class: int = 10, classes: int = 3, seed: int = 0) -> np.ndarray:
    """A training file and a test file with the same number of images; returns the training pixels (N, H, W, C)."""
    labels = [index % classes for index in range(per_class * classes)]
    train = random_pixels(len(labels), seed=seed)
    test = random_pixels(len(labels), seed=seed + 1)
    write_parquet(root / "train-00000-of-00001.parquet", [encode(pixels) for pixels in train], labels)
    write_parquet(root / "test-00000-of-00001.parquet", [encode(pixels) for pixels in test], labels)
    return train


def write_folder(root: Path, class_names: Sequence[str], *, count: int, seed: int = 0) -> None:
    """`root/<class>/<n>.png`, `count` of each class."""
    for number, name in enumerate(class_names):
        (root / name).mkdir(parents=True)
        for index, pixels in enumerate(random_pixels(count, seed=seed + number)):
            (root / name / f"{index}.png").write_bytes(encode(pixels))
