"""Logits under autocast whose last layer still runs in full precision.

bfloat16 has eight binary digits, so of two close logits it often makes the same number. The layers before may be as
rough as training is; the last costs nothing to do well.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.networks.graph import Network, Step


def precise_logits(network: Network, x: Tensor) -> Tensor:
    """What `network(x)` gives, with the last layer in float32 (or wider) whatever autocast says."""
    values: list[Tensor | None] = [x, *[None] * len(network.steps)]
    for step in network.steps[:-1]:
        step.run(values)
    last = network.steps[-1]
    return run_precisely(last, [value for source in last.sources if (value := values[source]) is not None])


def run_precisely(step: Step, inputs: Sequence[Tensor]) -> Tensor:
    """The output of one node, computed in float32 from inputs of fewer digits, outside of autocast."""
    wide = [value.float() if value.dtype in (torch.bfloat16, torch.float16) else value for value in inputs]
    with torch.autocast(inputs[0].device.type, enabled=False):
        return step.function(*wide)
