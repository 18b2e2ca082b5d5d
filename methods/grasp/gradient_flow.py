"""What removing a weight does to the flow of gradients.

Source: Wang, Zhang, Grosse, "Picking Winning Tickets before Training by Preserving Gradient Flow", ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def hessian_gradient_products(losses: Sequence[Callable[[], Tensor]], weights: Sequence[Tensor]) -> list[Tensor]:
    """H g of the sum of the losses, with its gradient g and its Hessian H, without ever holding H.

    Args:
        losses: Each computes the loss of one batch; called twice, so that the graph of one batch is held at a time.
        weights: One tensor per layer.

    Returns:
        One tensor per layer.
    """
    weights = list(weights)
    flow = [torch.zeros_like(weight, requires_grad=False) for weight in weights]
    for loss in losses:
        torch._foreach_add_(flow, torch.autograd.grad(loss(), weights))
    products = [torch.zeros_like(part) for part in flow]
    for loss in losses:
        gradients = torch.autograd.grad(loss(), weights, create_graph=True)
        along = torch.stack([(part * own).sum() for part, own in zip(flow, gradients, strict=True)]).sum()
        torch._foreach_add_(products, torch.autograd.grad(along, weights))
    return products


def removal_scores(losses: Sequence[Callable[[], Tensor]], weights: Sequence[Tensor]) -> list[Tensor]:
    """-w * (H g): half the change of the squared norm of the gradient, to first order, when a weight is removed.

    Negative where removal would weaken the flow of gradients. The weights of the *highest* scores are to go
    (equation 8 and algorithm 2 of the paper).

    Args:
        losses: As in `hessian_gradient_products`.
        weights: One tensor per layer.
    """
    products = hessian_gradient_products(losses, weights)
    return [-weight.detach() * product for weight, product in zip(weights, products, strict=True)]
