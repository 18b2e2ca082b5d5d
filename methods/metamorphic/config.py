"""Configuration of metamorphic networks. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from methods.config import Range
from methods.morphing.config import GrowthConfig, Width
from methods.training.config import DenseConfig


class MetamorphicConfig(GrowthConfig):
    """Which trained network morphs, what generates its weights, and how that is trained.

    The papers' generators (32 frequencies, hidden 512, 8 layers, noise 1, 100 draws) have two million parameters for
    each tensor and are made for a GPU; the defaults here are for small networks on a CPU (ours). Studies of the papers
    set theirs.
    """

    source: DenseConfig = DenseConfig()
    """How the trained network is made, as for `dense`: where a study sets fields of `dense`, the same ones here make
    both share one run."""
    widths: tuple[Width, ...] = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0, 1.125, 1.25)
    """Delivered, as shares of the full width, in ascending order; those outside the trained range are unseen."""
    depths: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = ()
    """Shares of the blocks that can be left out which networks of full width also delivered keep (ours)."""
    num_frequencies: Annotated[int, Field(ge=0, le=32), Range(4, 16)] = 6
    """Of the encoding, F. Beyond 16, codes hang on the last digits of coordinates."""
    hidden: Annotated[int, Field(ge=1), Range(64, 512, "log")] = 128
    """Units of each layer of a tensor's generator."""
    layers: Annotated[int, Field(ge=1), Range(2, 8)] = 4
    activation: Literal["elu", "relu"] = "elu"
    scale_init: float = 0.1
    """Of the residual layers' scales; 0 in part of Neural Metamorphosis."""
    layout: Literal["a", "b"] = "a"
    """Order of the encoding's entries, for exchange with the public code."""
    noise: Annotated[float, Field(ge=0, le=1), Range(0.0, 1.0)] = 0.25
    """Extent of the uniform noise on coordinates, in steps of an index; the papers' is 1."""
    noise_variant: Literal["met", "neumeta"] = "met"
    """`neumeta`: the noisy index chooses whose network generates a weight, as in that code."""
    list_length: Literal["final", "current"] = "final"
    """What L counts among the coordinates: all tensors from the start (ours), or those grown so far, as published,
    which moves every old coordinate at each growth step."""
    copy_previous: bool = True
    """Whether a block's generators start as copies of those of the block before it in its stage."""
    permute: bool = True
    """Whether channels are first put in the order of a shortest path."""
    prefit_steps: Annotated[int | None, Field(ge=0), Range(0, 4000, only_named=True)] = None
    """Steps on reconstruction alone before a growth step; unset: 500 where no gate holds the new part closed, else
    none, as published. Below the full width the target is the trained network's tensors, interpolated (ours)."""
    prefit_learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """Of Adam, at first; it falls to a tenth along a cosine."""
    draws: Annotated[int, Field(ge=1), Range(1, 100, "log", only_named=True)] = 16
    """K: draws of every delivered weight, of which the mean is taken; 100 in the papers."""

    @model_validator(mode="after")
    def _depths(self) -> MetamorphicConfig:
        if self.depths and not self.drop_probability:
            raise ValueError("depths need blocks left out in training; set drop_probability, e.g. to 0.1, or no depths")
        return self
