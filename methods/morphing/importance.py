"""How much each residual block adds, measured on samples: which ones a network of less depth does without (ours)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.contract import Normalization, Split
from methods.morphing.parts import Part
from methods.networks.graph import Network
from methods.training.batches import plain_batches

_SAMPLES = 512


@torch.no_grad()
def block_importance(network: Network, parts: Sequence[Part], split: Split, *, normalization: Normalization) -> Tensor:
    """The mean over the first 512 samples of the Euclidean norm of what each part's last layer puts out, (parts,).

    Args:
        network: In evaluation mode, with any gates folded in, so that the norm is that of gate times branch.
        parts: Of the network.
        split: Training samples.
    """
    samples = Split(split.inputs[:_SAMPLES], split.targets[:_SAMPLES])
    sums = [torch.zeros((), dtype=torch.float64) for _ in parts]

    def adding_to(total: Tensor) -> object:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            del module, inputs
            total.add_(output.flatten(1).double().norm(dim=1).sum().cpu())

        return hook

    hooks = [
        network.nodes[part.layers[-1].name].register_forward_hook(adding_to(total))  # type: ignore[arg-type]
        for part, total in zip(parts, sums, strict=True)
    ]
    for inputs, _ in plain_batches(samples, batch_size=128, normalization=normalization):
        network(inputs)
    for hook in hooks:
        hook.remove()
    return torch.stack(sums).float() / len(samples)
