"""Check values T1-T4 come from running the authors' functions in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from methods.hypersparse.penalty import (
    INFLECTION,
    exact_count_masks,
    magnitude_masks,
    penalty_gradient,
    penalty_value,
    prune_rank,
    pruning_threshold,
)

T1 = [torch.tensor([(-1) ** i * (i + 1) / 10 for i in range(10)], dtype=torch.float64)]
_WAVE = 0.5 * torch.sin(1.7 * torch.arange(20, dtype=torch.float64) + 0.3)
T2 = [_WAVE[:8].view(2, 1, 2, 2), _WAVE[8:].view(3, 4)]
T3 = [torch.tensor([0, 0, 0, 0.2, -0.2, 0.2, 0.5, -0.5, 1, -2], dtype=torch.float64)]
_INDEX = torch.arange(1000, dtype=torch.float64)
T4 = [torch.sin(0.01 * _INDEX**2) / (1 + 0.01 * _INDEX)]

T1_GRADIENT = "1.087179 -1.069934 1.041994 -1.004487 0.958854 -0.906743 0.849884 -0.789989 0.728655 -0.667303"
T2_GRADIENT = (
    "1.056078 0.736776 -0.957211 -0.820318 0.846527 0.928405 -0.755008 -1.034024 0.698190 1.098488 "
    "-0.681184 1.092272 0.704856 -1.018417 -0.767917 0.909883 0.864037 -0.804417 -0.975312 0.726393"
)
T3_GRADIENT = "0 0 0 1.807506 -1.807506 1.807506 0.374658 -0.374658 0.014935 -2.06815e-5"


def _numbers(text: str) -> Tensor:
    return torch.tensor([float(word) for word in text.split()], dtype=torch.float64)


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _c(weights: list[Tensor], rate: float) -> float:
    """The factor c by its definition."""
    a = _flat(weights).abs()
    s = INFLECTION / float(pruning_threshold(weights, pruning_rate=rate))
    return float(s * a.sum() / torch.tanh(s * a).sum())


def _kept(weights: list[Tensor], rate: float) -> int:
    return sum(int(mask.sum()) for mask in magnitude_masks(weights, pruning_rate=rate))


@pytest.mark.parametrize(
    ("weights", "rate", "rank", "tau", "c", "kept", "gradient"),
    [
        (T1, 0.8, 8, 0.9, 1.093009, 1, T1_GRADIENT),
        (T2, 0.75, 15, 0.454649, 1.105190, 4, T2_GRADIENT),
        (T3, 0.5, 5, 0.2, 2.711325, 4, T3_GRADIENT),
    ],
    ids=["T1", "T2", "T3"],
)
def test_hypersparse_equals_the_reference_values(
    weights: list[Tensor], rate: float, rank: int, tau: float, c: float, kept: int, gradient: str
) -> None:
    assert prune_rank(_flat(weights).numel(), rate) == rank
    assert float(pruning_threshold(weights, pruning_rate=rate)) == pytest.approx(tau, abs=5e-7)
    assert _c(weights, rate) == pytest.approx(c, abs=1e-6)
    assert _kept(weights, rate) == kept
    found = penalty_gradient(weights, kind="hypersparse", pruning_rate=rate)
    assert [part.shape for part in found] == [weight.shape for weight in weights]
    torch.testing.assert_close(_flat(found), _numbers(gradient), atol=1e-6, rtol=0)
    assert float(penalty_value(weights, kind="hypersparse", pruning_rate=rate)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("rate", "rank", "tau", "c", "kept", "norm", "total", "g_7", "g_100", "g_999"),
    [
        (0.9, 900, 0.335627, 1.125140, 99, 32.152668, 998.237862, 0.577313, -0.887523, 1.105841),
        (0.98, 980, 0.630669, 1.042122, 19, 31.686825, 998.304913, 0.849908, -0.972558, 1.037018),
        (0.995, 995, 0.811589, 1.026351, 4, 31.633410, 998.431780, 0.905985, -0.984229, 1.023311),
    ],
)
def test_hypersparse_equals_the_reference_values_at_three_rates(
    rate: float,
    rank: int,
    tau: float,
    c: float,
    kept: int,
    norm: float,
    total: float,
    g_7: float,
    g_100: float,
    g_999: float,
) -> None:
    assert prune_rank(1000, rate) == rank
    assert float(pruning_threshold(T4, pruning_rate=rate)) == pytest.approx(tau, abs=1e-6)
    assert _c(T4, rate) == pytest.approx(c, abs=1e-6)
    assert _kept(T4, rate) == kept
    (g,) = penalty_gradient(T4, kind="hypersparse", pruning_rate=rate)
    assert float(g.norm()) == pytest.approx(norm, abs=1e-5)
    assert float(g.abs().sum()) == pytest.approx(total, abs=1e-4)
    assert [float(g[i]) for i in (7, 100, 999)] == pytest.approx([g_7, g_100, g_999], abs=1e-6)


@pytest.mark.parametrize(
    ("weights", "l1", "l2"),
    [(T1, 5.5, 3.85), (T2, 6.521323, 2.494224), (T3, 4.6, 5.62), (T4, 152.225386, 43.923931)],
)
def test_l1_and_l2_equal_the_reference_values(weights: list[Tensor], l1: float, l2: float) -> None:
    assert float(penalty_value(weights, kind="l1", pruning_rate=0.5)) == pytest.approx(l1, abs=1e-6)
    assert float(penalty_value(weights, kind="l2", pruning_rate=0.5)) == pytest.approx(l2, abs=1e-6)


def test_gradients_of_l1_and_l2_are_the_sign_and_twice_the_weight() -> None:
    assert penalty_gradient(T1, kind="l1", pruning_rate=0.8)[0].tolist() == [1, -1] * 5
    first = _flat(penalty_gradient(T2, kind="l2", pruning_rate=0.75))[:4]
    torch.testing.assert_close(first, _numbers("0.295520 0.909297 -0.529836 -0.772764"), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["hypersparse", "l1", "l2"])
@pytest.mark.parametrize("weights", [T1, T2, T3, T4], ids=["T1", "T2", "T3", "T4"])
def test_the_closed_form_is_what_autograd_finds(kind: str, weights: list[Tensor]) -> None:
    leaves = [weight.clone().requires_grad_() for weight in weights]
    penalty_value(leaves, kind=kind, pruning_rate=0.6).backward()  # type: ignore[arg-type,no-untyped-call]
    closed = penalty_gradient(weights, kind=kind, pruning_rate=0.6)  # type: ignore[arg-type]
    for leaf, expected in zip(leaves, closed, strict=True):
        torch.testing.assert_close(leaf.grad, expected, atol=1e-12, rtol=1e-10)


def test_the_pull_falls_with_the_magnitude_as_published() -> None:
    tau = float(pruning_threshold(T4, pruning_rate=0.9))
    c = _c(T4, 0.9)
    # Placed at the multiples of tau without moving rank, sums or threshold: read off the slope itself.
    for multiple, share in [(1e-6, 1.0), (1.0, 2 / 3), (2.0, 0.25), (3.0, 0.074), (5.0, 0.0055)]:
        w = multiple * tau
        slope = 1 - float(torch.tanh(torch.tensor(INFLECTION / tau * w))) ** 2
        assert slope == pytest.approx(share, rel=0.02)
    (g,) = penalty_gradient(T4, kind="hypersparse", pruning_rate=0.9)
    assert c >= 1
    assert float(g.abs().max()) <= c
    at_tau = int((T4[0].abs() - tau).abs().argmin())
    assert float(g[at_tau].abs()) == pytest.approx(2 / 3 * c, rel=1e-3)


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_scaling_all_weights_leaves_the_gradient(factor: float) -> None:
    (plain,) = penalty_gradient(T4, kind="hypersparse", pruning_rate=0.9)
    (scaled,) = penalty_gradient([factor * T4[0]], kind="hypersparse", pruning_rate=0.9)
    torch.testing.assert_close(scaled, plain)


def test_it_becomes_l1_when_all_weights_lie_far_below_the_threshold() -> None:
    weights = [torch.cat([torch.full((999,), 1e-6), torch.ones(1)]).double()]
    (g,) = penalty_gradient(weights, kind="hypersparse", pruning_rate=0.999)
    # One weight at tau among 999 tiny ones: c is near its limit for that one, and all tiny ones feel the same pull.
    assert float(g[:-1].std()) == pytest.approx(0, abs=1e-9)
    assert float(g[0]) == pytest.approx(_c(weights, 0.999), abs=1e-9)


def test_at_zero_threshold_the_gradient_is_zero_and_the_nonzero_weights_stay() -> None:
    leaf = T3[0].clone().requires_grad_()
    penalty_value([leaf], kind="hypersparse", pruning_rate=0.2).backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [0.0] * 10
    assert penalty_gradient(T3, kind="hypersparse", pruning_rate=0.2)[0].tolist() == [0.0] * 10
    assert _kept(T3, 0.2) == 7


def test_all_zero_weights_give_a_zero_gradient() -> None:
    assert penalty_gradient([torch.zeros(5)], kind="hypersparse", pruning_rate=0.9)[0].tolist() == [0.0] * 5


def test_a_rate_of_zero_removes_one_weight_as_in_the_reference() -> None:
    assert _kept(T1, 0.0) == 9


@pytest.mark.parametrize(
    ("weights", "rate", "kept"), [(T1, 0.8, 2), (T1, 0.0, 10), (T3, 0.5, 5), (T3, 0.2, 8), (T4, 0.9, 100)]
)
def test_the_exact_count_keeps_what_the_rate_asks_for(weights: list[Tensor], rate: float, kept: int) -> None:
    masks = exact_count_masks(weights, pruning_rate=rate)
    assert sum(int(mask.sum()) for mask in masks) == kept
    order = _flat(weights).abs().argsort(stable=True)
    assert sorted(order[-kept:].tolist()) == _flat(masks).nonzero().squeeze(1).tolist()


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_rates_outside_the_range_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="share of weights to remove"):
        penalty_gradient(T1, kind="hypersparse", pruning_rate=rate)
    with pytest.raises(ValueError, match="share of"):
        magnitude_masks(T1, pruning_rate=rate)
    with pytest.raises(ValueError, match="share of weights to remove"):
        exact_count_masks(T1, pruning_rate=rate)


def test_no_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="no prunable weights"):
        penalty_value([], kind="l1", pruning_rate=0.5)


def test_a_rate_just_below_one_stays_inside_the_vector() -> None:
    assert prune_rank(10, 0.99999999999999994 - 1e-16) == 9
