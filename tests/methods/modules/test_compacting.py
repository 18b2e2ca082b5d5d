"""The compact form of modules side by side: the same function, and exactly the weights that they use."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from methods.measure import count_macs, count_nonzeros, count_parameters
from methods.modules.compacting import compacted, deployed_form
from methods.modules.side_by_side import SideBySide
from methods.networks.architecture import Architecture, Node
from methods.networks.folding import fold_batch_norm
from methods.networks.graph import Network
from methods.surgery import deploy, extract
from tests.methods.modules.libraries import seeded_heads
from tests.methods.modules.test_side_by_side import NETWORKS, some_modules
from tests.methods.networks.samples import linear, random_inputs, relu, sample_network


def marks(*rows: str) -> Tensor:
    return torch.tensor([[digit == "1" for digit in row] for row in rows])


def by_hand(*, heads: bool) -> SideBySide:
    """Two modules over 2 inputs, hidden layers of 4 and 3 units and 2 logits; all weights are 1 or more."""
    nodes = (
        Node("input", "input"),
        linear("a", "input", (2, 4)),
        relu("ra", "a"),
        linear("b", "ra", (4, 3)),
        relu("rb", "b"),
        linear("out", "rb", (3, 2)),
    )
    network = Network(Architecture(nodes, (2,))).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.arange(1.0, 1 + parameter.numel()).reshape(parameter.shape))
    masks = (marks("1100", "0110"), marks("100", "010"))
    return SideBySide(network, masks, heads=seeded_heads(2, 2) if heads else None)


def test_weights_by_hand_are_those_of_the_union() -> None:
    found = compacted(by_hand(heads=False))
    assert [len(layer.weight) for layer in found.network.nodes.values()] == [3, 2, 2]
    assert found.masks[0].tolist() == [[True, True, False], [False, True, True]]
    # Of layer b, 4 to 3 in the network: unit 0 of the first module on units 0 and 1, unit 1 of the second on 1 and 2.
    assert found.network.nodes["b"].weight.tolist() == [[1, 2, 0], [0, 6, 7]]
    assert found.network.nodes["b"].bias.tolist() == [1, 2]
    assert found.network.nodes["out"].weight.tolist() == [[1, 0], [0, 5]]
    assert count_parameters(found) == 3 * (2 + 1) + 2 * (3 + 1) + 2 * (2 + 1)
    assert count_nonzeros(found) == 3 * (2 + 1) + (4 + 2) + (2 + 2)
    assert count_macs(found.unrolled(), (2,)) == 2 * (2 * 2 + 2 * 1 + 1 * 1)


def test_heads_by_hand_come_on_top_and_read_all_logits() -> None:
    found = compacted(by_hand(heads=True))
    assert found.network.nodes["out"].weight.tolist() == [[1, 2], [4, 5]]
    head = 10 * 2 + 10 + 10 + 1
    assert count_parameters(found) == 3 * 3 + 2 * 4 + 2 * 3 + 2 * head
    assert count_nonzeros(found) == 3 * 3 + 6 + (4 + 2) + 2 * head
    assert count_macs(found.unrolled(), (2,)) == 2 * (2 * 2 + 2 * 1 + 1 * 2 + 10 * 2 + 10)


@pytest.mark.parametrize("heads", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_compact_form_computes_the_same(name: str, heads: bool) -> None:
    modules = some_modules(name, heads=heads).double()
    before = copy.deepcopy(modules.state_dict())
    x = random_inputs(modules.network, seed=0, dtype=torch.float64)
    with torch.no_grad():
        wanted = modules(x)
        for found, tolerance in ((compacted(modules), 1e-9), (deployed_form(modules), 1e-6)):
            assert isinstance(found, SideBySide)
            assert torch.allclose(found(x), wanted, atol=tolerance, rtol=tolerance)
            assert torch.allclose(found.unrolled()(x), wanted, atol=tolerance, rtol=tolerance)
        shape = modules.input_shape
        macs, before_macs = (count_macs(one.unrolled(), shape) for one in (compacted(modules), modules))
        # A depthwise convolution of which one channel is left is a dense one, which surgery cuts to less where it
        # reads zeros; so of `mobile`.
        assert macs <= before_macs if name == "mobile" else macs == before_macs
    assert all(torch.equal(tensor, before[key]) for key, tensor in modules.state_dict().items())


def numbered(network: Network) -> Network:
    """A copy whose learned values are 1, 2, 3 and so on."""
    other = copy.deepcopy(network).double()
    first = 1
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.copy_(torch.arange(first, first + parameter.numel()).reshape(parameter.shape))
            first += parameter.numel()
    return other


def values_of(tensor: Tensor) -> set[int]:
    return {int(value) for value in tensor.flatten().tolist()} - {0}  # made up where nothing comes into a layer


def weights_used(modules: SideBySide) -> set[int]:
    """Which learned values of the shared network any module holds, found by really cutting numbered ones."""
    used: set[int] = set()
    for module in range(len(modules)):
        outputs = None if modules.heads else [modules.outputs[module]]
        cut = extract(numbered(modules.network), modules.keep(module), outputs)
        for parameter in cut.parameters():
            used |= values_of(parameter)
        sources = {node.name: node for node in cut.architecture.nodes}
        for node in cut.architecture.nodes:
            if node.op == "conv2d" and sources[node.inputs[0]].op == "select":
                # Of a depthwise convolution surgery keeps also kernels that read zeros.
                indices = sources[node.inputs[0]].settings["indices"]
                idle = [channel for channel, index in enumerate(indices) if index < 0]
                used -= values_of(cut.nodes[node.name].weight[idle])
    return used


@pytest.mark.parametrize("heads", [True, False])
@pytest.mark.parametrize("name", ["small_cnn", "resnet20", "mlp", "mobile", "inception", "preactivated", "chance3"])
def test_non_zeros_are_exactly_the_weights_that_some_module_uses(name: str, heads: bool) -> None:
    modules = some_modules(name, heads=heads)
    wanted = weights_used(modules)
    modules.network = numbered(modules.network)
    found = [value for parameter in compacted(modules).network.parameters() for value in parameter.flatten().tolist()]
    assert sorted(wanted) == sorted(int(value) for value in found if value)


@pytest.mark.parametrize("name", ["small_cnn", "resnet20", "mlp", "mobilenet"])
def test_the_deployed_form_has_no_normalisation_and_no_dead_unit_in_any_module(name: str) -> None:
    network = sample_network(name)
    last = network.sites[-1]
    with torch.no_grad():
        # Whatever reads the first unit of the last site weighs it with zero.
        reader = next(node for node in network.architecture.nodes if last.name in node.inputs)
        while reader.op not in ("linear", "conv2d"):
            reader = next(node for node in network.architecture.nodes if reader.name in node.inputs)
        weight = network.nodes[reader.name].weight
        weight[:, : weight.shape[1] // last.units] = 0.0
    everything = [torch.ones(5, site.units, dtype=torch.bool) for site in network.sites]
    found = deployed_form(SideBySide(network, everything))
    assert isinstance(found, SideBySide)
    assert not found.training
    assert {node.op for node in found.network.architecture.nodes}.isdisjoint({"batch_norm"})
    for number in range(5):
        module = found.module(number)
        assert count_parameters(deploy(module)) == count_parameters(module)
    assert next(site for site in found.network.sites if site.name == last.name).units == last.units - 1


def test_a_unit_that_others_silence_in_the_whole_network_lives_in_a_module_without_them() -> None:
    nodes = (
        Node("input", "input"),
        linear("a", "input", (1, 1)),
        relu("ra", "a"),
        linear("b", "ra", (1, 1)),
        relu("rb", "b"),
        linear("out", "rb", (1, 2)),
    )
    network = Network(Architecture(nodes, (1,))).eval()
    with torch.no_grad():
        # Unit ra is always 5, so rb = relu(3 - 5) is always 0; in a module without ra it is always 3.
        for name, weight, bias in (("a", 0.0, 5.0), ("b", -1.0, 3.0), ("out", 1.0, 0.0)):
            network.nodes[name].weight.fill_(weight)
            network.nodes[name].bias.fill_(bias)
    modules = SideBySide(network, [marks("1", "0"), marks("1", "1")])
    x = torch.ones(1, 1)
    with torch.no_grad():
        assert network(x).tolist() == [[0, 0]]
        assert modules(x).tolist() == deployed_form(modules)(x).tolist() == [[0, 3]]


def test_a_plain_network_is_deployed_as_surgery_does_it() -> None:
    network = sample_network("small_cnn")
    found, wanted = deployed_form(network), deploy(network)
    assert isinstance(found, Network)
    assert found.architecture == wanted.architecture
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), wanted.parameters(), strict=True))


def test_folded_and_compacted_modules_have_the_folded_network_s_weights() -> None:
    modules = some_modules("small_cnn", heads=False)
    folded = fold_batch_norm(modules.network)
    everything = [torch.ones_like(mask) for mask in modules.masks]
    found = compacted(SideBySide(folded, everything, outputs=modules.outputs))
    assert count_parameters(found) == count_parameters(folded)
