"""Widths, sizes and shares follow from sorted scores; controls keep as many units by another rule."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.networks.dense_head import parameter_count
from methods.odf2nna.cuts import Cutting, controls, most, warning
from methods.odf2nna.usefulness import keep_units, ranks


def _cutting(seed: int, *widths: int, others: int = 0) -> Cutting:
    generator = torch.Generator().manual_seed(seed)
    scores = tuple(torch.rand(width, generator=generator, dtype=torch.float64) for width in widths)
    return Cutting(scores, 5, 3, others)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 1000), st.lists(st.integers(1, 30), min_size=1, max_size=3), st.floats(0, 1.2))
def test_closed_form_widths_are_those_of_the_keep_sets(seed: int, widths: list[int], epsilon: float) -> None:
    cutting = _cutting(seed, *widths)
    kept = [int(keep.sum()) for keep in keep_units(cutting.usefulness, epsilon=epsilon)]
    assert cutting.widths(epsilon) == kept == [int(keep.sum()) for keep in cutting.keep(epsilon)]
    assert cutting.parameters(epsilon) == parameter_count([5, *kept, 3])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 1000), st.lists(st.integers(1, 30), min_size=1, max_size=3), st.floats(0.01, 1))
def test_a_share_is_met_with_the_smallest_tolerance(seed: int, widths: list[int], share: float) -> None:
    cutting = _cutting(seed, *widths, others=7)
    epsilon = cutting.epsilon_for(share)
    smallest = 7 + parameter_count([5, *[1] * len(widths), 3])
    if smallest > share * cutting.total:
        assert cutting.parameters(epsilon) == smallest
        return
    assert cutting.parameters(epsilon) <= share * cutting.total
    below = [score for scores in cutting.usefulness for score in scores.tolist() if score < epsilon]
    if below:
        assert cutting.parameters(max(below)) > share * cutting.total


def test_widths_are_rounded_up_by_the_next_most_useful_units() -> None:
    scores = (torch.tensor([0.9, 0.1, 0.5, 0.4, 0.3], dtype=torch.float64),)
    plain, rounded = Cutting(scores, 2, 2, 0), Cutting(scores, 2, 2, 0, multiple=4)
    assert plain.keep(0.45)[0].tolist() == [True, False, True, False, False]
    assert rounded.keep(0.45)[0].tolist() == [True, False, True, True, True]
    assert rounded.widths(0.45) == [4]
    assert rounded.keep(0.0)[0].all(), "no more than there are"


def test_of_equal_scores_the_first_units_stay() -> None:
    assert most(torch.ones(4), 2).tolist() == [True, True, False, False]


def test_ranks_let_every_layer_lose_the_same_share_whatever_its_outliers() -> None:
    layers = [torch.tensor([100.0, 1, 2, 3]), torch.tensor([0.4, 0.3, 0.2, 0.1]), torch.tensor([5.0, 5, 0, 0])]
    ranked = [ranks(layer.double()) for layer in layers]
    assert ranked[0].tolist() == [1.0, 0.25, 0.5, 0.75]
    assert ranked[2].tolist() == [1.0, 0.75, 0.0, 0.0], "useless units have no rank"
    assert [keep.sum().item() for keep in keep_units(ranked[:2], epsilon=0.25)] == [3, 3]
    assert [keep.sum().item() for keep in keep_units(ranked, epsilon=0)] == [4, 4, 2]


@pytest.mark.parametrize("units", ["random", "outgoing_norm", "mean_activation"])
def test_controls_keep_equal_widths(units: str) -> None:
    keep = [torch.tensor([True, True, False, False]), torch.tensor([False, False, True])]
    outgoing = [torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([[0.0, 9, 1]])]
    mean = [torch.tensor([4.0, 3, 2, 1]), torch.tensor([1.0, 0, 0])]

    def chosen() -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(1)
        return controls(
            units,  # type: ignore[arg-type]
            keep,
            outgoing=outgoing,
            mean=mean,
            excluded=[torch.tensor([False, False, False, True]), torch.zeros(3, dtype=torch.bool)],
            generator=generator,
        )

    assert [int(one.sum()) for one in chosen()] == [2, 1]
    assert all(torch.equal(one, other) for one, other in zip(chosen(), chosen(), strict=True))
    assert not chosen()[0][3], "nothing reads it any more"
    if units == "outgoing_norm":
        assert chosen()[0].tolist() == [False, True, True, False]
    if units == "mean_activation":
        assert chosen()[1].tolist() == [True, False, False]


def test_one_epsilon_that_does_not_fit_all_layers_is_told() -> None:
    keep = [torch.arange(100) < 2, torch.ones(10, dtype=torch.bool)]
    message = warning(keep, ("first", "second"))
    assert message is not None
    assert "first keeps 2 of 100 units while second keeps 10 of 10" in message
    assert warning([torch.arange(100) < 50, keep[1]], ("first", "second")) is None
