"""A network whose width, and depth, is chosen when it is made: what all widths share, and how one is put together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.morphing.parts import Part, units_at
from methods.morphing.shortening import without_blocks
from methods.morphing.tensors import as_layers
from methods.networks.graph import Network
from methods.networks.resizing import with_units
from methods.networks.restore import restore


@torch.no_grad()
def assembled(
    skeleton: Network,
    parts: Sequence[Part],
    tensors: Sequence[Tensor],
    *,
    width: float,
    gates: Tensor | None = None,
    left_out: Sequence[Part] = (),
) -> Network:
    """An ordinary network in evaluation mode: the skeleton's own weights, and these where it morphs.

    Args:
        skeleton: Of full width, without batch normalisation; left alone.
        parts: That morph.
        tensors: Of these parts at that width, in the order of `tensor_shapes`.
        width: Share of the full one.
        gates: One for each part, folded into its last layer, where a factor on a layer's output belongs; None: all 1.
        left_out: Blocks that the network does without.
    """
    resized = with_units(skeleton.architecture, units_at(parts, width))
    architecture = without_blocks(resized, left_out)
    state = {name: value.clone() for name, value in skeleton.state_dict().items()}
    for name, (weight, bias) in as_layers(parts, tensors, gates).items():
        assert bias is not None
        state |= {f"nodes.{name}.weight": weight.clone(), f"nodes.{name}.bias": bias.clone()}
    names = {node.name for node in architecture.nodes}
    kept = {name: value for name, value in state.items() if name.split(".")[1] in names}
    return restore(architecture, kept, like=skeleton).eval()
