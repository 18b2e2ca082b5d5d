"""Environment variables in a study's values."""

from __future__ import annotations

import os
import re


def expand_environment(text: str) -> str:
    """`text` with each `${NAME}` replaced by that environment variable.

    Raises:
        ValueError: A variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise ValueError(f"the environment variable {match[1]} is not set; export {match[1]}=...")
        return found

    return re.sub(r"\$\{(\w+)\}", value, text)
