"""Where to put ticks on an axis and what to write beside them: round numbers, few enough to be read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

Tick = tuple[float, str]
"""Place, label."""

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PLAIN = (1e-4, 1e5)
"""Magnitudes that are written out; others as powers of ten."""


def linear_ticks(low: float, high: float, *, whole: bool = False) -> list[Tick]:
    """Between four and ten round values, each with its label; all labels have the same number of decimals.

    Args:
        low, high: Ends of the axis, the first below the second.
        whole: Only whole numbers, of which there may then be fewer.
    """
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (5, 2, 1) if span / (power * factor) >= 4)
    if whole:
        step = max(step, 1.0)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    largest = max(abs(low), abs(high))
    if step < _PLAIN[0] or largest >= _PLAIN[1]:
        digits = math.floor(math.log10(largest)) - math.floor(math.log10(step) + 1e-9)
        return [(i * step, in_powers(i * step, digits=digits)) for i in range(first, last + 1)]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(i * step, f"{i * step:.{decimals}f}") for i in range(first, last + 1)]


def log_ticks(low: float, high: float, *, most: int = 12) -> list[float]:
    """1, 2 and 5 times each power of ten within the range; powers alone, or every few, when there would be too many.

    Args:
        low, high: Ends of the axis, above zero.
        most: Ticks that there is room for.
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [
        step * 10.0**decade for decade in decades for step in (1, 2, 5) if low <= step * 10.0**decade <= high * 1.001
    ]
    if len(ticks) <= most:
        return ticks
    powers = [decade for decade in decades if low <= 10.0**decade <= high * 1.001]
    every = math.ceil(len(powers) / most)
    return [10.0**decade for decade in powers if decade % every == 0]


def in_powers(value: float, *, digits: int = 2) -> str:
    """`0`, `10⁻⁶`, `2·10⁻⁶`, `1.5·10⁷`, with at most so many digits behind the point."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return power if mantissa == "1" else f"{mantissa}·{power}"


def short_number(value: float) -> str:
    """Three significant digits at least, as powers of ten where that is shorter."""
    if value and not _PLAIN[0] <= abs(value) < _PLAIN[1]:
        return in_powers(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


@dataclass(frozen=True)
class Scale:
    """One axis of a chart."""

    low: float
    high: float
    log: bool = False
    whole: bool = False
    """Its values are whole numbers, e.g. epochs."""

    def share(self, value: float) -> float:
        """Where a value lies: 0 at the low end, 1 at the high one."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, *, most: int) -> list[Tick]:
        """At most about `most` of them."""
        if not self.log:
            found = linear_ticks(self.low, self.high, whole=self.whole)
            return found if len(found) <= most else found[:: math.ceil(len(found) / most)]
        places = log_ticks(self.low, self.high, most=most)
        if len(places) < 2:
            # Hardly more than one power of ten: round steps say more than a lone power.
            return [(place, label) for place, label in linear_ticks(self.low, self.high) if place > 0]
        if _PLAIN[0] <= places[0] and places[-1] < _PLAIN[1]:
            return [(place, f"{place:g}") for place in places]
        return [(place, in_powers(place)) for place in places]


def scale_of(values: Iterable[float], *, log: bool = False, from_zero: bool = False, room: float = 0.05) -> Scale:
    """A scale that shows all values, with some room at both ends.

    Args:
        values: Finite, and above zero if `log`; none at all give a scale from 0 to 1, or 0.1 to 1 if `log`.
        from_zero: Begin at zero where no value is below it, as the height of a histogram does.
        room: Share of the range to add at either end.
    """
    given = list(values) or ([0.1, 1.0] if log else [0.0, 1.0])
    low, high = min(given), max(given)
    whole = all(value == int(value) for value in given)
    if log:
        factor = max((high / low) ** room, 1.1)
        return Scale(low / factor, high * factor, log=True)
    margin = room * (high - low) or max(abs(high) * room, 0.5 if whole else 1e-12)
    # Nothing is below zero, so no room is needed there.
    bottom = max(low - margin, 0.0) if low >= 0 and not (whole and low == high) else low - margin
    return Scale(0.0 if from_zero and low >= 0 else bottom, high + margin, whole=whole)
