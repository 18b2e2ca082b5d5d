"""Fitness of candidates against check values, and tournaments against one that predicts every composition anew."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import sin
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.cnn_decomposition.duels import join, right_when_joined, single_blocks
from methods.cnn_decomposition.fitness import (
    TournamentResult,
    accuracy_weight,
    composition_accuracy,
    jaccard_distances,
    tournament,
)
from tests.benchmarks.decomposition_fitness import PlainTournament, distances_of_names, names, predicted_anew

EVERYTHING = (1, 10**6)


def worked_example() -> tuple[Tensor, Tensor, list[Tensor]]:
    """Logits of 5 classes with 2 candidates each on 10 samples, labels and kernel sets."""
    labels = torch.arange(10) % 5
    logits = [
        [[sin(1.3 * i + 2.1 * c + 0.7 * s) + 0.9 * (i % 5 == c) for i in range(10)] for s in range(2)] for c in range(5)
    ]
    sets = [torch.tensor([[(k * (c + 2) + 3 * s + c) % 5 < 3 for k in range(12)] for s in range(2)]) for c in range(5)]
    return torch.tensor(logits), labels, sets


def run(logits: Tensor | Sequence[Tensor], labels: Tensor, sets: Sequence[Tensor], **changed: Any) -> TournamentResult:
    settings: dict[str, Any] = {
        "order": range(len(logits)),
        "accuracy_weight": 0.9,
        "difference_weight": 1 - 0.9,
        "thresholds": {},
    }
    return tournament(logits, labels, sets, **settings | changed)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 0, 4, 2, 1]])
def test_fitness_of_the_worked_example(order: list[int]) -> None:
    logits, labels, sets = worked_example()
    result = run(logits, labels, sets, order=order)
    assert result.best == (1, 0, 1, 0, 0)
    assert result.accuracy == 0.6
    assert result.difference == pytest.approx(0.798889, abs=5e-7)
    assert result.best_fitness == pytest.approx(0.619889, abs=5e-7)
    assert result.fitnesses[1] == pytest.approx(0.618611, abs=5e-7)
    wanted = [
        [0.618611, 0.619889],
        [0.619889, 0.618611],
        [0.618611, 0.619889],
        [0.619889, 0.596556],
        [0.619889, 0.618611],
    ]
    assert np.stack(result.fitness) == pytest.approx(np.array(wanted), abs=5e-7)
    distances = jaccard_distances(sets[0], sets[1])
    assert distances.dtype == torch.float32
    assert distances.numpy() == pytest.approx(np.array([[0.5, 0.75], [0.833333, 0]]), abs=5e-7)


def test_composition_accuracy_favours_the_first_of_equal_columns() -> None:
    logits = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [-1.0, -2.0, -0.5]])
    assert composition_accuracy(logits, torch.tensor([0, 1, 2, 2])) == 0.5
    with pytest.raises(ValueError, match="labels"):
        composition_accuracy(logits, torch.tensor([0, 1, 2, 3]))


def test_accuracy_weighs_more_while_it_is_low() -> None:
    assert accuracy_weight(None, alpha=0.9, gamma=0.95) == 0.9
    assert accuracy_weight(0.75, alpha=0.9, gamma=0.95) == pytest.approx(1.1)
    assert accuracy_weight(0.97, alpha=0.9, gamma=0.95) == 0.9


@settings(deadline=None, max_examples=50)
@given(data=st.data(), elements=st.integers(1, 40))
def test_distances_are_those_of_sets(data: st.DataObject, elements: int) -> None:
    seed = data.draw(st.integers(0, 2**32 - 1))
    generator = torch.Generator().manual_seed(seed)
    sets_a, sets_b = (torch.rand(count, elements, generator=generator) < 0.5 for count in (5, 7))
    # So that no two sets are empty, which Python cannot divide by.
    sets_b[:, 0] = True
    found = jaccard_distances(sets_a, sets_b)
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), distances_of_names(names(sets_a), names(sets_b)))


def test_empty_sets_are_equal() -> None:
    sets = torch.tensor([[False, False], [True, False]])
    assert jaccard_distances(sets, sets).tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize("other", [torch.zeros(3, 4), torch.zeros(3, 5, dtype=torch.bool)])
def test_distances_of_what_are_no_sets_of_the_same_are_refused(other: Tensor) -> None:
    with pytest.raises(ValueError, match="two bool tensors"):
        jaccard_distances(torch.zeros(2, 4, dtype=torch.bool), other)


def drawn_problem(
    seed: int, num_candidates: Sequence[int], *, num_samples: int, levels: int
) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """Logits of few values, many of them equal, some of them negative zeros."""
    generator = torch.Generator().manual_seed(seed)
    num_classes = len(num_candidates)
    labels = torch.cat([torch.arange(num_classes), torch.randint(num_classes, (num_samples,), generator=generator)])
    labels = labels[torch.randperm(len(labels), generator=generator)]
    logits = []
    for label, count in enumerate(num_candidates):
        values = torch.randint(-levels, levels + 1, (count, len(labels)), generator=generator).float()
        values += (labels == label) * (torch.rand(values.shape, generator=generator) < 0.6)
        minus = torch.rand(values.shape, generator=generator) < 0.5
        logits.append(torch.where((values == 0) & minus, -0.0, values))
    sets = [torch.rand(count, 9, generator=generator) < 0.6 for count in num_candidates]
    for sets_SU in sets:
        sets_SU[:, 0] = True
    return logits, labels, sets


@settings(deadline=None, max_examples=80)
@given(data=st.data(), num_classes=st.integers(2, 7), seed=st.integers(0, 2**32 - 1), survivor=st.booleans())
def test_tournament_equals_one_that_predicts_anew(
    data: st.DataObject, num_classes: int, seed: int, survivor: bool
) -> None:
    order = data.draw(st.permutations(range(num_classes)))
    counts = data.draw(st.lists(st.integers(1, 4), min_size=num_classes, max_size=num_classes))
    least = data.draw(st.integers(1, 5))
    keep = (least, least + data.draw(st.integers(0, 5)))
    thresholds = data.draw(st.dictionaries(st.integers(2, 7), st.sampled_from([0.2, 0.4, 0.6])))
    logits, labels, sets = drawn_problem(seed, counts, num_samples=20, levels=1)
    result = run(
        logits,
        labels,
        sets,
        order=order,
        accuracy_weight=1.05,
        difference_weight=0.1,
        thresholds=thresholds,
        keep=keep,
        survivor=survivor,
    )
    wanted = PlainTournament(logits, labels, sets).play(
        order, weights=(1.05, 0.1), thresholds=thresholds, keep=keep, survivor=survivor
    )
    compositions = [tuple(one[0][label] for label in range(num_classes)) for one in wanted]
    assert list(map(tuple, result.compositions.tolist())) == compositions
    assert result.accuracies.tolist() == [one[1] for one in wanted]
    assert result.differences == pytest.approx([one[2] for one in wanted], abs=1e-12)
    assert result.fitnesses == pytest.approx([one[3] for one in wanted], abs=1e-12)
    best = int(result.fitnesses.argmax())
    assert result.best == compositions[best]
    assert (result.accuracy, result.difference, result.best_fitness) == (
        result.accuracies[best],
        result.differences[best],
        result.fitnesses[best],
    )
    if survivor:
        assert (0,) * num_classes in compositions
    for label, (fitness, count) in enumerate(zip(result.fitness, counts, strict=True)):
        for candidate in range(count):
            having = [one[3] for one, taken in zip(wanted, compositions, strict=True) if taken[label] == candidate]
            assert fitness[candidate] == pytest.approx(max(having, default=0.0), abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_where_all_go_on_the_order_of_merging_changes_nothing(data: st.DataObject, seed: int) -> None:
    logits, labels, sets = drawn_problem(seed, [2, 3, 1, 2, 2], num_samples=30, levels=2)
    results = [
        run(logits, labels, sets, order=order, keep=EVERYTHING, thresholds=dict.fromkeys(range(2, 6), 0.0))
        for order in (range(5), data.draw(st.permutations(range(5))))
    ]
    first, second = (np.lexsort(result.compositions.T) for result in results)
    assert len(first) == 24
    for name in ("compositions", "accuracies", "differences", "fitnesses"):
        assert np.array_equal(getattr(results[0], name)[first], getattr(results[1], name)[second])
    for composition, accuracy in zip(results[0].compositions, results[0].accuracies, strict=True):
        columns = torch.stack([of_class[one] for of_class, one in zip(logits, composition, strict=True)], dim=1)
        assert accuracy == composition_accuracy(columns, labels)


def test_ten_classes_are_merged_as_in_the_publication() -> None:
    logits, labels, sets = drawn_problem(3, [3] * 10, num_samples=60, levels=1)
    order = [4, 8, 1, 0, 9, 2, 6, 3, 7, 5]
    # The last pair has to wait for two rounds; whatever is not kept of it, no later block can bring back.
    thresholds = {2: 0.6, 4: 0.5, 8: 0.4, 10: 0.3}
    result = run(logits, labels, sets, order=order, thresholds=thresholds, keep=(2, 6), survivor=True)
    wanted = PlainTournament(logits, labels, sets).play(
        order, weights=(0.9, 1 - 0.9), thresholds=thresholds, keep=(2, 6), survivor=True
    )
    assert [dict(enumerate(one)) for one in result.compositions.tolist()] == [
        dict(sorted(composition.items())) for composition, *_ in wanted
    ]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("num_candidates", [3, 255, 256, 300])
def test_blocks_of_any_size_and_type_equal_predicting_anew(dtype: torch.dtype, num_candidates: int) -> None:
    """More samples than fit into the bytes of one sum, more candidates than fit into the bytes of a rank."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(5000, generator=generator) < 0.1).long()
    logits = torch.randn(2, num_candidates, 5000, generator=generator, dtype=torch.float64).to(dtype)
    # Nearly always right, so that nearly all samples are counted.
    logits[0] += 6 * (labels == 0)
    # Of one class only some, for the time it takes to predict anew.
    a, b = single_blocks([logits[0], logits[1, :3]], labels, [1, 0])
    found = right_when_joined(a, b)
    assert found.shape == (3, num_candidates)
    for first, second in product(range(0, num_candidates, 50), range(3)):
        columns = [logits[0, first].numpy(), logits[1, second].numpy()]
        assert found[second, first] / 5000 == predicted_anew(columns, labels.numpy())
    joined = join(a, b, np.array([2, 0]), np.array([1, 0]))
    assert len(joined) == 2
    assert (joined.ranks[:, joined.own] > 0).sum(axis=1).tolist() == [found[2, 1], found[0, 0]]


def test_logits_of_mixed_types_are_compared_as_they_are() -> None:
    labels = torch.tensor([0, 0, 1])
    third = torch.tensor([[1 / 3, 1 / 3, 0.0]], dtype=torch.float64)
    rounded = third.half()
    sets = [torch.ones(1, 1, dtype=torch.bool)] * 2
    # As a half a third is a little less than one: class 0 wins its samples, and would by the tie rule as well.
    assert run([third, rounded], labels, sets).accuracy == pytest.approx(2 / 3)
    # The other way round it loses them.
    assert run([rounded, third], labels, sets).accuracy == 0.0


def test_default_thresholds_go_by_the_round() -> None:
    # One class has 60 candidates that are right on 95 % of the samples, and 40 that are right on 80 %.
    labels = torch.arange(200) % 2
    right = torch.ones(100, 200, dtype=torch.bool)
    right[:60, :10] = False
    right[60:, :40] = False
    logits = [torch.where(right == (labels == 0), 1.0, -1.0), torch.zeros(1, 200)]
    sets = [torch.ones(100, 3, dtype=torch.bool), torch.ones(1, 3, dtype=torch.bool)]
    assert len(run(logits, labels, sets).compositions) == 60
    assert len(run(logits, labels, sets, thresholds={2: 0.96}).compositions) == 50
    assert len(run(logits, labels, sets, thresholds={2: 0.8}).compositions) == 100
    assert len(run(logits, labels, sets, thresholds={2: 0.8}, keep=(10, 70)).compositions) == 70
    # Sizes that do not occur are of no account.
    assert len(run(logits, labels, sets, thresholds={4: 0.0}).compositions) == 60


def invalid(**changed: Any) -> dict[str, Any]:
    logits, labels, sets = worked_example()
    given: dict[str, Any] = {"logits": logits, "labels": labels, "sets": sets}
    return given | changed


LOGITS, LABELS, SETS = worked_example()
NOT_A_NUMBER = LOGITS.clone()
NOT_A_NUMBER[3, 1, 4] = float("nan")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"logits": LOGITS[:1], "sets": SETS[:1]}, "at least two classes"),
        ({"sets": SETS[:4]}, "kernel sets of 4"),
        ({"labels": LABELS + 1}, "labels reach from 1 to 5"),
        ({"labels": LABELS.clamp(max=3)}, "class 4 has no sample"),
        ({"labels": LABELS[:9]}, "for 9 labels"),
        ({"logits": LOGITS.long()}, "floating-point"),
        ({"logits": NOT_A_NUMBER}, "class 3 is not a number for candidate 1 on sample 4"),
        ({"logits": [LOGITS[0][:0], *LOGITS[1:]]}, "at least one candidate"),
        ({"sets": [SETS[0][:1], *SETS[1:]]}, "kernel sets of class 0"),
        ({"sets": [*SETS[:4], SETS[4].float()]}, "kernel sets of class 4"),
        ({"sets": [*SETS[:4], SETS[4][:, :5]]}, "kernel sets of class 4"),
        ({"order": [0, 1, 2, 3, 3]}, "order"),
        ({"accuracy_weight": -0.1}, "weight of accuracy"),
        ({"difference_weight": float("inf")}, "weight of difference"),
        ({"thresholds": {2: 95.0}}, "threshold 95.0 for 2 classes"),
        ({"keep": (0, 5)}, "keep"),
        ({"keep": (6, 5)}, "keep"),
    ],
)
def test_what_makes_no_tournament_is_refused(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        run(**invalid(**changed))
