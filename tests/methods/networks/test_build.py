"""What initial weights promise: they follow from the seed alone, with the spread that the papers train from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from methods.networks.build import build_network
from methods.networks.catalog import design_network, network_names
from methods.networks.dropout import switch_off_dropout
from methods.networks.graph import Network
from tests.methods.networks.samples import SMALLEST_SIDES


def built(name: str, seed: int) -> Network:
    return build_network(name, input_shape=(3, 32, 32), num_outputs=10, width=0.25, seed=seed)


@pytest.mark.parametrize("name", network_names())
def test_same_seed_gives_the_same_weights_and_leaves_the_global_state_alone(name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = built(name, 0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    second, other = built(name, 0), built(name, 1)
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[key]), key
    weights = [key for key, parameter in first.named_parameters() if parameter.dim() > 1]
    assert not any(torch.equal(first.state_dict()[key], other.state_dict()[key]) for key in weights)


def test_resnet_weights_have_the_published_spread() -> None:
    network = build_network("resnet32_double", input_shape=(3, 32, 32), num_outputs=100, seed=0)
    for name, module in network.nodes.items():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * math.prod(module.kernel_size)
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.15), name
        elif isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.05)
            assert not module.bias.any()


def test_vgg_weights_have_the_published_spread() -> None:
    network = build_network("vgg19_bn", input_shape=(3, 32, 32), num_outputs=100, width=0.5, seed=0)
    for name, module in network.nodes.items():
        if isinstance(module, nn.Conv2d):
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * module.in_channels)), rel=0.1), name
            assert module.bias is not None
            assert not module.bias.any()
        elif isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.05)
            assert not module.bias.any()


def linear_layers(network: Network) -> list[nn.Linear]:
    return [module for module in network.nodes.values() if isinstance(module, nn.Linear)]


@pytest.mark.parametrize("name", ["vgg16", "resnet18", "mobilenet"])
def test_convolutions_of_activation_driven_modularity_start_as_pytorch_counts_fan_out(name: str) -> None:
    network = build_network(name, input_shape=(3, 32, 32), num_outputs=100, width=0.5, seed=0)
    for key, module in network.nodes.items():
        if isinstance(module, nn.Conv2d):
            reference = torch.empty_like(module.weight)
            nn.init.kaiming_normal_(reference, mode="fan_out", generator=torch.Generator().manual_seed(0))
            few = 1 if module.weight.numel() > 2000 else 2
            assert module.weight.std().item() == pytest.approx(reference.std().item(), rel=0.1 * few), key
            assert module.bias is None or not module.bias.any()


@pytest.mark.parametrize(("name", "layers"), [("vgg16", 3), ("vgg16_512", 3), ("mobilenet", 1)])
def test_linear_layers_of_vgg16_and_mobilenet_start_small(name: str, layers: int) -> None:
    found = linear_layers(build_network(name, input_shape=(3, 32, 32), num_outputs=100, width=0.5, seed=0))
    assert len(found) == layers
    for module in found:
        assert module.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert not module.bias.any()


@pytest.mark.parametrize("name", ["lenet5", "resnet18"])
def test_what_pytorch_initialises_in_the_release_starts_uniform(name: str) -> None:
    network = build_network(
        name, input_shape=(3, 32, 32), num_outputs=100, width=2.0 if name == "lenet5" else 0.5, seed=0
    )
    layers = list(network.nodes.values()) if name == "lenet5" else linear_layers(network)
    for module in layers:
        assert isinstance(module, nn.Conv2d | nn.Linear)
        bound = 1 / math.sqrt(module.weight[0].numel())
        for tensor in (module.weight, module.bias):
            assert tensor is not None
            assert tensor.abs().max().item() <= bound
            assert tensor.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.5 if len(tensor) < 50 else 0.2)
            assert tensor.unique().numel() > 0.9 * tensor.numel() or tensor.numel() > 10_000


@pytest.mark.parametrize("name", ["simcnn_cnnsplitter", "simcnn_gradsplitter"])
def test_simcnn_starts_as_its_authors_draw_it(name: str) -> None:
    """Convolutions normal, of variance 2 / (9 * outputs), without biases; linear layers as PyTorch has them."""
    network = build_network(name, input_shape=(3, 32, 32), num_outputs=100, width=0.5, seed=0)
    for key, module in network.nodes.items():
        if isinstance(module, nn.Conv2d):
            std = math.sqrt(2 / (9 * module.out_channels))
            assert module.weight.std().item() == pytest.approx(std, rel=0.1), key
            assert module.weight.abs().max() > 2.5 * std, "not uniform"
            assert module.bias is not None
            assert not module.bias.any()
    for layer in linear_layers(network):
        assert_uniform(layer)


@pytest.mark.parametrize("name", ["rescnn_cnnsplitter", "rescnn_gradsplitter", "incecnn_gradsplitter"])
def test_rescnn_and_incecnn_start_as_pytorch_has_it(name: str) -> None:
    network = build_network(name, input_shape=(3, 32, 32), num_outputs=100, width=0.5, seed=0)
    layers = [module for module in network.nodes.values() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == 13
    for layer in layers:
        assert_uniform(layer)


def assert_uniform(layer: nn.Conv2d | nn.Linear) -> None:
    bound = 1 / math.sqrt(layer.weight[0].numel())
    for tensor in (layer.weight, layer.bias):
        assert tensor is not None
        assert 0.8 * bound < tensor.abs().max().item() <= bound
        assert tensor.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.35 if tensor.dim() == 1 else 0.1)


SUMS = {
    ("small_cnn", 1.0, 0): (28.146399495442893, 2096.3477102216475),
    ("mlp", 1.0, 0): (-48.19812827915189, 12747.764636922286),
    ("mlp", 0.5, 3): (8.025459276018637, 5715.798273616232),
    ("resnet20", 1.0, 0): (712.0987930594717, 15414.133461043819),
    ("resnet32", 0.5, 3): (661.3727261099059, 9421.884612710146),
    ("resnet56", 0.5, 3): (1103.3527947773086, 17110.772077245732),
    ("resnet32_double", 0.5, 3): (1268.2209840391859, 26093.640973708403),
    ("vgg19_bn", 0.5, 3): (2668.4941941350635, 131550.4379942146),
}
"""Sums of all parameters, and of their absolute values, by name, width and seed, for 16x16 images of three channels."""


@pytest.mark.parametrize("case", SUMS, ids=lambda case: f"{case[0]}-{case[1]}")
def test_initial_weights_stay_as_stored_results_know_them(case: tuple[str, float, int]) -> None:
    """Not as a digest of bits: the last of them depends on the vector instructions of the processor."""
    name, width, seed = case
    network = build_network(name, input_shape=(3, 16, 16), num_outputs=10, width=width, seed=seed)
    weights = torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).double()
    assert (weights.sum().item(), weights.abs().sum().item()) == pytest.approx(SUMS[case], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "fan_of_convolutions", "last_std"),
    [("small_cnn", 0, None), ("mlp", 0, None), ("resnet20", 0, 0.01), ("vgg19_bn", 1, 0.01)],
)
def test_initial_weights_are_those_of_the_rule_to_the_last_bit(
    name: str, fan_of_convolutions: int, last_std: float | None
) -> None:
    network = build_network(name, input_shape=(3, 16, 16), num_outputs=10, width=0.5, seed=3)
    generator = torch.Generator().manual_seed(3)
    weights = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    for weight in weights:
        fan = weight.shape[fan_of_convolutions if weight.dim() == 4 else 1] * math.prod(weight.shape[2:])
        std = math.sqrt(2 / fan)
        if weight is weights[-1]:
            std = last_std or math.sqrt(1 / fan)
        assert torch.equal(weight, torch.empty_like(weight).normal_(0.0, std, generator=generator))


@pytest.mark.parametrize("name", ["mlp", "small_cnn"])
def test_plain_networks_start_with_logits_of_unit_scale(name: str) -> None:
    network = build_network(name, input_shape=(1, 8, 8), num_outputs=10, seed=0)
    x = torch.randn(256, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert 0.3 < network(x).std().item() < 3


@pytest.mark.parametrize("name", network_names())
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (2, 5, 9), (1, 16, 35)])
def test_networks_take_images_of_any_size(name: str, shape: tuple[int, ...]) -> None:
    if min(shape[1:]) < SMALLEST_SIDES.get(name, 1):
        with pytest.raises(
            ValueError, match=r"'(pool|conv)\d' \(.*\): images of height [124] are too small .* use larger"
        ):
            design_network(name, input_shape=shape, num_outputs=4)
        return
    network = build_network(name, input_shape=shape, num_outputs=4, width=0.125, seed=0)
    switch_off_dropout(network)
    loss = network(torch.zeros(2, *shape)).square().sum()
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_mlp_takes_tables_and_its_widths() -> None:
    network = build_network("mlp", input_shape=(4,), num_outputs=3, seed=0, arguments={"widths": [8, 6, 5]})
    assert [site.units for site in network.sites] == [8, 6, 5]
    assert network(torch.zeros(2, 4)).shape == (2, 3)
