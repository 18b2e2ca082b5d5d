"""From a `DataSpec` to samples: checks the spec, then asks the source that it names."""

from __future__ import annotations

from pathlib import Path

from methods.data.bundled import fingerprint_bundled, load_bundled
from methods.data.catalog import check_data, resolve_path
from methods.data.dataset import DataError, DataSet
from methods.data.image_folder import ImageFolder
from methods.data.image_sets import ImageSource, fingerprint_images, load_images
from methods.data.parquet_images import ParquetImages
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
    source = _image_source(spec)
    if source is None:
        return load_bundled(spec.source, test_share=test_share)
    return load_images(source, test_share=test_share, max_undecodable=spec.max_undecodable, cache_dir=cache_dir)


def fingerprint(spec: DataSpec, *, test_share: float, cache_dir: Path | None = None) -> str:
    """`load_dataset(...).fingerprint` without decoding anything; files not changed since are not read again.

    Raises:
        DataError: The samples are missing, or the cache cannot be written.
    """
    source = _image_source(spec)
    if source is None:
        return fingerprint_bundled(spec.source, test_share=test_share)
    return fingerprint_images(source, test_share=test_share, cache_dir=cache_dir)


def _image_source(spec: DataSpec) -> ImageSource | None:
    """The images that `spec` names; None for a bundled set."""
    faults = check_data(spec)
    if faults:
        raise DataError("\n".join(faults))
    if spec.path is None:
        return None
    root = resolve_path(spec.path)
    return ParquetImages(root) if spec.source == "parquet_images" else ImageFolder(root)
