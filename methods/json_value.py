"""The type of values that survive JSON."""

from __future__ import annotations

from typing import Any

Json = Any
"""None, bool, int, float, str, or lists and dicts of these; PyYAML and pydantic check what comes from outside."""
