"""The genetic search of CNNSplitter: chromosomes over groups of kernels, and how one population follows another.

Source: Qi et al., "Patching Weak Convolutional Neural Network Models through Modularization and Composition" (ASE 2022,
arXiv 2209.06116) and its public code, qibinhang/CNNSplitter.
All classes of a search start from the same chromosomes and cut theirs at the same points, as in that code; only their
rankings of kernels and their mutations differ. Ours are the seeds: the code draws from global streams, and never seeds
the one of the mutations, so that its searches cannot be repeated. Here every draw is of a generator that is handed in.

Shapes: S = candidates of a population, P = parents, O = offspring, G = genes of a chromosome, K = kernels of a layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Groups = Sequence[Sequence[int]]
"""The kernels of one layer, most important first, cut into groups; a gene says whether a group is kept."""

Population = NDArray[np.bool_]
"""(S, G), or less than a whole population of such rows."""

_WIDE = 256
_GROUPS_NARROW = 10
_GROUPS_WIDE = 100


def group_count(num_kernels: int) -> int:
    """How many groups a layer is cut into: 10, or 100 from 256 kernels on; never more than it has kernels.

    The last is ours: the layers of the publication have 64 kernels at least.

    Raises:
        ValueError: A layer without kernels.
    """
    if num_kernels < 1:
        raise ValueError(f"group_count: a layer of {num_kernels} kernels; it needs at least 1")
    return min(_GROUPS_NARROW if num_kernels < _WIDE else _GROUPS_WIDE, num_kernels)


def group_kernels(importance: ArrayLike, num_groups: int) -> list[list[int]]:
    """Kernels of similar importance together, most important first.

    Args:
        importance: One number per kernel of the layer.
        num_groups: At least 1, at most the number of kernels; see `group_count`.

    Returns:
        Groups whose sizes differ by at most 1, larger ones first. Of equally important kernels the lower index comes
        first.

    Raises:
        ValueError: Not one number per kernel, one that is not finite, or a number of groups out of range.
    """
    importance_K = np.asarray(importance, dtype=np.float64)
    if importance_K.ndim != 1 or not np.isfinite(importance_K).all():
        raise ValueError(
            f"group_kernels: importance of shape {importance_K.shape}, {int((~np.isfinite(importance_K)).sum())} not "
            "finite; give one finite number per kernel"
        )
    if not 1 <= num_groups <= len(importance_K):
        raise ValueError(
            f"group_kernels: {num_groups} groups of {len(importance_K)} kernels; give at most one for each"
        )
    ranked_K = np.argsort(-importance_K, kind="stable")
    return [group.tolist() for group in np.array_split(ranked_K, num_groups)]


def decode(groups: Groups, bits: Sequence[bool] | NDArray[np.bool_]) -> list[int]:
    """The kernels that the genes of one layer keep, in the order of the groups.

    Raises:
        ValueError: Not one bit per group.
    """
    if len(bits) != len(groups):
        raise ValueError(f"decode: {len(bits)} bits for {len(groups)} groups; give one for each")
    return [kernel for group, bit in zip(groups, bits, strict=True) if bit for kernel in group]


def encode(groups: Groups, kept: Sequence[int]) -> list[bool]:
    """The genes of one layer that keep these kernels: undoes `decode`.

    Raises:
        ValueError: A kernel that is in no group, or a group kept in part, which no gene can say.
    """
    wanted = set(kept)
    unknown = wanted.difference(*groups)
    if unknown:
        raise ValueError(f"encode: kernel {min(unknown)} is in no group of the layer")
    for number, group in enumerate(groups):
        if 0 < len(wanted.intersection(group)) < len(group):
            raise ValueError(f"encode: of group {number}, {list(group)}, some are kept; keep all of them or none")
    return [group[0] in wanted for group in groups]


def kept_kernels(population: Population, groups: Sequence[Groups]) -> list[NDArray[np.bool_]]:
    """`decode` for every layer of every candidate at once.

    Args:
        population: (S, G).
        groups: Of each layer, in the order of the genes; layers that share genes count once.

    Returns:
        Of each layer bool (S, K), true where the kernel is kept. A row may be all false.

    Raises:
        ValueError: The groups of all layers do not make G.
    """
    num_genes = sum(len(of_layer) for of_layer in groups)
    if population.ndim != 2 or population.shape[1] != num_genes:
        raise ValueError(f"kept_kernels: population of shape {population.shape} for {num_genes} groups in all layers")
    kept, first_gene = [], 0
    for of_layer in groups:
        gene_K = np.empty(sum(map(len, of_layer)), dtype=np.int64)
        for number, group in enumerate(of_layer):
            gene_K[list(group)] = first_gene + number
        kept.append(population[:, gene_K])
        first_gene += len(of_layer)
    return kept


def initial_probabilities(num_groups: int) -> NDArray[np.float64]:
    """How likely each group of a layer is drawn at first: a softmax over (g-1-i)/10, the most important group i = 0."""
    weight = np.exp(-np.arange(num_groups) / 10)
    probability: NDArray[np.float64] = weight / weight.sum()
    return probability


def initial_population(
    num_groups: Sequence[int], keep_ratios: Sequence[Sequence[float]], *, size: int, generator: np.random.Generator
) -> Population:
    """Chromosomes to start from, the same for all classes.

    For each layer of each candidate a keep ratio is drawn from the layer's list, then so many of its groups, by
    `initial_probabilities` and without replacement. At least one is drawn, which is ours: with the 10 or 100 groups of
    the publication no ratio of its lists gives none.

    Args:
        num_groups: Of each layer, in the order of the genes.
        keep_ratios: For each layer the ratios to draw from, in (0, 1]: higher ones for sensitive layers.
        size: Candidates, at least 1.
        generator: Advanced.

    Returns:
        Bool (S, G).

    Raises:
        ValueError: No candidates, not one list of ratios per layer, an empty one, or a ratio out of range.
    """
    if size < 1 or len(num_groups) != len(keep_ratios):
        raise ValueError(
            f"initial_population: {size} candidates, {len(num_groups)} layers and {len(keep_ratios)} lists of keep "
            "ratios; give at least 1 candidate and a list for each layer"
        )
    for number, ratios in enumerate(keep_ratios):
        if not ratios or not all(0 < ratio <= 1 for ratio in ratios):
            raise ValueError(f"initial_population: keep ratios {list(ratios)} of layer {number}; give some in (0, 1]")
    population = np.zeros((size, sum(num_groups)), dtype=np.bool_)
    for candidate in population:
        first_gene = 0
        for count, ratios in zip(num_groups, keep_ratios, strict=True):
            ratio = ratios[int(generator.integers(len(ratios)))]
            active = max(1, int(count * ratio))
            drawn = generator.choice(count, size=active, replace=False, p=initial_probabilities(count))
            candidate[first_gene + drawn] = True
            first_gene += count
    return population


def select_parents(fitness: ArrayLike, count: int) -> list[int]:
    """The fittest candidates, the best one first; of equally fit ones the higher index is first, as in the public code.

    Raises:
        ValueError: Fewer candidates than are wanted, or a fitness that is not a number.
    """
    fitness_S = np.asarray(fitness, dtype=np.float64)
    if np.isnan(fitness_S).any():
        raise ValueError(
            f"select_parents: the fitness of candidate {int(np.isnan(fitness_S).argmax())} is not a number"
        )
    if not 1 <= count <= len(fitness_S):
        raise ValueError(
            f"select_parents: {count} of a population of {len(fitness_S)}; select at least 1, and no more than it has"
        )
    ascending: list[int] = np.argsort(fitness_S, kind="stable").tolist()
    return ascending[::-1][:count]


def fittest(fitness: ArrayLike) -> int:
    """The candidate that stands for its class after a generation; of equally fit ones the lowest index.

    The public code breaks ties the other way round in `select_parents`, which puts its first choice at index 0 of the
    next population.
    """
    return int(np.argmax(np.asarray(fitness, dtype=np.float64)))


def draw_cuts(count: int, num_genes: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Where to cut the parents of each offspring, from 0 to one less than the genes; for all classes alike."""
    return generator.integers(num_genes, size=count)


def crossover(parents: ArrayLike, cuts: ArrayLike, count: int) -> Population:
    """Offspring of neighbouring parents: k has the genes before its cut of parent k, the others of parent k + 1.

    Args:
        parents: Bool (P, G), the fittest first; counted in a circle.
        cuts: For each offspring a number of genes, 0 to G.
        count: Offspring.

    Returns:
        Bool (O, G).

    Raises:
        ValueError: No parents, or not one cut in this range per offspring.
    """
    cuts_O, parents_PG = np.asarray(cuts), np.asarray(parents, dtype=np.bool_)
    if parents_PG.ndim != 2 or len(parents_PG) == 0:
        raise ValueError(f"crossover: parents of shape {parents_PG.shape}; give at least one, as (parents, genes)")
    num_genes = parents_PG.shape[1]
    if cuts_O.shape != (count,) or not ((cuts_O >= 0) & (cuts_O <= num_genes)).all():
        raise ValueError(
            f"crossover: cuts {cuts_O.tolist()} for {count} offspring; give each one from 0 to {num_genes}"
        )
    first_O = np.arange(count) % len(parents_PG)
    second_O = (first_O + 1) % len(parents_PG)
    before_cut_OG = np.arange(num_genes) < cuts_O[:, None]
    return np.where(before_cut_OG, parents_PG[first_O], parents_PG[second_O])


def mutated_genes(genes: int, percent: float) -> int:
    """How many genes of an offspring get a random bit.

    Raises:
        ValueError: A percentage outside of 0 to 100.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"mutated_genes: {percent} percent; give 0 to 100")
    return math.floor(percent * genes / 100)


def mutate(offspring: Population, num_genes: int, generator: np.random.Generator) -> Population:
    """Give each offspring random bits at `num_genes` distinct random genes, about half of which change by that.

    Args:
        offspring: (O, G), left alone.
        num_genes: At most G; see `mutated_genes`.
        generator: Advanced; of the class, as mutations are its own.

    Raises:
        ValueError: More genes than there are.
    """
    if not 0 <= num_genes <= offspring.shape[1]:
        raise ValueError(f"mutate: {num_genes} genes of {offspring.shape[1]}; give no more than there are")
    chosen = generator.random(offspring.shape).argsort(axis=1)[:, :num_genes]
    mutated = offspring.copy()
    np.put_along_axis(mutated, chosen, generator.integers(2, size=chosen.shape, dtype=np.bool_), axis=1)
    return mutated


def next_population(
    population: Population,
    fitness: ArrayLike,
    cuts: ArrayLike,
    *,
    num_parents: int,
    num_kept: int,
    num_mutated: int,
    generator: np.random.Generator,
) -> Population:
    """The population of one class after this one: its fittest unchanged and first, then mutated offspring.

    Args:
        population: (S, G).
        fitness: One number per candidate.
        cuts: For each of the S - `num_kept` offspring, the same for all classes; see `draw_cuts`.
        num_parents: Fittest candidates that have offspring, 50 in the publication.
        num_kept: Fittest candidates that stay, 20 in the publication; index 0 is the fittest of all.
        num_mutated: Genes of an offspring that get a random bit.
        generator: Advanced by the mutations.

    Returns:
        Bool (S, G).

    Raises:
        ValueError: A population smaller than the parents or those kept, or parts that do not fit together.
    """
    size = len(population)
    if not (1 <= num_parents <= size and 1 <= num_kept <= size):
        raise ValueError(
            f"next_population: {num_parents} parents and {num_kept} kept of a population of {size}; enlarge it, or "
            "lower both numbers to 1 to its size"
        )
    if np.shape(fitness) != (size,):
        raise ValueError(
            f"next_population: fitness of shape {np.shape(fitness)}; give one for each of {size} candidates"
        )
    ranked = select_parents(fitness, max(num_parents, num_kept))
    offspring = crossover(population[ranked[:num_parents]], cuts, size - num_kept)
    return np.concatenate([population[ranked[:num_kept]], mutate(offspring, num_mutated, generator)])
