"""From a point of the unit cube to hidden widths of a given total size. Pure numbers."""

from __future__ import annotations

from collections.abc import Sequence

from methods.networks.dense_head import parameter_count

LEAST = 0.02
"""Proportion that a coordinate of 0 stands for: no layer vanishes beside the others."""
_BISECTIONS = 40


def widths_at(position: Sequence[float], full: Sequence[int], *, most_parameters: int) -> list[int]:
    """Hidden widths in the proportions of `position`, as wide as the budget of parameters allows.

    Args:
        position: One number in [0, 1] per hidden layer.
        full: Inputs, hidden layers at full width (which none exceeds), outputs.
        most_parameters: Of the head; where even one unit per layer is more, that is returned.
    """
    shares = [LEAST + (1 - LEAST) * value for value in position]

    def hidden(scale: float) -> list[int]:
        pairs = zip(shares, full[1:-1], strict=True)
        # The least bit more, as 1 / share * share may fall short of 1.
        return [min(width, max(1, int(scale * share * width + 1e-9))) for share, width in pairs]

    low, high = 0.0, 1 / min(shares)
    if parameter_count([full[0], *hidden(high), full[-1]]) <= most_parameters:
        return hidden(high)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        fits = parameter_count([full[0], *hidden(middle), full[-1]]) <= most_parameters
        low, high = (middle, high) if fits else (low, middle)
    return hidden(low)
