"""T1 to T4 are check values that were computed with the functions of the HyperSparse authors in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from methods.networks.build import build_network
from methods.training.masks import (
    apply_masks,
    emptied_layers,
    kept_share,
    magnitude_masks,
    magnitude_pruned,
    prunable_weights,
    random_masks,
    score_masks,
)

T1 = torch.tensor([(-1) ** i * (i + 1) / 10 for i in range(10)], dtype=torch.float64)
T2 = torch.tensor([0.5 * math.sin(1.7 * i + 0.3) for i in range(20)], dtype=torch.float64)
T3 = torch.tensor([0, 0, 0, 0.2, -0.2, 0.2, 0.5, -0.5, 1, -2], dtype=torch.float64)
T4 = torch.tensor([math.sin(0.01 * i**2) / (1 + 0.01 * i) for i in range(1000)], dtype=torch.float64)


def _kept(weights: Tensor, rate: float) -> int:
    return int(magnitude_masks([weights], pruning_rate=rate)[0].sum())


@pytest.mark.parametrize(
    ("weights", "rate", "kept"),
    [(T1, 0.8, 1), (T3, 0.5, 4), (T3, 0.2, 7), (T4, 0.9, 99), (T4, 0.98, 19), (T4, 0.995, 4), (T4, 0.0, 999)],
    ids=["T1", "T3", "T3 with threshold 0", "T4 0.9", "T4 0.98", "T4 0.995", "T4 dense"],
)
def test_as_many_weights_stay_as_in_the_reference_code(weights: Tensor, rate: float, kept: int) -> None:
    assert _kept(weights, rate) == kept
    assert _kept(weights.float(), rate) == kept


def test_the_threshold_is_global_over_layers_of_any_shape() -> None:
    masks = magnitude_masks([T2[:8].view(2, 1, 2, 2), T2[8:].view(3, 4)], pruning_rate=0.75)
    assert [mask.shape for mask in masks] == [(2, 1, 2, 2), (3, 4)]
    assert torch.cat([mask.flatten() for mask in masks]).nonzero().flatten().tolist() == [8, 10, 12, 19]


@pytest.mark.parametrize(("rate", "kept"), [(0.9, 185_558), (0.98, 37_111), (0.99, 18_555), (0.995, 9_277)])
def test_the_doubled_resnet_32_keeps_as_many_weights_as_the_authors_model(rate: float, kept: int) -> None:
    network = build_network("resnet32_double", input_shape=(3, 32, 32), num_outputs=10, seed=0)
    masks = magnitude_masks(prunable_weights(network), pruning_rate=rate)
    assert sum(mask.numel() for mask in masks) == 1_855_584
    assert sum(int(mask.sum()) for mask in masks) == kept
    assert kept_share(masks) == kept / 1_855_584


@pytest.mark.parametrize("rate", [-0.01, 1.0, float("nan")])
def test_a_rate_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="pruning rate"):
        magnitude_masks([T1], pruning_rate=rate)


def test_no_weights_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="no conv or linear layer"):
        magnitude_masks([], pruning_rate=0.5)


def test_prunable_are_the_weights_of_convolutions_and_linear_layers_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    assert [tuple(weight.shape) for weight in prunable_weights(network)] == [(4, 3, 3, 3), (2, 4)]


def test_applying_masks_leaves_plain_zeros_and_touches_nothing_else() -> None:
    weight = nn.Parameter(torch.tensor([[-3.0, float("inf")], [-0.5, 2.0]]))
    apply_masks([weight], [torch.tensor([[True, False], [False, True]])])
    assert weight.tolist() == [[-3.0, 0.0], [0.0, 2.0]]
    assert not torch.signbit(weight[1, 0]), "a negative zero would not compress like the others"


@pytest.mark.parametrize(("rate", "kept"), [(0.0, 10), (0.5, 5), (0.69, 4), (0.99, 1)])
def test_exactly_as_many_of_the_highest_scores_stay_as_the_rate_says(rate: float, kept: int) -> None:
    scores = [torch.tensor([[3.0, -9.0], [0.5, 7.0]]), torch.tensor([-1.0, 4.0, 0.0, 6.0, -2.0, 1.0])]
    masks = score_masks(scores, pruning_rate=rate)
    chosen = torch.cat([score[mask] for score, mask in zip(scores, masks, strict=True)])
    assert sorted(chosen.tolist(), reverse=True) == [7, 6, 4, 3, 1, 0.5, 0, -1, -2, -9][:kept]


def test_of_equal_scores_the_later_stay() -> None:
    masks = score_masks([torch.zeros(2, 2), torch.zeros(3)], pruning_rate=0.6)
    assert [mask.flatten().tolist() for mask in masks] == [[False] * 4, [True] * 3]


def test_masks_lie_in_memory_like_their_scores() -> None:
    score = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    plain = score_masks([score], pruning_rate=0.7)[0]
    last = score_masks([score.contiguous(memory_format=torch.channels_last)], pruning_rate=0.7)[0]
    assert torch.equal(plain, last)
    assert last.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        score_masks([torch.tensor([1.0, value])], pruning_rate=0.5)


def test_random_masks_keep_the_numbers_asked_for_and_follow_from_the_seed() -> None:
    weights = [torch.zeros(4, 3, 3, 3), torch.zeros(5, 4)]

    def drawn(seed: int) -> list[Tensor]:
        return random_masks(weights, kept=[30, 0], generator=torch.Generator().manual_seed(seed))

    assert [int(mask.sum()) for mask in drawn(0)] == [30, 0]
    assert torch.equal(drawn(0)[0], drawn(0)[0])
    assert not torch.equal(drawn(0)[0], drawn(1)[0])


def test_a_pruned_copy_leaves_the_network_as_it_was_and_prunes_no_further() -> None:
    network = build_network("small_cnn", input_shape=(1, 8, 8), num_outputs=10, seed=0)
    before = [weight.detach().clone() for weight in prunable_weights(network)]
    once = magnitude_pruned(network, pruning_rate=0.9)
    twice = magnitude_pruned(once, pruning_rate=0.9)
    for old, weight, first, second in zip(
        before, *(prunable_weights(each) for each in (network, once, twice)), strict=True
    ):
        assert torch.equal(old, weight)
        assert torch.equal(first, second)
    left = sum(int((weight != 0).sum()) for weight in prunable_weights(once))
    total = sum(weight.numel() for weight in before)
    assert left == total - math.floor(0.9 * total) - 1


def test_emptied_layers_are_named() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    masks = [torch.zeros(3, 2, dtype=torch.bool), torch.eye(2, 3, dtype=torch.bool)]
    assert emptied_layers(network, masks) == ["0"]
