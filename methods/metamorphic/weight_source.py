"""The generator as what morphing weights are made from: one small network for each tensor, grown part by part.

Source: Sommariva et al., "How to Train Your Metamorphic Deep Neural Network", 2025, arXiv 2505.05510, and its public
code; Yang and Wang, "Neural Metamorphosis", ECCV 2024, arXiv 2410.11878.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from methods.metamorphic.config import MetamorphicConfig
from methods.metamorphic.generation import Encoding, generate
from methods.metamorphic.generator import CoordinateMLPs, grown
from methods.morphing.parts import Part, widest
from methods.morphing.source import WeightSource
from methods.morphing.tensors import tensor_shapes


class GeneratedWeights(WeightSource):
    """Weights as functions of their coordinates.

    Args:
        parts: All that shall morph.
        config: Everything about the generator.
        seed: Of the initial weights.
        dtype: Of the generator's matrix products, float32 or bfloat16.
    """

    def __init__(
        self, parts: Sequence[Part], *, config: MetamorphicConfig, seed: int, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self._parts = tuple(parts)
        self._config = config
        self._seed = seed
        self._dtype = dtype
        self._served = 0
        self.networks: CoordinateMLPs
        shapes = tensor_shapes(parts, 1.0)
        self._outputs = max(math.prod(shape[2:]) for shape in shapes)
        final = config.list_length == "final"
        self._encoding = Encoding(
            num_frequencies=config.num_frequencies,
            norm=float(widest(parts)),
            noise=config.noise,
            variant=config.noise_variant,
            layout=config.layout,
            list_length=len(shapes) if final else None,
        )

    def grow(self, parts: int) -> None:
        """See `WeightSource`. New generators are copies of those of the block before, where it is of the same stage."""
        device = self.networks.first_weight.device if self._served else torch.device("cpu")
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + parts)
        sources = self._sources(parts)
        if self._served:
            self.networks = grown(self.networks.cpu(), sources, generator=generator).to(device)
        else:
            self.networks = self._new(len(sources))
            self.networks.initialise(generator)
        self._served = parts

    def restore(self, state: dict[str, Tensor]) -> None:
        """Serve all parts with stored weights.

        Raises:
            RuntimeError: They are those of another generator.
        """
        self.networks = self._new(len(tensor_shapes(self._parts, 1.0)))
        self._served = len(self._parts)
        self.networks.load_state_dict(state)

    def tensors(self, widths: Sequence[float], *, generator: torch.Generator, draws: int = 1) -> list[list[Tensor]]:
        """See `WeightSource`."""
        shapes = [tensor_shapes(self._parts[: self._served], width) for width in widths]
        return generate(
            self.networks, shapes, encoding=self._encoding, generator=generator, draws=draws, dtype=self._dtype
        )

    def _new(self, num_tensors: int) -> CoordinateMLPs:
        config = self._config
        return CoordinateMLPs(
            num_tensors=num_tensors,
            num_frequencies=config.num_frequencies,
            hidden=config.hidden,
            layers=config.layers,
            outputs=self._outputs,
            activation=config.activation,
            scale_init=config.scale_init,
        )

    def _sources(self, parts: int) -> list[int | None]:
        """For each new tensor the one whose generator it starts from."""
        sizes = [2 * len(part.layers) for part in self._parts[:parts]]
        first = sum(sizes[: self._served])
        sources: list[int | None] = [None] * (sum(sizes) - first)
        alone = parts == self._served + 1
        if self._config.copy_previous and alone and self._served:
            before, new = self._parts[self._served - 1], self._parts[self._served]
            if before.stage == new.stage and sizes[-2] == sizes[-1]:
                sources = [first - sizes[-2] + index for index in range(sizes[-1])]
        return sources
