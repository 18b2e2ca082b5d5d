"""Counts that can be worked out by hand, and those of the published networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from methods.artefact import encode
from methods.measure import count_macs, count_nonzeros, count_parameters, stored_bytes
from methods.networks.build import build_network
from methods.surgery import deploy


def test_parameters_and_nonzeros_count_weights_and_biases_but_no_buffers() -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.LazyLinear(2))
    network(torch.zeros(2, 2, 4, 4))
    assert count_parameters(network) == (54 + 3) + (3 + 3) + (12 * 2 + 2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1.0)
        network[0].weight[1] = 0.0
        network[0].weight[0, 0, 0, 0] = -0.0
        network[1].bias.zero_()
    assert count_nonzeros(network) == count_parameters(network) - 18 - 1 - 3


def test_network_of_zeros_has_no_nonzeros() -> None:
    network = nn.Linear(7, 5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert count_parameters(network) == 40
    assert count_nonzeros(network) == 0


def test_shared_weights_are_counted_once_but_their_work_each_time() -> None:
    layer = nn.Linear(4, 4, bias=False)
    twin = nn.Linear(4, 4, bias=False)
    twin.weight = layer.weight
    network = nn.Sequential(layer, layer, twin)
    assert count_parameters(network) == 16
    assert count_nonzeros(network) == 16
    assert count_macs(network, (4,)) == 3 * 16


def test_frozen_weights_count_too() -> None:
    assert count_parameters(nn.Linear(3, 2).requires_grad_(False)) == 8


@pytest.mark.parametrize(
    ("layer", "input_shape", "expected"),
    [
        # Outputs times products per output: 4 x (5 x 5) outputs, 3 x 3 x 3 products each.
        (nn.Conv2d(3, 4, 3), (3, 7, 7), 4 * 25 * 27),
        # Padding keeps 7 x 7 outputs; products with padded zeros are executed and counted.
        (nn.Conv2d(3, 4, 3, padding=1), (3, 7, 7), 4 * 49 * 27),
        # (7 + 2 - 3) // 2 + 1 = 4 rows and columns.
        (nn.Conv2d(3, 4, 3, stride=2, padding=1), (3, 7, 7), 4 * 16 * 27),
        # Kernel (1, 3), stride (2, 1), padding (0, 1): 4 x 7 outputs.
        (nn.Conv2d(2, 5, (1, 3), stride=(2, 1), padding=(0, 1)), (2, 7, 7), 5 * 28 * 6),
        # Each output sees one group only: 2 of 4 input channels.
        (nn.Conv2d(4, 6, 3, groups=2), (4, 5, 5), 6 * 9 * 2 * 9),
        # Depthwise.
        (nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), (8, 4, 4), 8 * 16 * 9),
        (nn.Conv2d(3, 4, 3, dilation=2), (3, 7, 7), 4 * 9 * 27),
        (nn.Linear(10, 3), (10,), 30),
        # A linear layer on a sequence works once per position.
        (nn.Linear(10, 3), (6, 10), 180),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2)), (3, 2, 2), 70),
    ],
)
def test_macs_agree_with_hand_count_and_with_pytorch(
    layer: nn.Module, input_shape: tuple[int, ...], expected: int
) -> None:
    assert count_macs(layer, input_shape) == expected
    with FlopCounterMode(display=False) as counter:
        layer(torch.zeros(1, *input_shape))
    assert counter.get_total_flops() == 2 * expected


def test_macs_of_published_network() -> None:
    network = build_network("resnet32_double", input_shape=(3, 32, 32), num_outputs=10, seed=0)
    assert round(count_macs(network, (3, 32, 32)) / 1e6, 1) == 275.6


def test_zero_weights_do_not_lower_dense_macs() -> None:
    network = build_network("small_cnn", input_shape=(1, 8, 8), num_outputs=10, seed=0)
    before = count_macs(network, (1, 8, 8))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert count_macs(network, (1, 8, 8)) == before


def test_counting_leaves_the_network_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3)).train()
    network[1].eval()
    count_macs(network, (1, 8, 8))
    assert network.training
    assert not network[1].training
    assert int(network[1].num_batches_tracked) == 0
    assert all(not module._forward_hooks for module in network.modules())


def test_a_failing_forward_pass_leaves_no_hooks_behind() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        count_macs(network, (3,))
    assert all(not module._forward_hooks for module in network.modules())
    assert network.training


def test_stored_bytes_are_those_of_the_deployed_artefact() -> None:
    network = build_network("small_cnn", input_shape=(1, 8, 8), num_outputs=10, seed=0)
    dense = stored_bytes(network)
    assert dense == len(encode(deploy(network)))
    with torch.no_grad():
        for tensor in network.parameters():
            if tensor.dim() > 1:
                generator = torch.Generator().manual_seed(0)
                tensor.mul_(torch.rand(tensor.shape, generator=generator) < 0.05)
    assert stored_bytes(network) < 0.25 * dense
