"""Screenshots that are worth looking at."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Page


def shoot(page: Page, path: Path) -> None:
    """Store what is seen, and fail on an empty page: one in which nearly every point has the same colour."""
    picture = page.screenshot(path=path)
    grey = Image.open(io.BytesIO(picture)).convert("L")
    histogram = grey.histogram()
    most = max(histogram)
    assert most < 0.995 * sum(histogram), f"{path}: nothing is seen"
