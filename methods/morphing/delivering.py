"""How a network of some width is called and described, whichever method made it. Imports no torch."""

from __future__ import annotations

from methods.json_value import Json


def width_label(width: float) -> str:
    """Of a variant, e.g. `width_0.5`."""
    return f"width_{width:g}"


def width_settings(width: float, *, trained: tuple[float, float] | None) -> dict[str, Json]:
    """What sets a network of that width apart: `width`, `compression_ratio` (gamma = 1 - width, which is not the share
    of parameters saved), and whether training saw such a width.

    Args:
        width: Share of the full width of what morphs.
        trained: The range of widths that one training served; None: the network was not made for a range.
    """
    settings: dict[str, Json] = {"width": width, "compression_ratio": round(1 - width, 6)}
    if trained is not None:
        low, high = trained
        settings |= {"seen": low <= width <= high, "lowest_width": low, "highest_width": high}
    return settings
