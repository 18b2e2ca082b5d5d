"""Whether a score is within the tolerance of the dense one, ties included: one rule for every choice that asks."""

from __future__ import annotations

SLACK = 1e-9
"""Scores are means of shares of samples: 0.97 - 0.01 and 0.96 are equal and differ in the last digit."""


def within(score: float, reference: float, tolerance: float) -> bool:
    """Whether `score` is at most `tolerance` below `reference`."""
    return score >= reference - tolerance - SLACK
