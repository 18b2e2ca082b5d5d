"""Notes that are kept up to date until somebody edits them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from orchestrator.tracking.pages import NOTE_TAG

_WRITTEN_TAG = "mlflow.note.written"
"""Digest of the note that was written here last; MLflow shows no tag whose name begins like this."""


def note_tags(note: str, *, there: Mapping[str, str]) -> dict[str, str]:
    """Tags that put a note on an experiment or a run.

    Args:
        note: What it should say by now.
        there: Tags it has.

    Returns:
        Empty when its note is somebody else's: it stays.
    """
    present = there.get(NOTE_TAG)
    if present is not None and there.get(_WRITTEN_TAG) != _digest(present):
        return {}
    return {NOTE_TAG: note, _WRITTEN_TAG: _digest(note)}


def _digest(note: str) -> str:
    return hashlib.sha256(note.encode()).hexdigest()
