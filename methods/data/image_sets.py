"""What all image sets share, however their images are encoded: fingerprint, decode once, cache, lock the test away."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from methods.data.bundled import TEST_SEED
from methods.data.cache import CachedImages, ImageFacts, cached_images
from methods.data.dataset import Array, DataError, DataSet, LockedTest
from methods.data.decoding import DecodedImages, EncodedImage, decode_images
from methods.data.fingerprints import fingerprint_files
from methods.data.known_sets import KnownSet, known_set, recognise
from methods.data.splits import Indices, require_samples, stratified_split


class ImageSource(Protocol):
    """Encoded images of one set. Making one looks at file names alone."""

    @property
    def root(self) -> Path: ...
    @property
    def files(self) -> tuple[Path, ...]:
        """Every file the samples depend on."""
        ...

    @property
    def has_test(self) -> bool:
        """Whether there is an official test split."""
        ...

    def count(self) -> int:
        """Number of images, before any is decoded."""
        ...

    def images(self) -> Iterator[EncodedImage]:
        """All images; those of the test split come last."""
        ...

    def class_names(self) -> tuple[str, ...]:
        """Names the source gives its classes; empty when it gives none."""
        ...


def load_images(
    source: ImageSource, *, test_share: float, max_undecodable: float, cache_dir: Path | None = None
) -> DataSet:
    """The images of `source`, memory-mapped, decoded first where the cache does not hold them.

    Raises:
        DataError: Too many images do not decode, sizes or labels are wrong, a class is nearly empty, or a file is
            damaged.
    """
    fingerprint = fingerprint_images(source, test_share=test_share, cache_dir=cache_dir)

    def build() -> CachedImages:
        return _build(source, test_share=test_share, max_undecodable=max_undecodable)

    cached = cached_images(fingerprint, cache_dir=cache_dir, build=build)
    facts = cached.facts
    # Once more: another study may have cached them under a laxer limit.
    _refuse_undecodable(facts.undecodable, facts.num_encoded, max_undecodable)
    return DataSet(
        name=facts.known_as or source.root.name,
        kind="classification",
        fingerprint=fingerprint,
        class_names=facts.class_names,
        train_inputs=cached.pool_inputs,
        train_targets=cached.pool_targets,
        locked=LockedTest(cached.test_inputs, cached.test_targets),
        normalization=known_set(facts.known_as).normalization if facts.known_as else None,
        undecodable=facts.undecodable,
    )


def fingerprint_images(source: ImageSource, *, test_share: float, cache_dir: Path | None = None) -> str:
    """Hash of the files and, where part of them has to be held out for the test, of how much."""
    content = fingerprint_files(source.root, source.files, cache_dir=cache_dir)
    held_out = "" if source.has_test else f" test_share={test_share!r}"
    return hashlib.sha256(f"images {content}{held_out}".encode()).hexdigest()


def _build(source: ImageSource, *, test_share: float, max_undecodable: float) -> CachedImages:
    count = source.count()
    if count == 0:
        raise DataError(f"{source.root} holds no images; is this the right folder?")
    decoded = decode_images(source.images(), count=count)
    _refuse_undecodable(decoded.undecodable, count, max_undecodable)
    num_pool = int(np.count_nonzero(~decoded.is_test))
    class_names = source.class_names() or _numbered_classes(decoded.targets[:num_pool])
    _check_labels(source, decoded, class_names)
    known: KnownSet | None = None
    # Slices where there is a test split: its images come last, and need not be copied.
    pool: slice | Indices = slice(0, num_pool)
    test: slice | Indices = slice(num_pool, None)
    if source.has_test:
        known = recognise(decoded.inputs[pool], decoded.targets[pool])
    else:
        purpose = f"holding out a test part of {source.root}"
        require_samples(decoded.targets, minimum=3, purpose=purpose, class_names=class_names)
        pool, test = stratified_split(decoded.targets, test_share, seed=TEST_SEED)
    if known is not None and not source.class_names():
        class_names = known.class_names or class_names
    return CachedImages(
        decoded.inputs[pool],
        decoded.targets[pool],
        decoded.inputs[test],
        decoded.targets[test],
        ImageFacts(
            class_names=class_names,
            input_shape=decoded.inputs.shape[1:],
            num_encoded=count,
            undecodable=decoded.undecodable,
            known_as=None if known is None else known.name,
        ),
    )


def _numbered_classes(targets: Array) -> tuple[str, ...]:
    """Names for classes that nobody named: `0` up to the largest label of the training pool."""
    return tuple(str(label) for label in range(int(targets.max(initial=-1)) + 1))


def _check_labels(source: ImageSource, decoded: DecodedImages, class_names: Sequence[str]) -> None:
    """No split may be empty, labels must number the classes from 0, and every class must be trained on."""
    pool, test = decoded.targets[~decoded.is_test], decoded.targets[decoded.is_test]
    for part, targets, expected in (("training", pool, True), ("test", test, source.has_test)):
        if expected and len(targets) == 0:
            raise DataError(f"{source.root}: the {part} split holds no images; is a file missing or empty?")
    wrong = np.unique(decoded.targets[(decoded.targets < 0) | (decoded.targets >= len(class_names))])
    if len(wrong):
        shown = ", ".join(str(label) for label in wrong[:5])
        raise DataError(
            f"{source.root}: labels must lie in 0..{len(class_names) - 1}, found {shown}; "
            "number the classes from 0 without gaps (a split published without labels often has -1; leave it out)."
        )
    require_samples(pool, minimum=2, purpose=f"training on {source.root}", class_names=class_names)


def _refuse_undecodable(names: Sequence[str], count: int, limit: float) -> None:
    share = len(names) / count
    if share <= limit:
        return
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    enough = math.ceil(share * 10_000) / 10_000
    raise DataError(
        f"{len(names)} of {count} images ({share:.2%}) do not decode, more than `max_undecodable: {limit:g}` allows: "
        f"{shown}. Replace them, or set `max_undecodable: {enough:g}` to leave them out."
    )
