"""HTML and SVG that cannot be broken by what it shows: every plain string is escaped on its way in."""

from __future__ import annotations

from html import escape

_VOID = frozenset({"meta", "br", "use"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str | float) -> Markup:
    """One element with its children; plain strings are escaped, Markup is taken as it is.

    Attribute names lose a trailing underscore (`class_`) and turn the others into hyphens (`stroke_width`).
    """
    shown = "".join(f' {_attribute(name)}="{escape(_number(value))}"' for name, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{shown}>")
    return Markup(f"<{tag}{shown}>{joined(*children)}</{tag}>")


def joined(*parts: str) -> Markup:
    """Several parts one after the other; plain strings are escaped."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def _attribute(name: str) -> str:
    # `viewBox` and its like keep their capitals: SVG inside HTML is the one place where they matter.
    return name.rstrip("_").replace("_", "-")


def _number(value: str | float) -> str:
    """Floats are positions in a picture, where a hundredth of a unit is invisible."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
