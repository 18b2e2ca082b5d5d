"""Dropout whose randomness comes from a generator of one's own (Srivastava et al., JMLR 2014)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """In training mode sets each value to zero with a probability and divides the others by the rest of it.

    In evaluation mode it is the identity. `generator`, on the device of the inputs, belongs to who trains; so copies
    and pickles of the layer have none, and draw nothing until they are given theirs.

    Args:
        probability: Between 0 and 1, neither included.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The values, of any shape.

        Raises:
            ValueError: In training mode without a generator, as PyTorch's own would let repeated runs differ.
        """
        if not self.training:
            return x
        if self.generator is None:
            raise ValueError(
                "dropout: in training mode but without a generator; train the network by a Learner, call "
                "draw_dropout_from(network, generator), or put it into evaluation mode"
            )
        kept = torch.empty_like(x).bernoulli_(1 - self.probability, generator=self.generator)
        # Scaled at last, by a number: as a bfloat16 tensor the factor would be off by up to 0.2%.
        return x * kept * (1 / (1 - self.probability))

    def extra_repr(self) -> str:
        return f"probability={self.probability}"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"generator": None}


def draw_dropout_from(network: nn.Module, generator: torch.Generator) -> None:
    """Give all dropout inside a network the generator that it draws from in training mode.

    Args:
        generator: On the network's device; shared, so each forward pass moves it on.
    """
    for layer in _dropouts(network):
        layer.generator = generator


def switch_off_dropout(network: nn.Module) -> None:
    """Put all dropout inside a network, and nothing else, into evaluation mode, until `network.train()` or `eval()`.

    For those who want the batch statistics of training mode without its noise.
    """
    for layer in _dropouts(network):
        layer.eval()


def _dropouts(network: nn.Module) -> list[Dropout]:
    return [layer for layer in network.modules() if isinstance(layer, Dropout)]
