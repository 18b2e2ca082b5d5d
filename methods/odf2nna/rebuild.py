"""The smaller network made of the units that stay, and what it takes over from those that go.

Source: as `usefulness.py`. `slice` is the plainest reading of the paper's "transfer of weights"; `fold` and
`fold_sequential` are [design], ours: a unit that goes leaves its mean behind in the biases of the next layer, which is
exact for units that are constant.

Shapes: N = rows, n_l = units of layer l with l = 0 for the inputs; weights are (n_l, n_{l-1}), biases (n_l,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from methods.networks.dense_head import parameter_count
from methods.odf2nna.usefulness import StreamingMoments

__all__ = ["Activation", "Transfer", "cut", "folded_biases", "hidden_means", "parameter_count", "rebuild"]

Transfer = Literal["slice", "fold", "fold_sequential"]
Activation = Literal["relu", "tanh", "sigmoid"]

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}
_ROWS_AT_ONCE = 8192


def rebuild(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    keep: Sequence[Tensor],
    *,
    transfer: Transfer = "slice",
    inputs: Tensor | None = None,
    activation: Activation = "relu",
) -> tuple[list[Tensor], list[Tensor]]:
    """A multilayer perceptron without the hidden units that do not stay, initialised with what is left.

    Args:
        weights, biases: Of the hidden layers and the output layer, left alone.
        keep: One bool tensor per hidden layer, each with at least one true.
        transfer: `slice` cuts. `fold` first adds to each bias what the dropped units of the layer before contributed
            on average in the original network. `fold_sequential` measures these averages in the network as reduced so
            far, layer by layer.
        inputs: (N, n_0) rows to measure averages on; `slice` needs none.
        activation: Of the hidden layers; the output layer is linear.

    Returns:
        Weights and biases of the smaller network, copies of the original's type.

    Raises:
        ValueError: Shapes do not fit, a layer would be empty, or `inputs` are missing.
    """
    _check(weights, biases, keep)
    function = ACTIVATIONS[activation]
    full: Sequence[Tensor] = biases
    if transfer != "slice":
        if inputs is None or len(inputs) == 0:
            raise ValueError(f"rebuild: transfer '{transfer}' measures means; give `inputs`, at least one row.")
        if transfer == "fold":
            means = hidden_means(weights, biases, inputs, function)
            full = folded_biases(weights, biases, keep, means)
        else:
            full = sequentially_folded_biases(weights, biases, keep, inputs, function)
    return cut(weights, full, keep)


def cut(
    weights: Sequence[Tensor], biases: Sequence[Tensor], keep: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases without the rows and columns of the units that go; copies."""
    last = torch.ones(len(biases[-1]), dtype=torch.bool, device=weights[-1].device)
    first = torch.ones(weights[0].shape[1], dtype=torch.bool, device=weights[0].device)
    columns, rows = [first, *keep], [*keep, last]
    return (
        [weight[row][:, column].clone() for weight, row, column in zip(weights, rows, columns, strict=True)],
        [bias[row].clone() for bias, row in zip(biases, rows, strict=True)],
    )


def folded_biases(
    weights: Sequence[Tensor], biases: Sequence[Tensor], keep: Sequence[Tensor], means: Sequence[Tensor]
) -> list[Tensor]:
    """All biases, uncut, each with the mean contribution of the dropped units of the layer before.

    Args:
        means: (n_l,) mean output of every hidden unit in the original network.
    """
    folded = [biases[0]]
    for weight, bias, keep_U, mean_U in zip(weights[1:], biases[1:], keep, means, strict=True):
        folded.append(_with_means(weight, bias, keep_U, mean_U))
    return folded


def sequentially_folded_biases(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    keep: Sequence[Tensor],
    inputs: Tensor,
    activation: Callable[[Tensor], Tensor] = torch.relu,
) -> list[Tensor]:
    """As `folded_biases`, with each layer's means measured in the network as reduced up to there."""
    folded = [biases[0]]
    # What goes in and comes out of a reduced layer fits one batch of rows; the layers before are run again for each.
    for layer, keep_U in enumerate(keep):
        moments = StreamingMoments()
        for rows in torch.split(inputs, _ROWS_AT_ONCE):
            hidden = rows
            for below in range(layer):
                hidden = activation(hidden @ weights[below].T + folded[below]) * keep[below]
            moments.update(activation(hidden @ weights[layer].T + folded[layer]))
        folded.append(_with_means(weights[layer + 1], biases[layer + 1], keep_U, moments.mean))
    return folded


def hidden_means(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    inputs: Tensor,
    activation: Callable[[Tensor], Tensor] = torch.relu,
) -> list[Tensor]:
    """(n_l,) float64 mean output of every hidden unit over the rows; activations are not stored."""
    moments = [StreamingMoments() for _ in weights[:-1]]
    for rows in torch.split(inputs, _ROWS_AT_ONCE):
        hidden = rows
        for weight, bias, seen in zip(weights, biases, moments, strict=False):
            hidden = activation(hidden @ weight.T + bias)
            seen.update(hidden)
    return [seen.mean for seen in moments]


def _with_means(weight_OU: Tensor, bias_O: Tensor, keep_U: Tensor, mean_U: Tensor) -> Tensor:
    left_O = weight_OU.detach().double() @ torch.where(keep_U, 0.0, mean_U.double())
    return (bias_O.detach().double() + left_O).to(bias_O.dtype)


def _check(weights: Sequence[Tensor], biases: Sequence[Tensor], keep: Sequence[Tensor]) -> None:
    if not len(weights) == len(biases) == len(keep) + 1:
        raise ValueError(
            f"rebuild: {len(weights)} weights, {len(biases)} biases, {len(keep)} keep-sets; give one weight and bias "
            "per layer and one keep-set per hidden layer."
        )
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        fits = layer == 0 or weight.shape[1] == len(biases[layer - 1])
        if weight.dim() != 2 or bias.shape != weight.shape[:1] or not fits:
            raise ValueError(
                f"rebuild: layer {layer} has weights {tuple(weight.shape)} and biases {tuple(bias.shape)}, which do "
                "not follow on the layer before; weights are (outputs, inputs)."
            )
    for layer, keep_U in enumerate(keep):
        if keep_U.dtype != torch.bool or keep_U.shape != biases[layer].shape:
            raise ValueError(
                f"rebuild: keep[{layer}] is {keep_U.dtype} {tuple(keep_U.shape)} for {len(biases[layer])} units; give "
                "one bool per unit."
            )
        if not bool(keep_U.any()):
            raise ValueError(f"rebuild: keep[{layer}] drops every unit of hidden layer {layer}; keep at least one.")
