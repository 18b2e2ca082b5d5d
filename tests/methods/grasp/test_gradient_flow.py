from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.grasp.gradient_flow import hessian_gradient_products, removal_scores
from methods.training.masks import score_masks

CURVATURE = torch.tensor([[2.0, 1.0], [1.0, 3.0]])


def _quadratic(w: Tensor) -> Tensor:
    return w @ CURVATURE @ w / 2


def test_a_quadratic_by_hand() -> None:
    """w = (1, -2): g = (0, -5), H g = (-5, -15), scores -w * H g = (5, -30)."""
    w = torch.tensor([1.0, -2.0], requires_grad=True)
    assert hessian_gradient_products([lambda: _quadratic(w)], [w])[0].tolist() == [-5, -15]
    scores = removal_scores([lambda: _quadratic(w)], [w])
    assert scores[0].tolist() == [5, -30]

    # |g|^2 = 25 becomes 40 without the first weight, and 5 without the second: the second must stay.
    def squared_norm(left: list[float]) -> float:
        return float((CURVATURE @ torch.tensor(left)).square().sum())

    assert [squared_norm([0.0, -2.0]), squared_norm([1.0, -2.0]), squared_norm([1.0, 0.0])] == [40, 25, 5]
    assert score_masks([-scores[0]], pruning_rate=0.5)[0].tolist() == [False, True]


def test_scores_are_half_the_slope_of_the_flow_as_a_weight_shrinks() -> None:
    w = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    curvature = CURVATURE.double()
    scores = removal_scores([lambda: w @ curvature @ w / 2], [w])[0]
    for place in range(2):
        shrunk = w.detach().clone()
        shrunk[place] *= 1 - 1e-7
        change = (curvature @ shrunk).square().sum() - (curvature @ w.detach()).square().sum()
        assert float(change / 2e-7) == pytest.approx(float(scores[place]), rel=1e-5)


def test_products_agree_with_differences_of_gradients_on_a_network_with_batch_normalisation() -> None:
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    ).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=generator)
    weights = [network[0].weight, network[5].weight]
    batches = [
        (torch.randn(6, 2, 4, 4, generator=generator, dtype=torch.float64), torch.arange(6) % 3),
        (torch.randn(5, 2, 4, 4, generator=generator, dtype=torch.float64), torch.arange(5) % 2),
    ]

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(network(batch[0]) / 5, batch[1])

    def gradient() -> list[Tensor]:
        return list(torch.autograd.grad(torch.stack([loss(batch) for batch in batches]).sum(), weights))

    found = hessian_gradient_products([partial(loss, batch) for batch in batches], weights)
    flow, step = gradient(), 1e-5

    def moved(sign: int) -> list[Tensor]:
        with torch.no_grad():
            torch._foreach_add_(weights, flow, alpha=sign * step)
            try:
                with torch.enable_grad():
                    return gradient()
            finally:
                torch._foreach_add_(weights, flow, alpha=-sign * step)

    for product, ahead, behind in zip(found, moved(1), moved(-1), strict=True):
        assert torch.allclose(product, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-9)
