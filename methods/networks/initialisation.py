"""How initial weights are drawn, as data. Imports no torch; `methods.networks.build` draws them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Spread = float | Literal["he", "he_fan_out", "lecun", "framework"]
"""Of the weights of one layer: normal around zero, of this standard deviation or of the variance

- `he`: 2 / fan-in, which keeps the scale of activations through ReLUs;
- `he_fan_out`: 2 / fan-out, which keeps that of gradients;
- `lecun`: 1 / fan-in, where no ReLU follows.

Biases are zero then. `framework` is what PyTorch does by itself: weights and biases uniform within 1 / sqrt(fan-in).

Fan-in counts the inputs of one output; fan-out is the number of output channels times the positions of the kernel, also
of a depthwise convolution, although each of its inputs has one output only. PyTorch counts so, and with it those who
published these networks.
"""


@dataclass(frozen=True)
class Initialisation:
    """The spread of initial weights by kind of layer. Scales of batch normalisation start at 1, shifts at 0."""

    conv: Spread = "he_fan_out"
    hidden: Spread = "he"
    """Linear layers but the last."""
    classifier: Spread = "lecun"
    """The last layer of the network, where it is linear."""
