"""What compositions are called: in file names, and in sentences."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_LONGEST_LABEL = 80
"""Bytes of a file's name, after the run's key."""


def label_of(names: Sequence[str]) -> str:
    """What a composition is called in file names: its classes, and where these must be changed or cut a digest too."""
    kind = "module" if len(names) == 1 else "composed"
    plain = "-".join([kind, *("".join(map(_plain, name)) for name in names)])
    if len(plain) <= _LONGEST_LABEL and "_" not in plain:
        return plain
    return f"{plain[:_LONGEST_LABEL]}-{digest_of(names)}"


def digest_of(texts: Sequence[str]) -> str:
    """Eight letters and figures that tell these texts from others."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:8]


def few(names: Sequence[str]) -> str:
    """The names, or the first few and how many more."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _plain(letter: str) -> str:
    return letter if letter.isascii() and letter.isalnum() else "_"
