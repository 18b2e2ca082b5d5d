"""The order in which blocks of a ResNet-56 come to be generated, and how wide they are inside.

Source: Sommariva et al., "How to Train Your Metamorphic Deep Neural Network", 2025, arXiv 2505.05510, and its public
code.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from methods.morphing.parts import morphing_parts
from methods.networks.catalog import design_network


@dataclass(frozen=True)
class GrowthStep:
    """The block that a step of training adds to the generated ones."""

    stage: int
    """From 1."""
    block: int
    """Within the stage, from 0; block 0 is never generated."""


def inner_width(h: int, stage_width: int, full: int = 64) -> int:
    """The channels inside a block of a stage at requested width `h`: h / full of the stage's, rounded half to even.

    Args:
        h: Requested width, 1 or above; above `full` the block is wider than in training.
        stage_width: Channels of the stage.
        full: The width at which a block is as wide as its stage.

    Raises:
        ValueError: A width below 1, or one that leaves the block no channel.
    """
    if min(h, stage_width, full) < 1:
        raise ValueError(f"inner_width: width {h} of {full} in a stage of {stage_width}; give widths of 1 or above")
    width = round(Fraction(h, full) * stage_width)
    if width < 1:
        raise ValueError(
            f"inner_width: width {h} of {full} leaves a stage of {stage_width} channels none; give "
            f"{full // (2 * stage_width) + 1} or above"
        )
    return width


def growth_order() -> list[GrowthStep]:
    """Blocks of a ResNet-56 in the order of training: stage by stage, from its second block on, 23 in all.

    Of any network they are `methods.morphing.parts.morphing_parts`.
    """
    network = design_network("resnet56", input_shape=(3, 32, 32), num_outputs=100)
    return [GrowthStep(part.stage, part.block) for part in morphing_parts(network)]
