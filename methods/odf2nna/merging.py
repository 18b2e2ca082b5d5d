"""Two optional reductions beyond dropping units: merging units that say the same, and layers that bend nothing.

Both are [design], ours. Variability keeps duplicates; a layer whose units are active on every row is affine there.

Shapes: U = units of one hidden layer, O = units of the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.contract import Task
from methods.networks.architecture import Architecture, Node
from methods.networks.dense_head import DenseHead, parameter_count
from methods.networks.graph import Network
from methods.networks.restore import restore
from methods.odf2nna.head import head_weights
from methods.training.batches import plain_batches

_ROWS_AT_ONCE = 1024


@torch.inference_mode()
def head_covariances(network: Network, head: DenseHead, task: Task) -> list[tuple[Tensor, Tensor]]:
    """Mean (U,) and covariance (U, U) of each hidden layer's units over the training samples, streamed in float64."""
    totals: list[tuple[int, Tensor, Tensor]] = []
    was_training = network.training
    network.eval()
    for inputs, _ in plain_batches(task.train, batch_size=_ROWS_AT_ONCE, normalization=task.normalization):
        activations = network.run(inputs, record=True).activations
        parts = [_comoments(activations[site].double()) for site in head.sites]
        totals = [_joined(*pair) for pair in zip(totals, parts, strict=True)] if totals else parts
    network.train(was_training)
    with torch.inference_mode(False):
        return [(mean_U.clone(), comoment_UU.clone() / count) for count, mean_U, comoment_UU in totals]


def merge_correlated(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    covariances: Sequence[tuple[Tensor, Tensor]],
    *,
    above: float,
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Let one unit speak for all that follow it linearly: h_j = a h_i + c with a correlation of more than `above`.

    Unit i takes over the outgoing weights of j, scaled by a; c times them goes into the next biases. Exact on the rows
    where the correlation is 1.

    Args:
        weights, biases: Of all layers of a head; left alone.
        covariances: Mean and covariance of each hidden layer.
        above: Correlation in (0, 1).

    Returns:
        New weights and biases in which merged units are read by nothing, and for each hidden layer which units (bool)
        were merged into another.
    """
    new_weights, new_biases, merged = list(weights), list(biases), []
    for layer, (mean_U, covariance_UU) in enumerate(covariances):
        variance_U = covariance_UU.diagonal()
        scale_U = variance_U.clamp(min=torch.finfo(torch.float64).tiny).sqrt()
        correlation_UU = covariance_UU / scale_U[:, None] / scale_U
        gone_U = torch.zeros(len(mean_U), dtype=torch.bool)
        weight_OU = new_weights[layer + 1].double().clone()
        bias_O = new_biases[layer + 1].double().clone()
        # Those that vary most speak for the others: their slope is known best.
        for speaker in torch.argsort(variance_U, descending=True, stable=True).tolist():
            if gone_U[speaker] or variance_U[speaker] <= 0:
                continue
            follows_U = (correlation_UU[speaker] > above).cpu() & ~gone_U
            follows_U[speaker] = False
            for follower in follows_U.nonzero().flatten().tolist():
                slope = covariance_UU[speaker, follower] / variance_U[speaker]
                bias_O += (mean_U[follower] - slope * mean_U[speaker]) * weight_OU[:, follower]
                weight_OU[:, speaker] += slope * weight_OU[:, follower]
                weight_OU[:, follower] = 0
            gone_U |= follows_U
        new_weights[layer + 1] = weight_OU.to(weights[layer + 1].dtype)
        new_biases[layer + 1] = bias_O.to(biases[layer + 1].dtype)
        merged.append(gone_U)
    return new_weights, new_biases, merged


@torch.no_grad()
def merge_affine_layers(network: Network, head: DenseHead, always_active: Sequence[bool]) -> tuple[Network, list[str]]:
    """Replace a hidden layer that is affine on the data, with the next one, by their product, where that is smaller.

    W_{l+1} W_l and b_{l+1} + W_{l+1} b_l compute the same wherever every unit of the layer is active.

    Args:
        network: Left alone.
        always_active: For each hidden layer whether all its units were active on every row.

    Returns:
        The network, shallower by the layers named in the list.
    """
    weights, biases = head_weights(network, head)
    layers, sites = list(head.layers), list(head.sites)
    gone: list[str] = []
    for site, active in zip(head.sites, always_active, strict=True):
        at = sites.index(site)
        below, above = weights[at], weights[at + 1]
        sizes = [below.shape[1], len(below), len(above)]
        if not active or parameter_count([sizes[0], sizes[2]]) >= parameter_count(sizes):
            continue
        bias = biases[at + 1].double() + above.double() @ biases[at].double()
        weights[at : at + 2] = [(above.double() @ below.double()).to(above.dtype)]
        biases[at : at + 2] = [bias.to(above.dtype)]
        gone.append(layers.pop(at))
        sites.pop(at)
    if not gone:
        return network, []
    return _shallower(network, head, dict(zip(layers, zip(weights, biases, strict=True), strict=True))), gone


def _shallower(network: Network, head: DenseHead, layers: dict[str, tuple[Tensor, Tensor]]) -> Network:
    """The network with only these layers in its head."""
    first = next(node for node in network.architecture.nodes if node.name == head.layers[0])
    top = first.inputs[0]
    nodes: list[Node] = [node for node in network.architecture.nodes if node.name not in {*head.layers, *head.sites}]
    sites = dict(zip(head.layers, head.sites, strict=False))
    for name, (weight, _) in layers.items():
        outputs, inputs = weight.shape
        nodes.append(Node(name, "linear", (top,), {"in_features": inputs, "out_features": outputs, "bias": True}))
        top = name
        if name in sites:
            nodes.append(Node(sites[name], "relu", (name,)))
            top = sites[name]
    kept = {node.name for node in nodes}
    tensors = {key: value for key, value in network.state_dict().items() if key.split(".")[1] in kept}
    for name, (weight, bias) in layers.items():
        tensors |= {f"nodes.{name}.weight": weight.clone(), f"nodes.{name}.bias": bias.clone()}
    return restore(Architecture(tuple(nodes), network.architecture.input_shape), tensors, like=network)


def _comoments(rows_NU: Tensor) -> tuple[int, Tensor, Tensor]:
    mean_U = rows_NU.mean(dim=0)
    centred_NU = rows_NU - mean_U
    return len(rows_NU), mean_U, centred_NU.T @ centred_NU


def _joined(one: tuple[int, Tensor, Tensor], other: tuple[int, Tensor, Tensor]) -> tuple[int, Tensor, Tensor]:
    total = one[0] + other[0]
    step_U = other[1] - one[1]
    comoment_UU = one[2] + other[2] + torch.outer(step_U, step_U) * (one[0] * other[0] / total)
    return total, one[1] + step_U * (other[0] / total), comoment_UU
