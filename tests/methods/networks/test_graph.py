"""What a network promises: one function however it is run, copied, recorded or masked."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from methods.networks.architecture import Architecture, Node
from methods.networks.catalog import network_names
from methods.networks.graph import Network, Select
from tests.methods.networks.samples import HAND_BUILT, linear, random_inputs, relu, sample_network

ALL = [*network_names(), *HAND_BUILT]


def test_network_computes_what_pytorch_layers_compute() -> None:
    network = sample_network("small_cnn")
    n = network.nodes
    reference = nn.Sequential(
        *[n["conv1"], n["norm1"], nn.ReLU(), nn.MaxPool2d(2), n["conv2"], n["norm2"], nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Flatten(), n["hidden"], nn.ReLU(), n["classifier"]],
    )
    x = random_inputs(network, seed=0)
    assert torch.equal(network(x), reference(x))


def test_residual_block_adds_its_input() -> None:
    network = sample_network("resnet20")
    x = random_inputs(network, seed=0)
    seen = network.run(x, record=True).activations
    inner = network.nodes["stage1_block1_b_norm"](network.nodes["stage1_block1_b_conv"](seen["stage1_block1_a_relu"]))
    assert torch.equal(seen["stage1_block1_relu"], F.relu(inner + seen["stem_relu"]))


@pytest.mark.parametrize("name", ALL)
def test_run_without_wishes_equals_forward(name: str) -> None:
    network = sample_network(name)
    x = random_inputs(network, seed=0)
    run = network.run(x)
    assert torch.equal(run.logits, network(x))
    assert run.logits.shape == (3, network.architecture.num_outputs)
    assert run.activations == {}


@pytest.mark.parametrize("name", ALL)
def test_record_returns_every_site_in_order_and_its_shape(name: str) -> None:
    network = sample_network(name)
    activations = network.run(random_inputs(network, seed=0), record=True).activations
    assert list(activations) == [site.name for site in network.sites]
    for site in network.sites:
        assert activations[site.name].shape == (3, site.units, *site.spatial_shape)
        assert activations[site.name].min() >= 0


def test_a_function_records_what_it_makes_of_each_output() -> None:
    network = Network(HAND_BUILT["preactivated"]()).eval()
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    maps = network.run(x, record=True)
    means = network.run(x, record=lambda output: output.mean(dim=(2, 3)))
    assert torch.equal(means.logits, maps.logits)
    assert list(means.activations) == list(maps.activations)
    for name, activation in maps.activations.items():
        assert torch.equal(means.activations[name], activation.mean(dim=(2, 3)))


def test_masked_units_are_zero_and_others_reach_the_logits() -> None:
    network = sample_network("small_cnn")
    x = random_inputs(network, seed=0)
    plain = network.run(x, record=True)
    busiest = plain.activations["conv1_relu"].sum(dim=(0, 2, 3)).argmax()
    keep = torch.arange(4) != busiest
    run = network.run(x, keep={"conv1_relu": keep}, record=True)
    assert not run.activations["conv1_relu"][:, busiest].any()
    assert torch.equal(run.activations["conv1_relu"][:, keep], plain.activations["conv1_relu"][:, keep])
    assert not torch.equal(run.logits, plain.logits)


def test_gradients_flow_through_a_masked_run() -> None:
    network = sample_network("mlp")
    keep = [torch.arange(site.units) < 3 for site in network.sites]
    network.run(random_inputs(network, seed=0), keep=keep).logits.sum().backward()  # type: ignore[no-untyped-call]
    gradient = network.nodes["hidden2"].get_parameter("weight").grad
    assert gradient is not None
    assert gradient[:3, :3].any()
    assert not gradient[3:].any()
    assert not gradient[:, 3:].any()


@pytest.mark.parametrize("name", ALL)
def test_copies_are_equal_and_independent(name: str) -> None:
    network = sample_network(name)
    x = random_inputs(network, seed=0)
    before = network(x)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(twin(x), before)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        assert not torch.equal(twin(x), before)
    assert torch.equal(network(x), before)


@pytest.mark.parametrize("name", ALL)
def test_network_is_restored_from_json_and_state(name: str) -> None:
    network = sample_network(name)
    twin = Network(Architecture.from_json(network.architecture.to_json())).eval()
    twin.load_state_dict(network.state_dict())
    x = random_inputs(network, seed=0)
    assert torch.equal(twin(x), network(x))


def test_parameters_come_in_order_of_the_nodes() -> None:
    names = [name for name, _ in sample_network("small_cnn").named_parameters()]
    assert names[:4] == ["nodes.conv1.weight", "nodes.norm1.weight", "nodes.norm1.bias", "nodes.conv2.weight"]
    assert names[-2:] == ["nodes.classifier.weight", "nodes.classifier.bias"]


@pytest.mark.parametrize("name", ["resnet20", "inception", "preactivated"])
def test_network_runs_in_bfloat16_channels_last(name: str) -> None:
    network = sample_network(name)
    x = random_inputs(network, seed=0)
    wanted = network(x)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(x.contiguous(memory_format=torch.channels_last))
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), wanted, atol=0.05 * wanted.abs().max().item())


@pytest.mark.parametrize("name", ["resnet20", "inception", "preactivated"])
def test_network_works_as_a_function_of_its_weights(name: str) -> None:
    network = sample_network(name)
    x = random_inputs(network, seed=0)
    others = {key: 0.5 * value.detach() for key, value in network.named_parameters()}
    found = torch.func.functional_call(network, others, (x,))
    twin = copy.deepcopy(network)
    twin.load_state_dict(others, strict=False)
    assert torch.equal(found, twin(x))
    gradients = torch.func.grad(lambda weights: torch.func.functional_call(network, weights, (x,)).sum())(others)
    assert all(bool(gradient.isfinite().all()) for gradient in gradients.values())


def test_select_fills_with_zeros_whatever_it_reads() -> None:
    select = Select([2, -1, 0], num_axes=1)
    x = torch.tensor([[float("nan"), 1.0, 2.0]])
    assert torch.equal(select(x[:, [1, 0, 2]]), torch.tensor([[2.0, 0.0, 1.0]]))
    assert select(x)[0, 1] == 0
    assert select.state_dict() == {}


def test_new_network_is_finite_and_ready_to_load() -> None:
    network = Network(sample_network("resnet20").architecture)
    assert all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_node_named_like_a_method_is_refused() -> None:
    nodes = (Node("input", "input"), linear("keys", "input", (2, 3)), relu("r", "keys"), linear("out", "r", (3, 2)))
    with pytest.raises(ValueError, match=r"'keys': the name is taken"):
        Network(Architecture(nodes, (2,)))
