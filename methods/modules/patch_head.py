"""The patch that is trained: a linear layer over the logits of the weak network and the module's score.

Source: replacement of Ngo et al., "DNN Modularization via Activation-Driven Training" (ICSE 2026): the weak network's
logits without that of the target class, and the module's logit, feed one linear layer, the only thing that is trained,
on the weak network's own samples. As such a layer may mend a weak network without any module, `over_weak_alone` trains
the same layer without one: the control that the published figures lack.

Shapes: N = samples, K = classes of the weak network.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.modules.patching import PatchLayer
from methods.training.schedules import cosine_schedule

EPOCHS = 5
"""The revised paper's; its first version took 20."""
_LEARNING_RATE, _MOMENTUM, _BATCH = 0.05, 0.9, 128
_INITIAL_SPREAD = 0.01


def trained_layer(
    weak_logits_NK: Tensor, module_score_N: Tensor, targets_N: Tensor, *, target: int, epochs: int = EPOCHS, seed: int
) -> PatchLayer:
    """Train the layer with cross-entropy, SGD with Nesterov's momentum 0.9 and a cosine from 0.05.

    Args:
        weak_logits_NK, module_score_N: Of the weak network's training samples; neither network is trained.
        targets_N: Their classes, as the weak network numbers them.
        target: The class whose logit is left out for the module's.
        epochs: Passes over the samples.
        seed: Of the initial weights, N(0, 0.01), and of the order of the samples.

    Raises:
        ValueError: Not one score and one class for each sample, or a class that the weak network has not.
    """
    num_classes = weak_logits_NK.shape[1]
    if not 0 <= target < num_classes:
        raise ValueError(f"trained_layer: no class {target}; the weak network has 0 to {num_classes - 1}")
    features = torch.cat([weak_logits_NK, module_score_N[:, None]], dim=1)
    mask = torch.ones(num_classes + 1)
    mask[target] = 0.0
    return _trained(features, targets_N, mask, num_classes=num_classes, epochs=epochs, seed=seed)


def over_weak_alone(
    weak_logits_NK: Tensor, targets_N: Tensor, *, epochs: int = EPOCHS, seed: int
) -> tuple[Tensor, Tensor]:
    """The same layer over all logits of the weak network and no module: weight (K, K) and bias (K,)."""
    num_classes = weak_logits_NK.shape[1]
    features = torch.cat([weak_logits_NK, weak_logits_NK.new_zeros(len(weak_logits_NK), 1)], dim=1)
    mask = torch.ones(num_classes + 1)
    mask[-1] = 0.0
    layer = _trained(features, targets_N, mask, num_classes=num_classes, epochs=epochs, seed=seed)
    return layer.weight[:, :-1], layer.bias


def _trained(
    features: Tensor, targets_N: Tensor, mask: Tensor, *, num_classes: int, epochs: int, seed: int
) -> PatchLayer:
    if not len(features) == len(targets_N) or len(features) == 0:
        raise ValueError(f"a layer trained on {len(features)} samples with {len(targets_N)} classes; give one for each")
    generator = torch.Generator().manual_seed(seed)
    weight = (_INITIAL_SPREAD * torch.randn(num_classes, num_classes + 1, generator=generator) * mask).requires_grad_()
    bias = torch.zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.SGD([weight, bias], lr=_LEARNING_RATE, momentum=_MOMENTUM, nesterov=True)
    rate = cosine_schedule(epochs, learning_rate=_LEARNING_RATE)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = rate(epoch)
        for chosen in torch.split(torch.randperm(len(features), generator=generator), _BATCH):
            optimizer.zero_grad()
            # The column that is left out has no weight, and its gradient is zero.
            loss = F.cross_entropy(F.linear(features[chosen] * mask, weight, bias), targets_N[chosen])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return PatchLayer(weight.detach(), bias.detach(), probabilities=False, squashed=False)
