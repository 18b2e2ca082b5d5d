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
        self.activation = activation
        self.scale_init = scale_init

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

    @property
    def num_frequencies(self) -> int:
        """F of the encoding that the networks read."""
        return (self.first_weight.shape[2] // _COORDINATES - 1) // 2

    @property
    def outputs(self) -> int:
        """V, values per row."""
        return self.last_bias.shape[1]

    def forward(self, codes_GRE: Tensor, tensors: Sequence[int]) -> Tensor:
        """Values (G, R, V) of the rows of some tensors, not yet divided by the number of input channels.

        Args:
            codes_GRE: Encoded coordinates.
            tensors: Which network reads each stack of rows, G indices.

        Raises:
            ValueError: Not one index for each stack.
        """
        (values_GRV,) = self.run_groups([codes_GRE], [tensors])
        return values_GRV

    def run_groups(
        self, codes: Sequence[Tensor], tensors: Sequence[Sequence[int]], dtype: torch.dtype = torch.float32
    ) -> list[Tensor]:
        """`forward` for several groups, each with a number of rows of its own.

        Weights are picked once for all groups and then split, so that the backward pass puts the gradients of all
        groups together once, and not one full stack of zeros for each.

        Args:
            codes: Of each group, (G, R, E).
            tensors: Of each group the networks that read its stacks; no network is in two groups.
            dtype: Of the products but the last, float32 or bfloat16.

        Raises:
            ValueError: Not one network for each stack.
        """
        for codes_GRE, members in zip(codes, tensors, strict=True):
            if len(members) != len(codes_GRE):
                raise ValueError(
                    f"CoordinateMLPs: {len(codes_GRE)} stacks of rows for {len(members)} tensors; give one each"
                )
        order = [index for members in tensors for index in members]
        sizes = [len(members) for members in tensors]

        def by_group(parameter: Tensor, *, dim: int = 0) -> Sequence[Tensor]:
            if order != list(range(len(self))):
                parameter = parameter.index_select(dim, torch.tensor(order, device=parameter.device))
            pieces: tuple[Tensor, ...] = torch.split(parameter, sizes, dim=dim)
            return pieces

        first = zip(by_group(self.first_weight), by_group(self.first_bias), strict=True)
        residual = [by_group(getattr(self, f"residual_{name}"), dim=1) for name in ("weight", "bias")]
        scales = by_group(self.scale, dim=1)
        last = zip(by_group(self.last_weight), by_group(self.last_bias), strict=True)
        act = _ACTIVATIONS[self.activation]
        found = []
        for group, (codes_GRE, (weight, bias), ends) in enumerate(zip(codes, first, last, strict=True)):
            z = act(_linear(codes_GRE, weight, bias, dtype)).to(codes_GRE.dtype)
            layers = (residual[0][group].unbind(), residual[1][group].unbind(), scales[group].unbind())
            for layer_weight, layer_bias, scale in zip(*layers, strict=True):
                z = torch.addcmul(z, act(_linear(z, layer_weight, layer_bias, dtype)), scale[:, None, None])
            found.append(_linear(z, *ends, z.dtype))
        return found


def grown(networks: CoordinateMLPs, sources: Sequence[int | None], *, generator: torch.Generator) -> CoordinateMLPs:
    """A stack of the given networks and further ones behind them.

    Args:
        networks: Left alone; the new stack has their device and type.
        sources: For each further network the one it starts as a copy of; None: freshly initialised.
        generator: On the CPU, of the initialisation.

    Raises:
        ValueError: A source is none of the networks.
    """
    wrong = [source for source in sources if source is not None and not 0 <= source < len(networks)]
    if wrong:
        raise ValueError(f"grown: no network {wrong[0]} to copy; there are {len(networks)}")
    residual, count, hidden = networks.residual_bias.shape
    made = CoordinateMLPs(
        num_tensors=count + len(sources),
        num_frequencies=networks.num_frequencies,
        hidden=hidden,
        layers=residual + 1,
        outputs=networks.outputs,
        activation=networks.activation,
        scale_init=networks.scale_init,
    ).to(networks.first_weight.dtype)
    made.initialise(generator)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            dim = 0 if name.startswith(("first", "last")) else 1
            parameter.narrow(dim, 0, count).copy_(networks.get_parameter(name))
    copies = [(source, count + place) for place, source in enumerate(sources) if source is not None]
    made.copy([source for source, _ in copies], [place for _, place in copies])
    return made.to(networks.first_weight.device)


def _linear(x_GRE: Tensor, weight_GHE: Tensor, bias_GH: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype == torch.bfloat16:
        x_GRE, weight_GHE, bias_GH = x_GRE.to(dtype), weight_GHE.to(dtype), bias_GH.to(dtype)
    return torch.baddbmm(bias_GH[:, None], x_GRE, weight_GHE.transpose(1, 2))
