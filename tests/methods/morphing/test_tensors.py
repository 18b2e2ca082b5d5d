from __future__ import annotations

import pytest
import torch

from methods.morphing.morph import assembled
from methods.morphing.parts import morphing_parts
from methods.morphing.tensors import as_layers, own_tensors, padded, resampled, tensor_shapes
from methods.networks.build import build_network
from methods.networks.functional import run_with
from tests.methods.morphing.networks import fused, inputs

NETWORKS = [
    ("resnet20", (3, 32, 32)),
    ("small_cnn", (1, 8, 8)),
    ("lenet5", (1, 28, 28)),
    ("mlp", (1, 8, 8)),
    ("mlp", (13,)),
]
every_network = pytest.mark.parametrize(("name", "shape"), NETWORKS)


@every_network
def test_a_network_run_with_its_own_tensors_is_itself(name: str, shape: tuple[int, ...]) -> None:
    network = fused(name, shape)
    parts = morphing_parts(network.architecture)
    tensors = own_tensors(network, parts)
    assert [tuple(tensor.shape) for tensor in tensors] == tensor_shapes(parts, 1.0)
    x = inputs(network)
    assert torch.equal(run_with(network, x, as_layers(parts, tensors)), network(x))
    assert torch.equal(assembled(network, parts, tensors, width=1.0)(x), network(x))


@every_network
@pytest.mark.parametrize("width", [0.4, 0.75])
def test_zero_padded_and_exact_networks_agree(name: str, shape: tuple[int, ...], width: float) -> None:
    network = fused(name, shape)
    parts = morphing_parts(network.architecture)
    narrow = resampled(own_tensors(network, parts), tensor_shapes(parts, width))
    wide = padded(narrow, tensor_shapes(parts, 1.0))
    x = inputs(network)
    exact = run_with(network, x, as_layers(parts, narrow))
    torch.testing.assert_close(run_with(network, x, as_layers(parts, wide)), exact, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(assembled(network, parts, narrow, width=width)(x), exact, rtol=1e-4, atol=1e-4)


def test_a_width_above_the_full_one_makes_a_wider_network() -> None:
    network = fused("resnet20")
    parts = morphing_parts(network.architecture)
    tensors = resampled(own_tensors(network, parts), tensor_shapes(parts, 1.25))
    wide = assembled(network, parts, tensors, width=1.25)
    assert wide.nodes["stage3_block2_a_conv"].weight.shape == (80, 64, 3, 3)
    assert bool(torch.isfinite(wide(inputs(network))).all())


def test_gates_are_folded_exactly() -> None:
    network = fused("resnet20").double()
    parts = morphing_parts(network.architecture)
    tensors = own_tensors(network, parts)
    gates = torch.linspace(-0.5, 1.5, len(parts), dtype=torch.float64)
    x = inputs(network).double()
    folded = assembled(network, parts, tensors, width=1.0, gates=gates)
    by_hand = _with_gates_in_the_sums(network, x, {part.total: gates[i] for i, part in enumerate(parts)})
    torch.testing.assert_close(folded(x), by_hand)


def _with_gates_in_the_sums(network, x, gates):  # type: ignore[no-untyped-def]
    """The network with x + gate * branch(x) written out."""
    values = {network.architecture.nodes[0].name: x}
    for node, step in zip(network.architecture.nodes[1:], network.steps, strict=True):
        given = [values[name] for name in node.inputs]
        if node.name in gates:
            branch, skip = given
            values[node.name] = skip + gates[node.name] * branch
        else:
            values[node.name] = step.function(*given)
    return values[network.architecture.nodes[-1].name]


def test_a_closed_gate_makes_a_block_the_identity() -> None:
    network = fused("resnet20")
    parts = morphing_parts(network.architecture)
    closed = assembled(network, parts, own_tensors(network, parts), width=1.0, gates=torch.zeros(len(parts)))
    shorter = assembled(
        network, parts, own_tensors(network, parts), width=1.0, gates=torch.zeros(len(parts)), left_out=parts
    )
    x = inputs(network)
    torch.testing.assert_close(closed(x), shorter(x))
    assert len(shorter.architecture.nodes) == len(closed.architecture.nodes) - 5 * len(parts)


def test_resampling_keeps_what_is_constant_along_channels() -> None:
    weight = torch.full((6, 4, 3, 3), 0.5)
    narrow, bias = resampled([weight, torch.ones(6)], [(3, 2, 3, 3), (3,)])
    # Half as many inputs, each counts twice.
    assert torch.equal(narrow, torch.full((3, 2, 3, 3), 1.0))
    assert torch.equal(bias, torch.ones(3))


def test_resampling_by_hand() -> None:
    (halved,) = resampled([torch.tensor([0.0, 1.0, 2.0, 3.0])], [(2,)])
    assert halved.tolist() == [0.5, 2.5]
    (stretched,) = resampled([torch.tensor([0.0, 1.0])], [(4,)])
    assert stretched.tolist() == [0.0, 0.25, 0.75, 1.0]


def test_a_layer_without_bias_is_refused() -> None:
    network = build_network("small_cnn", input_shape=(1, 8, 8), num_outputs=10, seed=0)
    with pytest.raises(ValueError, match="'conv1' has no bias; fold"):
        own_tensors(network, morphing_parts(network.architecture))
