"""A trained generator with all that its networks share: draws an ordinary network of any width and depth.

Leaving out blocks is ours: of a stage those go first that add least, measured on training images at full width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from methods.blob import compress, decompress, pack, unpack
from methods.contract import DrawnNetwork, UnsupportedWidth
from methods.metamorphic.config import MetamorphicConfig
from methods.metamorphic.weight_source import GeneratedWeights
from methods.morphing.config import WIDEST
from methods.morphing.delivering import width_settings
from methods.morphing.morph import assembled
from methods.morphing.parts import Part, morphing_parts, most_left_out, stage_blocks
from methods.networks.architecture import Architecture
from methods.networks.graph import Network

_FORMAT = "paredown-generator-1"
_LEVEL = 3
"""Of compression: trained weights hardly shrink, and there may be hundreds of millions of them."""


@dataclass(frozen=True)
class MetamorphicGenerator:
    """See `methods.contract.NetworkGenerator`. Equal requests give equal networks: the noise is drawn from the seed."""

    skeleton: Network
    config: MetamorphicConfig
    source: GeneratedWeights
    gates: Tensor | None
    """One for each morphing part."""
    importance: Tensor
    """Of each morphing part: the mean norm of what it adds, gate included."""
    seed: int
    orders: tuple[tuple[int, ...] | None, ...] = ()
    """In which the channels of the trained network were put before it was learned, see `Smoothed`; empty: as they were.
    Channel j of a layer is channel `orders[g][j]` of the trained network's."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """All that morphs."""
        return morphing_parts(self.skeleton.architecture, blocks=self.config.blocks)

    @property
    def parameters(self) -> int:
        """Of all tensors' generators, the gates, and the weights that all networks share."""
        generated = {f"nodes.{layer.name}" for part in self.parts for layer in part.layers}
        shared = sum(
            value.numel()
            for name, value in self.skeleton.named_parameters()
            if name.rpartition(".")[0] not in generated
        )
        own = sum(value.numel() for value in self.source.parameters())
        return own + shared + (0 if self.gates is None else self.gates.numel())

    @property
    def trained_widths(self) -> tuple[float, float]:
        """The range that training drew from."""
        return self.config.lowest_width, self.config.highest_width

    @property
    def blocks(self) -> tuple[int, ...]:
        """Of each stage, in a generator trained with blocks left out; else empty."""
        if not self.config.drop_probability or not any(part.total for part in self.parts):
            return ()
        return tuple(stage_blocks(self.skeleton.architecture).values())

    @property
    def least_blocks(self) -> tuple[int, ...]:
        """Of each stage, as far as training left any out."""
        most = most_left_out(self.skeleton.architecture)
        return tuple(
            count - min(most[stage], sum(part.stage == stage and part.total is not None for part in self.parts))
            for stage, count in enumerate(self.blocks, start=1)
        )

    @torch.no_grad()
    def draw(self, width: float, *, depth: Sequence[int] | None = None) -> DrawnNetwork:
        """See `methods.contract.NetworkGenerator`.

        Raises:
            UnsupportedWidth: A layer would have no unit, the width is above twice the full one, or so many blocks
                cannot be left out.
        """
        if not 0 < width <= WIDEST:
            raise UnsupportedWidth(
                f"width {width:g}: give a share of the full width above 0 and at most {WIDEST:g}; training saw "
                f"{self.config.lowest_width:g} to {self.config.highest_width:g}"
            )
        left_out = self._left_out(depth)
        # On the CPU, whatever computes the weights, so that every device draws the same noise.
        generator = torch.Generator().manual_seed(self.seed)
        try:
            (tensors,) = self.source.tensors([width], generator=generator, draws=self.config.draws)
        except ValueError as error:
            raise UnsupportedWidth(str(error)) from error
        network = assembled(
            self.skeleton, self.parts, tensors, width=width, gates=self.gates, left_out=left_out
        ).requires_grad_(True)
        settings = width_settings(width, trained=self.trained_widths) | {"generator_parameters": self.parameters}
        notes: tuple[str, ...] = ()
        if not self.config.lowest_width <= width <= self.config.highest_width:
            notes = (
                f"width {width:g} was not trained: training saw {self.config.lowest_width:g} to "
                f"{self.config.highest_width:g}, and accuracy falls away from there",
            )
        if depth is not None:
            settings |= {"depth": "-".join(map(str, depth))}
        return DrawnNetwork(network.cpu(), settings, notes)

    def save(self) -> bytes:
        """All of it, read by `load_generator`."""
        head: dict[str, Any] = {
            "format": _FORMAT,
            "architecture": self.skeleton.architecture.to_json(),
            "config": self.config.model_dump(mode="json"),
            "seed": self.seed,
            "orders": self.orders,
        }
        tensors = {f"skeleton.{name}": value for name, value in self.skeleton.state_dict().items()}
        tensors |= {f"networks.{name}": value for name, value in self.source.networks.state_dict().items()}
        tensors["importance"] = self.importance
        if self.gates is not None:
            tensors["gates"] = self.gates
        stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        return compress(pack(stored, head), level=_LEVEL)

    def _left_out(self, depth: Sequence[int] | None) -> list[Part]:
        if depth is None:
            return []
        blocks = self.blocks
        if not blocks:
            raise UnsupportedWidth(
                "its depth is fixed: no blocks were left out in training; leave the depth out, or train with "
                "drop_probability"
            )
        droppable = [
            [(float(self.importance[index]), part) for index, part in enumerate(self.parts) if part.stage == stage]
            for stage in range(1, len(blocks) + 1)
        ]
        droppable = [[pair for pair in stage if pair[1].total is not None] for stage in droppable]
        least = self.least_blocks
        fits = len(depth) == len(blocks) and all(
            low <= asked <= high for low, asked, high in zip(least, depth, blocks, strict=False)
        )
        if not fits:
            raise UnsupportedWidth(
                f"depth {list(depth)}: give one number of blocks for each of the {len(blocks)} stages, from "
                f"{list(least)} to {list(blocks)}"
            )
        chosen: list[Part] = []
        for asked, count, stage in zip(depth, blocks, droppable, strict=True):
            stage.sort(key=lambda pair: pair[0])
            chosen += [part for _, part in stage[: count - asked]]
        return chosen


def load_generator(data: bytes) -> MetamorphicGenerator:
    """Read what `MetamorphicGenerator.save` wrote, onto the CPU.

    Raises:
        ValueError: The bytes are damaged or foreign, or their parts do not belong together.
    """
    tensors, head = unpack(decompress(data))
    if head.get("format") != _FORMAT:
        raise ValueError(f"a generator of format {head.get('format')!r}; this version reads {_FORMAT!r}")
    config = MetamorphicConfig(**head["config"])
    skeleton = Network(Architecture.from_json(head["architecture"])).eval()
    parts = morphing_parts(skeleton.architecture, blocks=config.blocks)
    source = GeneratedWeights(parts, config=config, seed=int(head["seed"]))
    try:
        skeleton.load_state_dict(_under("skeleton.", tensors))
        source.restore(_under("networks.", tensors))
    except RuntimeError as error:
        raise ValueError(f"the generator does not belong to its network: {error}") from error
    return MetamorphicGenerator(
        skeleton=skeleton,
        config=config,
        source=source,
        gates=tensors.get("gates"),
        importance=tensors["importance"],
        seed=int(head["seed"]),
        # Generators written before orders were kept have none.
        orders=tuple(None if order is None else tuple(order) for order in head.get("orders", ())),
    )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
