"""The generator: for each tensor a small network from the code of a kernel's coordinates to its values, all stacked.

Source: Yang and Wang, "Neural Metamorphosis", ECCV 2024, arXiv 2410.11878 (residual layers with a learnable scale), and
Sommariva et al., 2025, arXiv 2505.05510 (ELU). Stored stacked, ours: networks that read equally many rows run as one
batched product.

Shapes: T = tensors, G = networks run together, R = rows of each, E = length of a code, H = hidden units, V = values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"elu": F.elu, "relu": F.relu}
_COORDINATES = 6


class CoordinateMLPs(nn.Module):
    """One network per generated tensor: z = act(W e + b), then z + s act(W z + b) layer by layer, then values W z + b.

    All weights are zero, and the scales `scale_init`, until `initialise` or `load_state_dict`.

    Args:
        num_tensors: T.
        num_frequencies: F of the encoding; a code has 6 + 12 F entries.
        hidden: H.
        layers: The first and the residual ones, 1 or more.
        outputs: V, the taps of the largest kernel; fully connected weights and biases use the first alone.
        activation: `elu` or `relu`.
        scale_init: s at first; 0 makes residual layers start as the identity.

    Raises:
        ValueError: A size below 1 (frequencies: below 0), or an unknown activation.
    """

    def __init__(
        self,
        *,
        num_tensors: int,
        num_frequencies: int,
        hidden: int,
        layers: int,
        outputs: int = 9,
        activation: Literal["elu", "relu"] = "elu",
        scale_init: float = 0.1,
    ) -> None:
        super().__init__()
        sizes = {"num_tensors": num_tensors, "hidden": hidden, "layers": layers, "outputs": outputs}
        wrong = [name for name, size in sizes.items() if size < 1] + ["num_frequencies"] * (num_frequencies < 0)
        if wrong or activation not in _ACTIVATIONS:
            what = (
                f"{wrong[0]} is too small; give 1 or above (frequencies: 0 or above)"
                if wrong
                else f"no activation {activation!r}; give {' or '.join(_ACTIVATIONS)}"
            )
            raise ValueError(f"CoordinateMLPs: {what}")
        code = _COORDINATES * (1 + 2 * num_frequencies)
        residual = layers - 1
        self.first_weight = nn.Parameter(torch.zeros(num_tensors, hidden, code))
        self.first_bias = nn.Parameter(torch.zeros(num_tensors, hidden))
        self.residual_weight = nn.Parameter(torch.zeros(residual, num_tensors, hidden, hidden))
        self.residual_bias = nn.Parameter(torch.zeros(residual, num_tensors, hidden))
        self.scale = nn.Parameter(torch.full((residual, num_tensors), float(scale_init)))
        self.last_weight = nn.Parameter(torch.zeros(num_tensors, outputs, hidden))
        self.last_bias = nn.Parameter(torch.zeros(num_tensors, outputs))
        self._activation = activation

    def __len__(self) -> int:
        return len(self.first_bias)

    def parameter_count(self) -> int:
        """Of one of the networks."""
        return sum(parameter.numel() for parameter in self.parameters()) // len(self)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw weights and biases uniformly within 1 / sqrt(fan-in), as PyTorch does for linear layers.

        Args:
            generator: On the CPU; networks on any device get the same values.
        """
        for name in ("first", "residual", "last"):
            weight = self.get_parameter(f"{name}_weight")
            bound = 1 / math.sqrt(weight.shape[-1])
            for parameter in (weight, self.get_parameter(f"{name}_bias")):
                drawn = torch.empty(parameter.shape, dtype=parameter.dtype)
                parameter.copy_(drawn.uniform_(-bound, bound, generator=generator))

    @torch.no_grad()
    def copy(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Make some networks equal to others, pair by pair, as a new block starts from the block before it.

        Raises:
            ValueError: Not one source for each target.
        """
        if len(sources) != len(targets):
            raise ValueError(f"CoordinateMLPs: {len(sources)} sources for {len(targets)} targets; give one for each")
        for name, parameter in self.named_parameters():
            stacked = parameter if name.startswith(("first", "last")) else parameter.transpose(0, 1)
            stacked[list(targets)] = stacked[list(sources)].clone()

    def forward(self, codes_GRE: Tensor, tensors: Sequence[int]) -> Tensor:
        """Values (G, R, V) of the rows of some tensors, not yet divided by the number of input channels.

        Args:
            codes_GRE: Encoded coordinates.
            tensors: Which network reads each stack of rows, G indices.

        Raises:
            ValueError: Not one index for each stack.
        """
        if len(tensors) != len(codes_GRE):
            raise ValueError(
                f"CoordinateMLPs: {len(codes_GRE)} stacks of rows for {len(tensors)} tensors; give one each"
            )
        act = _ACTIVATIONS[self._activation]
        rows = list(tensors)
        z = act(_linear(codes_GRE, self.first_weight[rows], self.first_bias[rows]))
        for weight, bias, scale in zip(self.residual_weight, self.residual_bias, self.scale, strict=True):
            z = z + scale[rows][:, None, None] * act(_linear(z, weight[rows], bias[rows]))
        return _linear(z, self.last_weight[rows], self.last_bias[rows])


def _linear(x_GRE: Tensor, weight_GHE: Tensor, bias_GH: Tensor) -> Tensor:
    return torch.baddbmm(bias_GH[:, None], x_GRE, weight_GHE.transpose(1, 2))
