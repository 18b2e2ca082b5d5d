"""Images in a folder per class: `train/<class>/...` with `test/` or `val/`, or plain `<class>/...`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from methods.data.dataset import DataError
from methods.data.decoding import EncodedImage

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
_VALIDATION = ("val", "valid", "validation")


@dataclass(frozen=True)
class ImageFolder:
    """The images below `root`. Classes are numbered in the order of their folders' names.

    `test/` is the official test split; without it `val/` (or `valid/`, `validation/`) is; with both, `val/` joins
    the training pool. Files that do not end like an image and names that start with a dot are passed over.
    """

    root: Path

    @property
    def has_test(self) -> bool:
        return bool(self._test)

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(file for part in (*self._pool, *self._test) for _, file in self._listed[part])

    def count(self) -> int:
        return len(self.files)

    def class_names(self) -> tuple[str, ...]:
        names = tuple(sorted({name for part in self._pool for name, _ in self._listed[part]}))
        if len(names) < 2:
            raise DataError(
                f"{self.root}: a class is a folder of images, and at least two are needed; "
                f"found {', '.join(names) or 'none'}. Expected train/<class>/, or <class>/ without split folders."
            )
        return names

    def images(self) -> Iterator[EncodedImage]:
        label_of = {name: label for label, name in enumerate(self.class_names())}
        for part in (*self._pool, *self._test):
            for name, file in self._listed[part]:
                if name not in label_of:
                    raise DataError(
                        f"{part}: class '{name}' has no folder in training; "
                        f"sort the images into {', '.join(list(label_of)[:5])}, ..."
                    )
                shown = file.relative_to(self.root).as_posix()
                yield EncodedImage(shown, file, label_of[name], part in self._test)

    @cached_property
    def _parts(self) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
        """Folders of the pool and of the test; the root itself where there are no split folders."""
        train, test = self.root / "train", self.root / "test"
        validation = [self.root / name for name in _VALIDATION if (self.root / name).is_dir()]
        if train.is_dir():
            return ((train, *validation), (test,)) if test.is_dir() else ((train,), tuple(validation))
        if test.is_dir() or validation:
            found = test if test.is_dir() else validation[0]
            raise DataError(f"{self.root} holds {found.name}/ but no train/; add the folder train/<class>/.")
        return (self.root,), ()

    @property
    def _pool(self) -> tuple[Path, ...]:
        return self._parts[0]

    @property
    def _test(self) -> tuple[Path, ...]:
        return self._parts[1]

    @cached_property
    def _listed(self) -> dict[Path, list[tuple[str, Path]]]:
        """Class and file of every image of each part, ordered by name."""
        return {part: list(_images_below(part)) for part in (*self._pool, *self._test)}


def _images_below(part: Path) -> Iterator[tuple[str, Path]]:
    for folder in sorted(part.iterdir()):
        if folder.is_dir() and not folder.name.startswith("."):
            # Also below the class: Tiny-ImageNet keeps its images in train/<class>/images/.
            for file in sorted(folder.rglob("*")):
                if file.suffix.lower() in _SUFFIXES and not file.name.startswith("."):
                    yield folder.name, file
