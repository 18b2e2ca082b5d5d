from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from methods.snip.sensitivity import connection_sensitivity


def test_sensitivities_by_hand() -> None:
    """Half the squared error of 2*3 - 1*4 = 2 against 1: its gradient is (3, 4), times the weights (6, -4)."""
    one, two = torch.tensor([2.0], requires_grad=True), torch.tensor([[-1.0]], requires_grad=True)
    loss = ((one * 3 + two * 4).squeeze() - 1).square() / 2
    found = connection_sensitivity(loss, [one, two])
    assert [score.tolist() for score in found] == [[pytest.approx(0.6)], [[pytest.approx(0.4)]]]


def test_sensitivity_is_the_slope_of_the_loss_in_a_switch_at_each_weight() -> None:
    """The paper's definition: c multiplies the weights, and |dL/dc| at c = 1 counts."""
    network = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=generator)
    x, y = torch.randn(7, 4, generator=generator, dtype=torch.float64), torch.arange(7) % 3
    weights = [network[0].weight, network[2].weight]
    found = torch.cat([s.flatten() for s in connection_sensitivity(F.cross_entropy(network(x), y), weights)])

    def loss_with(layer: int, place: int, switch: float) -> float:
        scaled = copy.deepcopy(network)
        with torch.no_grad():
            scaled[layer].weight.view(-1)[place] *= switch
            return float(F.cross_entropy(scaled(x), y))

    step = 1e-6
    slopes = torch.tensor(
        [
            abs(loss_with(layer, place, 1 + step) - loss_with(layer, place, 1 - step)) / (2 * step)
            for layer in (0, 2)
            for place in range(network[layer].weight.numel())
        ],
        dtype=torch.float64,
    )
    assert torch.allclose(found, slopes / slopes.sum(), atol=1e-8)
    assert float(found.sum()) == pytest.approx(1.0)


def test_a_loss_that_no_weight_moves_gives_zeros_not_nan() -> None:
    weight = torch.ones(3, requires_grad=True)
    assert connection_sensitivity((weight * 0).sum(), [weight])[0].tolist() == [0, 0, 0]
