"""Tables as users have them, for tests: text and numbers, gaps, categories; written as CSV, TSV or Parquet."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from methods.data.dataset import DataSet
from methods.data.load import fingerprint, load_dataset
from methods.task_spec import DataSpec

Columns = Mapping[str, Sequence[Any]]


def passengers(count: int = 120, *, seed: int = 0) -> dict[str, list[Any]]:
    """Who survived a voyage: a number with gaps, a category with gaps, a truth, and a whole-numbered class."""
    random = np.random.default_rng(seed)
    age = random.uniform(1, 80, count).round(1)
    deck = random.choice(["A", "B", "C"], count)
    crew = random.random(count) < 0.4
    survived = (age + 20 * (deck == "A") + random.normal(scale=8, size=count) < 45).astype(int)
    survived[:4] = [0, 1, 0, 1]
    return {
        "age": [None if i % 11 == 5 else float(value) for i, value in enumerate(age)],
        "deck": [None if i % 13 == 7 else str(value) for i, value in enumerate(deck)],
        "crew": [bool(value) for value in crew],
        "survived": [int(value) for value in survived],
    }


def houses(count: int = 160, *, seed: int = 0) -> dict[str, list[Any]]:
    """Prices, a real-numbered target in thousands, that follow area and district."""
    random = np.random.default_rng(seed)
    area = random.uniform(30, 200, count)
    district = random.choice(["harbour", "hill", "old town"], count)
    price = 2.5 * area + 80 * (district == "hill") + random.normal(scale=15, size=count)
    return {"area": area.round(2).tolist(), "district": district.tolist(), "price": price.round(3).tolist()}


def as_text(columns: Columns, *, separator: str = ",") -> str:
    rows = zip(*columns.values(), strict=True)
    lines = [separator.join("" if value is None else str(value) for value in row) for row in rows]
    return "\n".join([separator.join(columns), *lines]) + "\n"


def write_table(path: Path, columns: Columns) -> Path:
    """Write a table in the format that the file's name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.table(dict(columns)), path)
        return path
    text = as_text(columns, separator="\t" if ".tsv" in path.name else ",").encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def load(path: Path, target: str, *, test_share: float = 0.2, **fields: Any) -> DataSet:
    """The data set, after checking that its fingerprint can be had without loading it."""
    spec = DataSpec(source="table", path=str(path), target=target, **fields)
    cache = path.parent / "cache"
    dataset = load_dataset(spec, test_share=test_share, cache_dir=cache)
    assert dataset.fingerprint == fingerprint(spec, test_share=test_share, cache_dir=cache)
    return dataset
