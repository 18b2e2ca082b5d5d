"""The trained patch on logits whose best layer is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from methods.modules.patch_head import over_weak_alone, trained_layer
from methods.modules.patching import patched
from methods.surgery import extract
from tests.methods.networks.samples import sample_network

TARGETS = torch.arange(600) % 3


def _logits() -> tuple[Tensor, Tensor]:
    """A weak network that never finds class 2, and a module that does."""
    generator = torch.Generator().manual_seed(0)
    weak = 3 * torch.eye(3)[TARGETS] + torch.randn(600, 3, generator=generator)
    weak[TARGETS == 2] = 3 * torch.eye(3)[0] + torch.randn(200, 3, generator=generator)
    module = torch.where(TARGETS == 2, 4.0, -2.0) + torch.randn(600, generator=generator)
    return weak, module


def _recall(scores: Tensor, label: int) -> float:
    own = label == TARGETS
    return float((scores[own].argmax(dim=1) == label).double().mean())


def test_the_layer_takes_the_class_from_the_module_and_leaves_its_logit_out() -> None:
    weak, module = _logits()
    layer = trained_layer(weak, module, TARGETS, target=2, epochs=10, seed=0)
    scores = torch.cat([weak, module[:, None]], dim=1) @ layer.weight.T + layer.bias
    assert _recall(weak, 2) < 0.1
    assert _recall(scores, 2) > 0.9
    assert min(_recall(scores, 0), _recall(scores, 1)) > 0.8
    assert bool((layer.weight[:, 2] == 0).all())
    assert not layer.probabilities
    assert not layer.squashed


def test_the_control_has_no_module_to_learn_from() -> None:
    weak, _ = _logits()
    weight, bias = over_weak_alone(weak, TARGETS, epochs=10, seed=0)
    assert weight.shape == (3, 3)
    # It can learn to guess class 2 where the weak network is unsure, but cannot tell it from class 0.
    scores = weak @ weight.T + bias
    assert _recall(scores, 2) + _recall(scores, 0) < 1.5


def test_equal_seeds_give_equal_layers_and_nothing_else_is_drawn() -> None:
    weak, module = _logits()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, other = (trained_layer(weak, module, TARGETS, target=1, seed=3) for _ in range(2))
    assert torch.equal(one.weight, other.weight)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(one.weight, trained_layer(weak, module, TARGETS, target=1, seed=4).weight)


def test_the_layer_in_a_network_computes_what_it_was_trained_to() -> None:
    weak = sample_network("small_cnn", seed=0).eval()
    strong = sample_network("small_cnn", seed=5)
    module = extract(strong, {site.name: torch.ones(site.units, dtype=torch.bool) for site in strong.sites}, [2]).eval()
    x = torch.randn(30, *weak.architecture.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, score = weak(x), module(x)[:, 0]
    layer = trained_layer(logits, score, torch.arange(30) % 5, target=3, seed=0)
    with torch.no_grad():
        expected = torch.cat([logits, score[:, None]], dim=1) @ layer.weight.T + layer.bias
        torch.testing.assert_close(patched(weak, module, layer).eval()(x), expected, atol=1e-4, rtol=1e-4)


def test_samples_and_classes_that_do_not_fit_are_refused() -> None:
    weak, module = _logits()
    with pytest.raises(ValueError, match="no class 3"):
        trained_layer(weak, module, TARGETS, target=3, seed=0)
    with pytest.raises(ValueError, match="600 samples with 599 classes"):
        trained_layer(weak, module, TARGETS[1:], target=0, seed=0)
