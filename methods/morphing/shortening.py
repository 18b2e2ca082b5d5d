"""Residual networks with some blocks left out. Imports no torch. Ours: see the extension to depth of `metamorphic`.

A block adds to what it reads, so without it what it reads is handed on. What it reads comes out of a ReLU, so the ReLU
behind the sum does nothing then and goes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from methods.morphing.parts import Part
from methods.networks.architecture import Architecture


def without_blocks(architecture: Architecture, left_out: Sequence[Part]) -> Architecture:
    """The architecture without these residual blocks.

    Raises:
        ValueError: A part is no block that can be left out: it changes the shape of what it adds to.
    """
    nodes = {node.name: node for node in architecture.nodes}
    handed_on: dict[str, str] = {}
    for part in left_out:
        if part.total is None:
            raise ValueError(
                f"block {part.block} of stage {part.stage} changes the shape of what it reads, so it cannot be left out"
            )
        read = nodes[part.layers[0].name].inputs[0]
        handed_on[part.total] = read
        for node in architecture.nodes:
            if node.op == "relu" and node.inputs == (part.total,) and nodes[read].op == "relu":
                handed_on[node.name] = read

    def source(name: str) -> str:
        while name in handed_on:
            name = handed_on[name]
        return name

    rewired = [replace(node, inputs=tuple(source(name) for name in node.inputs)) for node in architecture.nodes]
    needed = {rewired[-1].name}
    for node in reversed(rewired):
        if node.name in needed:
            needed.update(node.inputs)
    return Architecture(tuple(node for node in rewired if node.name in needed), architecture.input_shape)
