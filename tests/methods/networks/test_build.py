"""What initial weights promise: they follow from the seed alone, with the spread that the papers train from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from methods.networks.build import build_network
from methods.networks.catalog import design_network, network_names
from methods.networks.graph import Network


def built(name: str, seed: int) -> Network:
    return build_network(name, input_shape=(3, 16, 16), num_outputs=10, width=0.5, seed=seed)


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


@pytest.mark.parametrize("name", ["mlp", "small_cnn"])
def test_plain_networks_start_with_logits_of_unit_scale(name: str) -> None:
    network = build_network(name, input_shape=(1, 8, 8), num_outputs=10, seed=0)
    x = torch.randn(256, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert 0.3 < network(x).std().item() < 3


@pytest.mark.parametrize("name", network_names())
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (2, 5, 9), (1, 16, 35)])
def test_networks_take_images_of_any_size(name: str, shape: tuple[int, ...]) -> None:
    if name == "vgg19_bn" and min(shape[1:]) < 16:
        with pytest.raises(ValueError, match=r"'pool\d' \(max_pool\): images of height 1 are too small .* use larger"):
            design_network(name, input_shape=shape, num_outputs=4)
        return
    network = build_network(name, input_shape=shape, num_outputs=4, width=0.25, seed=0)
    loss = network(torch.zeros(2, *shape)).square().sum()
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_mlp_takes_tables_and_its_widths() -> None:
    network = build_network("mlp", input_shape=(4,), num_outputs=3, seed=0, arguments={"widths": [8, 6, 5]})
    assert [site.units for site in network.sites] == [8, 6, 5]
    assert network(torch.zeros(2, 4)).shape == (2, 3)
