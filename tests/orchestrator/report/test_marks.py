"""Colours and shapes of methods: stable, and told apart by everyone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from orchestrator.report.marks import DARK, LIGHT, marks_of

# Viénot, Brettel and Mollon (1999): what is left of linear RGB without long- or medium-wave cones.
PROTANOPIA = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])
DEUTERANOPIA = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])


def _linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def _luminance(colour: str) -> float:
    return float(_linear(colour) @ [0.2126, 0.7152, 0.0722])


def _lab(linear: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    scaled = to_xyz @ linear.clip(0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize(("colours", "paper"), [(LIGHT, "#ffffff"), (DARK, "#14171b")])
def test_colours_stand_out_from_the_page(colours: tuple[str, ...], paper: str) -> None:
    for colour in colours:
        bright, dim = sorted([_luminance(colour), _luminance(paper)], reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 3, colour


@pytest.mark.parametrize("colours", [LIGHT, DARK])
@pytest.mark.parametrize("sight", [np.eye(3), PROTANOPIA, DEUTERANOPIA])
def test_any_two_colours_differ_for_the_colour_blind(colours: tuple[str, ...], sight: np.ndarray) -> None:
    for one, other in itertools.combinations(colours, 2):
        difference = np.linalg.norm(_lab(sight @ _linear(one)) - _lab(sight @ _linear(other)))
        # 2.3 is what a trained eye just sees.
        assert difference > 15, (one, other)


def test_marks_depend_on_the_sorted_names_alone_and_none_is_used_twice() -> None:
    names = [f"method_{letter}" for letter in "abcdefghijklmnop"]
    marks = marks_of(names)
    assert marks == marks_of(reversed(names))
    assert len({(mark.slot, mark.matplotlib) for mark in marks.values()}) == len(names)
