"""From a `DataSpec` to samples: checks the spec, then asks the source that it names."""

from __future__ import annotations

from pathlib import Path

from methods.data.bundled import fingerprint_bundled, load_bundled
from methods.data.catalog import check_data, resolve_path
from methods.data.class_selection import fingerprint_classes, keep_classes
from methods.data.dataset import DataError, DataSet
from methods.data.image_folder import ImageFolder
from methods.data.image_sets import ImageSource, fingerprint_images, load_images
from methods.data.image_shape import bring_to_shape, fingerprint_shape
from methods.data.mixture import fingerprint_mixture, mix
from methods.data.parquet_images import ParquetImages
from methods.data.tables import fingerprint_table, load_table
from methods.task_spec import DataSpec


def load_dataset(spec: DataSpec, *, test_share: float, cache_dir: Path | None = None) -> DataSet:
    """All samples that `spec` names.

    Encoded images are decoded once and then memory-mapped from a cache, one physical copy for all processes.

    Args:
        spec: Where the samples come from.
        test_share: Share of every class, in (0, 1), held out for the test where there is no official test split.
        cache_dir: Where decoded images are kept; default: `$PAREDOWN_CACHE`, else `~/.cache/paredown`.

    Raises:
        DataError: The samples are missing, broken or mislabelled, or the cache cannot be written.
    """
    _refuse_faults(spec)
    return _load(spec, test_share=test_share, cache_dir=cache_dir)


def fingerprint(spec: DataSpec, *, test_share: float, cache_dir: Path | None = None) -> str:
    """`load_dataset(...).fingerprint` without decoding anything; files not changed since are not read again.

    Raises:
        DataError: The samples are missing, or the cache cannot be written.
    """
    _refuse_faults(spec)
    return _fingerprint(spec, test_share=test_share, cache_dir=cache_dir)


def _refuse_faults(spec: DataSpec) -> None:
    faults = check_data(spec)
    if faults:
        raise DataError("\n".join(faults))


def _load(spec: DataSpec, *, test_share: float, cache_dir: Path | None) -> DataSet:
    dataset = _load_source(spec, test_share=test_share, cache_dir=cache_dir)
    # Classes first: images that go need not be resized.
    if spec.classes:
        dataset = keep_classes(dataset, spec.classes)
    if spec.image_shape is not None:
        dataset = bring_to_shape(dataset, spec.image_shape)
    return dataset


def _load_source(spec: DataSpec, *, test_share: float, cache_dir: Path | None) -> DataSet:
    """All classes, in the shape the source has them."""
    if spec.source == "mixture":
        parts = [_load(part, test_share=test_share, cache_dir=cache_dir) for part in spec.parts]
        return mix(parts, sources=[part.source for part in spec.parts])
    if spec.path is None:
        return load_bundled(spec.source, test_share=test_share)
    path = resolve_path(spec.path)
    if spec.source == "table":
        return load_table(spec, path, test_share=test_share, cache_dir=cache_dir)
    images = _image_source(spec, path)
    return load_images(images, test_share=test_share, max_undecodable=spec.max_undecodable, cache_dir=cache_dir)


def _fingerprint(spec: DataSpec, *, test_share: float, cache_dir: Path | None) -> str:
    """Step by step what `_load` gives."""
    found = _fingerprint_source(spec, test_share=test_share, cache_dir=cache_dir)
    if spec.classes:
        found = fingerprint_classes(found, spec.classes)
    return found if spec.image_shape is None else fingerprint_shape(found, spec.image_shape)


def _fingerprint_source(spec: DataSpec, *, test_share: float, cache_dir: Path | None) -> str:
    if spec.source == "mixture":
        return fingerprint_mixture(
            [_fingerprint(part, test_share=test_share, cache_dir=cache_dir) for part in spec.parts]
        )
    if spec.path is None:
        return fingerprint_bundled(spec.source, test_share=test_share)
    path = resolve_path(spec.path)
    if spec.source == "table":
        return fingerprint_table(spec, path, test_share=test_share, cache_dir=cache_dir)
    return fingerprint_images(_image_source(spec, path), test_share=test_share, cache_dir=cache_dir)


def _image_source(spec: DataSpec, root: Path) -> ImageSource:
    return ParquetImages(root) if spec.source == "parquet_images" else ImageFolder(root)
