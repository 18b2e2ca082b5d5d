"""A picture as narrow as a note can show it: MLflow cuts off what is wider than its page, and heeds no width."""

from __future__ import annotations

import io

from PIL import Image


def narrowed(png: bytes, *, width: int) -> bytes:
    """The same PNG at most `width` pixels wide."""
    picture = Image.open(io.BytesIO(png))
    if picture.width <= width:
        return png
    data = io.BytesIO()
    smaller = picture.convert("RGB").resize((width, round(picture.height * width / picture.width)))
    smaller.save(data, format="PNG", optimize=True)
    return data.getvalue()
