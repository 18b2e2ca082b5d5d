"""Which sub-tasks are measured, and how accuracy is restricted to their classes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.measure.subtasks import (
    choose_subsets,
    first_of_each,
    graded_sizes,
    graded_subsets,
    restricted_accuracies,
    restricted_accuracy,
    subtask_sample_size,
)


def test_sample_sizes_for_100_classes_are_the_published_ones() -> None:
    sizes = [subtask_sample_size(100, size) for size in range(2, 101)]
    assert sizes == [146, 150, *[151] * 93, 150, 146, 61, 1]
    assert sum(sizes) == 14_697


@settings(max_examples=100, deadline=None)
@given(data=st.data(), num_classes=st.integers(1, 200), margin=st.floats(0.001, 0.9), confidence=st.floats(0.01, 0.999))
def test_a_sample_is_never_empty_nor_larger_than_all(
    data: st.DataObject, num_classes: int, margin: float, confidence: float
) -> None:
    size = data.draw(st.integers(1, num_classes))
    wanted = subtask_sample_size(num_classes, size, margin=margin, confidence=confidence)
    assert 1 <= wanted <= math.comb(num_classes, size)


def test_sample_size_bears_numbers_of_subsets_beyond_floats() -> None:
    assert subtask_sample_size(20_000, 10_000) == 151


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "give a size of 1 to 10"),
        ({"size": 11}, "give a size of 1 to 10"),
        ({"size": 2, "margin": 0.0}, "margin is 0.0"),
        ({"size": 2, "confidence": 1.0}, "confidence is 1.0"),
    ],
)
def test_sample_sizes_without_meaning_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        subtask_sample_size(10, **arguments)  # type: ignore[arg-type]


def classes_of(subsets: torch.Tensor) -> list[tuple[int, ...]]:
    return [tuple(subset.nonzero().flatten().tolist()) for subset in subsets]


@pytest.mark.parametrize("num_classes", [2, 3, 9, 10])
def test_all_subsets_of_two_or_more_are_chosen_in_order(num_classes: int) -> None:
    subsets = classes_of(choose_subsets(num_classes))
    assert len(subsets) == len(set(subsets)) == 2**num_classes - 1 - num_classes
    assert subsets == sorted(subsets, key=lambda classes: (len(classes), classes))


def test_subsets_of_one_class_come_when_asked_for() -> None:
    assert classes_of(choose_subsets(3, sizes=(1, 2, 3))) == [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]


def test_subsets_of_many_classes_are_drawn_by_the_rule() -> None:
    subsets = classes_of(choose_subsets(30))
    assert len(subsets) == len(set(subsets))
    assert subsets == sorted(subsets, key=lambda classes: (len(classes), classes))
    for size in range(2, 31):
        assert sum(len(classes) == size for classes in subsets) == subtask_sample_size(30, size)
    # Each class is about as likely as any other: of 151 subsets of 15 classes, 75.5 expected, deviation 6.1.
    of_15 = [classes for classes in subsets if len(classes) == 15]
    assert all(45 < sum(index in classes for classes in of_15) < 106 for index in range(30))


def test_a_draw_depends_on_its_seed_alone() -> None:
    assert torch.equal(choose_subsets(12), choose_subsets(12))
    assert not torch.equal(choose_subsets(12), choose_subsets(12, seed=1))
    larger = choose_subsets(12, sizes=range(3, 13))
    assert torch.equal(choose_subsets(12, sizes=range(1, 13))[-len(larger) :], larger)
    state = torch.get_rng_state()
    choose_subsets(12)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("num_classes", "size"), [(1, 2), (3, 4), (3, 0), (12, 13)])
def test_subsets_that_do_not_exist_are_refused(num_classes: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"of {num_classes} classes has {size}"):
        choose_subsets(num_classes, sizes=(size,))


@pytest.mark.parametrize("given", [None, ()])
def test_no_size_at_all_is_refused(given: tuple[int, ...] | None) -> None:
    with pytest.raises(ValueError, match="at least two"):
        choose_subsets(1, sizes=given)


def test_the_first_samples_of_each_class_are_found_by_class() -> None:
    labels = torch.tensor([2, 0, 2, 2, 0, 1])
    assert first_of_each(labels, num_classes=4, most=2).tolist() == [1, 4, 5, 0, 2]


def test_restricted_accuracy_by_hand() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [0.0, 5.0, 1.0], [0.0, 1.0, 2.0]])
    labels = torch.tensor([0, 2, 2, 1])
    assert restricted_accuracy(logits, labels, [0, 1, 2]) == 1 / 4
    # Without class 0 the second sample is right; of the two classes the first has no sample any more.
    assert restricted_accuracy(logits, labels, [2, 1]) == 1 / 3
    assert restricted_accuracy(logits, labels, [2]) == 1.0


def test_equal_logits_favour_the_lower_class() -> None:
    logits = torch.zeros(3, 3)
    labels = torch.tensor([0, 1, 2])
    assert restricted_accuracy(logits, labels, [2, 1, 0]) == 1 / 3
    assert restricted_accuracy(logits, labels, [1, 2]) == 1 / 2
    assert restricted_accuracy(logits[:2], labels[:2], [1, 2]) == 1.0


def test_a_sample_without_a_logit_of_its_own_class_is_never_right() -> None:
    logits = torch.tensor([[math.nan, 0.0], [1.0, math.nan]])
    assert restricted_accuracy(logits, torch.tensor([0, 0]), [0, 1]) == 0.0
    assert restricted_accuracy(logits, torch.tensor([0, 0]), [0]) == 1 / 2


@settings(max_examples=50, deadline=None)
@given(num_classes=st.integers(1, 8), num_samples=st.integers(1, 60), seed=st.integers(0, 2**16), ties=st.booleans())
def test_restricted_accuracies_are_those_of_an_argmax_over_the_subset(
    num_classes: int, num_samples: int, seed: int, ties: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num_samples, num_classes, generator=generator)
    if ties:
        logits = logits.round()
    labels = torch.randint(num_classes, (num_samples,), generator=generator)
    subsets = choose_subsets(num_classes, sizes=range(1, num_classes + 1))
    found = restricted_accuracies(logits, labels, subsets)
    assert found.dtype == torch.float64
    for accuracy, classes in zip(found.tolist(), classes_of(subsets), strict=True):
        wanted = torch.isin(labels, torch.tensor(classes))
        if not wanted.any():
            assert math.isnan(accuracy)
            with pytest.raises(ValueError, match="no sample of the classes"):
                restricted_accuracy(logits, labels, classes)
            continue
        # numpy's argmax promises the first of equals.
        won = torch.tensor(classes)[torch.from_numpy(logits[wanted][:, list(classes)].numpy().argmax(axis=1))]
        assert accuracy == pytest.approx(float((won == labels[wanted]).double().mean()), abs=1e-12)
        assert restricted_accuracy(logits, labels, classes) == accuracy


def test_the_ruler_looks_at_all_sizes_of_ten_classes_and_at_some_of_more() -> None:
    assert torch.equal(graded_subsets(10), choose_subsets(10))
    assert graded_sizes(100) == (*range(2, 11), 20, 50, 100)
    counts = graded_subsets(100).sum(dim=1)
    for size in graded_sizes(100):
        assert int((counts == size).sum()) == subtask_sample_size(100, size)
    assert len(counts) == 1656
    assert graded_sizes(1) == ()
    assert tuple(graded_subsets(1).shape) == (0, 1)


def test_many_samples_are_counted_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 5, generator=generator)
    labels = torch.randint(5, (500,), generator=generator)
    whole = restricted_accuracies(logits, labels, choose_subsets(5))
    monkeypatch.setattr("methods.measure.subtasks._CHUNK_VALUES", 100)
    assert torch.equal(restricted_accuracies(logits, labels, choose_subsets(5)), whole)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "name at least one"),
        ([1, 1], "and each once"),
        ([0, 3], "no class 3; classes are numbered 0 to 2"),
        ([-1], "no class -1"),
        ([2], r"no sample of the classes \[2\]"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_refused(classes: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restricted_accuracy(torch.zeros(2, 3), torch.tensor([0, 1]), classes)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(2, 3), torch.tensor([0]), "logits"),
        (torch.zeros(3), torch.tensor([0, 1, 2]), "logits"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "labels reach from 0 to 3"),
        (torch.zeros(2, 3), torch.tensor([-1, 2]), "labels reach from -1 to 2"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), r"torch\.float32"),
    ],
)
def test_samples_that_do_not_fit_are_refused(logits: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restricted_accuracy(logits, labels, [0])


@pytest.mark.parametrize(
    ("subsets", "message"),
    [
        (torch.ones(2, 4, dtype=torch.bool), r"give bool \(subsets, 3\)"),
        (torch.ones(2, 3), r"give bool \(subsets, 3\)"),
        (torch.eye(4, 3).bool(), "subset 3 has no class"),
    ],
)
def test_subsets_that_do_not_fit_are_refused(subsets: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restricted_accuracies(torch.zeros(2, 3), torch.tensor([0, 1]), subsets)


def test_accuracy_over_a_chain_of_subsets_can_only_fall_per_sample() -> None:
    # A class more is a rival more: on the same samples nothing that was wrong becomes right.
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 6, generator=generator)
    labels = torch.zeros(200, dtype=torch.int64)
    chain = torch.ones(6, 6).tril().bool()
    accuracies = restricted_accuracies(logits, labels, chain).tolist()
    assert accuracies[0] == 1.0
    assert all(before >= after for before, after in pairwise(accuracies))
