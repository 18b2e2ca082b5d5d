"""Chromosomes and their succession: check values of the publication's procedure, extremes, and what never changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from methods.cnn_decomposition.genetic import (
    crossover,
    decode,
    draw_cuts,
    encode,
    fittest,
    group_count,
    group_kernels,
    initial_population,
    initial_probabilities,
    kept_kernels,
    mutate,
    mutated_genes,
    next_population,
    select_parents,
)

WIDTHS = (64, 128, 256, 512)


def bits(text: str) -> list[bool]:
    return [digit == "1" for digit in text]


def test_groups_and_kept_kernels_of_the_worked_example() -> None:
    groups = group_kernels([(5 * kernel + 2) % 13 for kernel in range(13)], 5)
    assert groups == [[2, 7, 12], [4, 9, 1], [6, 11, 3], [8, 0], [5, 10]]
    assert decode(groups, bits("10110")) == [2, 7, 12, 6, 11, 3, 8, 0]


@pytest.mark.parametrize(
    ("width", "sizes"),
    [
        (64, [7] * 4 + [6] * 6),
        (128, [13] * 8 + [12] * 2),
        (256, [3] * 56 + [2] * 44),
        (512, [6] * 12 + [5] * 88),
        (255, [26] * 5 + [25] * 5),
        (7, [1] * 7),
        (1, [1]),
    ],
)
def test_sizes_of_the_groups_by_width(width: int, sizes: list[int]) -> None:
    groups = group_kernels(np.zeros(width), group_count(width))
    assert [len(group) for group in groups] == sizes
    # Equally important: in the order of their indices.
    assert [kernel for group in groups for kernel in group] == list(range(width))


def test_genes_of_the_published_networks() -> None:
    simcnn = [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    rescnn = [64, 128, 128, 256, 512, 512, 512, 512, 512]
    assert sum(map(group_count, simcnn)) == 940
    assert sum(map(group_count, rescnn)) == 630


@pytest.mark.parametrize("importance", [[[1.0]], [1.0, float("nan")], [float("inf")]])
def test_importance_that_ranks_nothing_is_refused(importance: list[float]) -> None:
    with pytest.raises(ValueError, match="finite number per kernel"):
        group_kernels(importance, 1)


@pytest.mark.parametrize("num_groups", [0, 4])
def test_groups_that_cannot_be_filled_are_refused(num_groups: int) -> None:
    with pytest.raises(ValueError, match="groups of 3 kernels"):
        group_kernels([1.0, 2.0, 3.0], num_groups)


@pytest.mark.parametrize("width", WIDTHS)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_decoding_what_was_encoded_keeps_the_order_of_the_groups(width: int, data: st.DataObject) -> None:
    # Few values, so that many kernels are equally important.
    importance = data.draw(st_numpy.arrays(np.float64, width, elements=st.integers(0, 9).map(float)))
    groups = group_kernels(importance, group_count(width))
    genes = data.draw(st.lists(st.booleans(), min_size=len(groups), max_size=len(groups)))
    kept = decode(groups, genes)
    assert encode(groups, kept) == genes
    assert decode(groups, encode(groups, sorted(kept))) == kept
    ranks = [(-importance[kernel], kernel) for kernel in kept]
    assert ranks == sorted(ranks)


def test_kernels_that_no_gene_can_say_are_refused() -> None:
    groups = [[3, 1], [0, 2]]
    with pytest.raises(ValueError, match="group 1"):
        encode(groups, [3, 1, 2])
    with pytest.raises(ValueError, match="kernel 4 is in no group"):
        encode(groups, [3, 1, 4])
    with pytest.raises(ValueError, match="1 bits for 2 groups"):
        decode(groups, [True])


def test_kept_kernels_decodes_every_layer_of_every_candidate() -> None:
    rng = np.random.default_rng(5)
    groups = [group_kernels(rng.random(width), count) for width, count in ((13, 5), (4, 4), (6, 1))]
    population = rng.random((7, 10)) < 0.5
    kept = kept_kernels(population, groups)
    for layer, genes in enumerate(np.split(population, [5, 9], axis=1)):
        for candidate in range(7):
            found = np.flatnonzero(kept[layer][candidate]).tolist()
            assert found == sorted(decode(groups[layer], genes[candidate]))
    with pytest.raises(ValueError, match="for 10 groups"):
        kept_kernels(population[:, :9], groups)


def test_initial_probabilities_of_ten_groups() -> None:
    wanted = [0.150545, 0.136219, 0.123256, 0.111526, 0.100913, 0.091310, 0.082621, 0.074758, 0.067644, 0.061207]
    assert initial_probabilities(10) == pytest.approx(wanted, abs=5e-7)
    # With 100 groups the first half has nearly all of the mass.
    assert initial_probabilities(100)[:50].sum() == pytest.approx(0.993, abs=5e-4)


def test_initial_population_keeps_the_drawn_share_of_each_layer() -> None:
    ratios = [(0.6, 0.7, 0.8), (0.2, 0.3), (1.0,), (0.1,)]
    population = initial_population([10, 100, 5, 3], ratios, size=200, generator=np.random.default_rng(1))
    first, second, third, fourth = np.split(population, [10, 110, 115], axis=1)
    assert set(first.sum(axis=1)) == {6, 7, 8}
    assert set(second.sum(axis=1)) == {20, 30}
    assert third.all()
    # A tenth of three groups is none; one is kept all the same.
    assert set(fourth.sum(axis=1)) == {1}
    # Important groups come first, most of the time.
    assert second[:, :25].mean() > 4 * second[:, 25:].mean()
    again = initial_population([10, 100, 5, 3], ratios, size=200, generator=np.random.default_rng(1))
    assert np.array_equal(population, again)


@pytest.mark.parametrize(
    ("ratios", "size", "problem"),
    [
        ([(0.5,)], 0, "at least 1 candidate"),
        ([], 3, "a list for each layer"),
        ([()], 3, "layer 0"),
        ([(1.2,)], 3, "1.2"),
    ],
)
def test_an_initial_population_that_cannot_be_drawn(ratios: list[tuple[float, ...]], size: int, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        initial_population([10], ratios, size=size, generator=np.random.default_rng(0))


def test_parents_are_the_fittest_and_of_equals_the_later_ones() -> None:
    assert select_parents([0.2, 0.5, 0.5, 0.1, 0.5], 4) == [4, 2, 1, 0]
    assert fittest([0.2, 0.5, 0.5, 0.1, 0.5]) == 1
    with pytest.raises(ValueError, match="6 of a population of 5"):
        select_parents(np.zeros(5), 6)
    with pytest.raises(ValueError, match="candidate 1 is not a number"):
        select_parents([0.1, float("nan")], 1)


def test_crossover_by_hand() -> None:
    parents = np.array([bits("0000"), bits("1111"), bits("0101")])
    offspring = crossover(parents, [1, 2, 0, 4], 4)
    # Parents in a circle: 0 and 1, 1 and 2, 2 and 0, 0 and 1 again.
    assert offspring.tolist() == [bits("0111"), bits("1101"), bits("0000"), bits("0000")]


@pytest.mark.parametrize("cuts", [[1], [1, 5], [-1, 2]])
def test_cuts_that_do_not_fit_are_refused(cuts: list[int]) -> None:
    with pytest.raises(ValueError, match="for 2 offspring"):
        crossover(np.zeros((3, 4), dtype=np.bool_), cuts, 2)


@pytest.mark.parametrize(
    ("genes", "percent", "wanted"), [(940, 5, 47), (940, 10, 94), (630, 5, 31), (630, 10, 63), (9, 5, 0), (9, 100, 9)]
)
def test_mutated_genes_of_the_published_settings(genes: int, percent: float, wanted: int) -> None:
    assert mutated_genes(genes, percent) == wanted


def test_mutation_gives_random_bits_to_few_genes() -> None:
    offspring = np.zeros((400, 50), dtype=np.bool_)
    mutated = mutate(offspring, 10, np.random.default_rng(0))
    flipped = mutated.sum(axis=1)
    assert flipped.max() <= 10
    assert flipped.mean() == pytest.approx(5, abs=0.3)
    # Every gene of a chromosome is as likely to be hit as any other.
    assert mutated.mean(axis=0) == pytest.approx(np.full(50, 0.1), abs=0.06)
    assert not offspring.any()
    assert np.array_equal(mutate(offspring, 0, np.random.default_rng(0)), offspring)
    with pytest.raises(ValueError, match="51 genes of 50"):
        mutate(offspring, 51, np.random.default_rng(0))


@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(1, 12),
    genes=st.integers(1, 9),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_fittest_stay_and_offspring_are_theirs(
    size: int, genes: int, shares: tuple[float, float, float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    population = rng.random((size, genes)) < 0.5
    fitness = rng.integers(4, size=size) / 4
    num_parents, num_kept = (1 + int(share * (size - 1)) for share in shares[:2])
    num_mutated = int(shares[2] * genes)
    cuts = draw_cuts(size - num_kept, genes, rng)

    def successor(num_mutated: int) -> np.ndarray:
        return next_population(
            population,
            fitness,
            cuts,
            num_parents=num_parents,
            num_kept=num_kept,
            num_mutated=num_mutated,
            generator=np.random.default_rng(seed),
        )

    following = successor(num_mutated)
    assert following.shape == population.shape
    ranked = sorted(range(size), key=lambda index: (-fitness[index], -index))
    assert np.array_equal(following[:num_kept], population[ranked[:num_kept]])
    bred = successor(0)[num_kept:]
    for number, child in enumerate(bred):
        first, second = (population[ranked[(number + step) % num_parents]] for step in (0, 1))
        assert child.tolist() == [*first[: cuts[number]], *second[cuts[number] :]]
    assert ((following[num_kept:] != bred).sum(axis=1) <= num_mutated).all()
    assert np.array_equal(following, successor(num_mutated))


@pytest.mark.parametrize(("num_parents", "num_kept"), [(50, 20), (5, 20), (0, 5)])
def test_a_population_smaller_than_its_parents_is_refused(num_parents: int, num_kept: int) -> None:
    with pytest.raises(ValueError, match="of a population of 10; enlarge it"):
        next_population(
            np.zeros((10, 4), dtype=np.bool_),
            np.zeros(10),
            [],
            num_parents=num_parents,
            num_kept=num_kept,
            num_mutated=0,
            generator=np.random.default_rng(0),
        )
