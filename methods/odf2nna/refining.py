"""From a trained network to the smaller ones worth retraining: score once, cut at every tolerance, screen, choose."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.contract import Task
from methods.json_value import Json
from methods.networks.build import initialise
from methods.networks.dense_head import DenseHead, find_head, parameter_count
from methods.networks.graph import Network
from methods.odf2nna.config import Odf2nnaConfig
from methods.odf2nna.cuts import Cutting, controls, warning
from methods.odf2nna.head import head_inputs, head_weights, with_head
from methods.odf2nna.merging import head_covariances, merge_affine_layers, merge_correlated
from methods.odf2nna.rebuild import folded_biases, sequentially_folded_biases
from methods.odf2nna.screening import screen
from methods.odf2nna.statistics import HeadStatistics, head_statistics
from methods.odf2nna.usefulness import emptied, ranks, scaled_usefulness
from methods.training.batches import plain_batches
from methods.training.loop import evaluate


@dataclass(frozen=True)
class Cut:
    """One way to make the network smaller."""

    epsilon: float
    keep: tuple[Tensor, ...]
    """(units,) bool per hidden layer of the head."""
    biases: tuple[Tensor, ...]
    """Of all layers of the head, uncut."""
    parameters: int
    """Of the whole network."""
    score: float
    """Accuracy (R2) on validation before retraining."""

    @property
    def widths(self) -> list[int]:
        return [int(keep_U.sum()) for keep_U in self.keep]

    def to_json(self) -> dict[str, Json]:
        return {
            "epsilon": self.epsilon,
            "widths": self.widths,
            "parameters": self.parameters,
            "score_before_retraining": self.score,
        }


@dataclass(frozen=True)
class Refinement:
    """What scoring and cutting found."""

    head: DenseHead
    usefulness: tuple[Tensor, ...]
    """(units,) per hidden layer; with preset `ranked` what is ranked, not the ranks."""
    total_parameters: int
    """Of the original network."""
    original_score: float
    """Accuracy (R2) of the original on validation."""
    screened: tuple[Cut, ...]
    """All different cuts, the grid's and the one asked for, smallest first."""
    chosen: tuple[Cut, ...]
    """Those to retrain, smallest first."""
    networks: tuple[Network, ...]
    """One for each chosen cut, not retrained; shallower than its cut where layers were merged."""
    from_grid: bool
    """Whether no single cut was asked for."""


def refine(original: Network, task: Task, config: Odf2nnaConfig, *, note: Callable[[str], None]) -> Refinement:
    """Choose and build the smaller networks.

    Args:
        original: Trained on `task`; left alone.
        task: In the units the network was trained in; only training and validation samples are looked at.
        config: How.
        note: Hears what a reader should know, a sentence each.
    """
    head = find_head(original.architecture)
    assert head is not None, "`check` refuses networks without a dense head"
    network, merged = _without_duplicates(original, head, task, config)
    statistics = head_statistics(network, head, task, statistic=config.statistic, balanced=config.balance_classes)
    usefulness = _usefulness(network, head, statistics, merged, config)
    total = sum(parameter.numel() for parameter in network.parameters())
    scores = tuple(map(ranks, usefulness)) if config.preset == "ranked" else usefulness
    others = total - parameter_count(head.widths)
    cutting = Cutting(scores, head.widths[0], head.widths[-1], others, multiple=config.round_to)
    asked = cutting.epsilon_for(config.keep_share) if config.keep_share is not None else config.epsilon
    epsilons = config.grid if asked is None else (asked, *config.grid)
    cuts = _cuts(network, head, task, config, cutting, statistics, merged, epsilons)
    screened = tuple(sorted(cuts, key=lambda cut: (cut.parameters, -cut.epsilon)))
    chosen = _chosen(screened, config.candidates) if asked is None else (cuts[0],)
    for cut in chosen:
        _remark(cut, cutting, head, config, note)
    networks = tuple(_built(network, head, cut, task, config, note) for cut in chosen)
    original_score = evaluate(original, task.validation, task)
    return Refinement(head, usefulness, total, original_score, screened, chosen, networks, from_grid=asked is None)


def _without_duplicates(
    original: Network, head: DenseHead, task: Task, config: Odf2nnaConfig
) -> tuple[Network, list[Tensor] | None]:
    """The network with correlated units merged, and which of them nothing reads any more; None where none was asked."""
    if config.merge_correlation is None:
        return original, None
    covariances = head_covariances(original, head, task)
    weights, biases, merged = merge_correlated(
        *head_weights(original, head), covariances, above=config.merge_correlation
    )
    network = copy.deepcopy(original)
    with torch.no_grad():
        for name, weight, bias in zip(head.layers, weights, biases, strict=True):
            layer = network.nodes[name]
            assert isinstance(layer, nn.Linear)
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return network, merged


def _usefulness(
    network: Network,
    head: DenseHead,
    statistics: HeadStatistics,
    merged: Sequence[Tensor] | None,
    config: Odf2nnaConfig,
) -> tuple[Tensor, ...]:
    weights, _ = head_weights(network, head)
    recommended = config.preset != "literal"
    scores = []
    for layer, variability_U in enumerate(statistics.variability):
        if merged is not None:
            variability_U = torch.where(merged[layer].to(variability_U.device), 0.0, variability_U)
        outgoing = weights[layer + 1] if recommended else None
        scores.append(scaled_usefulness(variability_U, outgoing, relative=recommended).cpu())
    return tuple(scores)


def _cuts(
    network: Network,
    head: DenseHead,
    task: Task,
    config: Odf2nnaConfig,
    cutting: Cutting,
    statistics: HeadStatistics,
    merged: Sequence[Tensor] | None,
    epsilons: Sequence[float],
) -> list[Cut]:
    """The first cut, and of the others those that differ, in this order; screened on validation in one evaluation."""
    weights, _ = head_weights(network, head)
    keeps: dict[float, list[Tensor]] = {}
    for epsilon in epsilons:
        keep = controls(
            config.units,
            cutting.keep(epsilon),
            outgoing=weights[1:],
            mean=statistics.mean,
            excluded=merged,
            generator=torch.Generator().manual_seed(task.seed),
        )
        if not any(all(map(torch.equal, keep, known)) for known in keeps.values()):
            keeps[epsilon] = keep
    on_device = {epsilon: [keep_U.to(weights[0].device) for keep_U in keep] for epsilon, keep in keeps.items()}
    folded = _biases(network, head, task, config, on_device, statistics)
    scores = screen(network, head, list(on_device.values()), folded, task.validation, task)
    sizes = [[cutting.num_inputs, *(int(k.sum()) for k in keep), cutting.num_outputs] for keep in keeps.values()]
    return [
        Cut(epsilon, tuple(keep), tuple(own), cutting.other_parameters + parameter_count(size), score)
        for (epsilon, keep), own, size, score in zip(on_device.items(), folded, sizes, scores, strict=True)
    ]


def _biases(
    network: Network,
    head: DenseHead,
    task: Task,
    config: Odf2nnaConfig,
    keeps: dict[float, list[Tensor]],
    statistics: HeadStatistics,
) -> list[list[Tensor]]:
    """For each cut the biases of all layers, uncut, as the transfer leaves them."""
    weights, biases = head_weights(network, head)
    if config.resolved_transfer in ("slice", "none"):
        return [biases for _ in keeps]
    if config.resolved_transfer == "fold":
        return [folded_biases(weights, biases, keep, statistics.mean) for keep in keeps.values()]
    batches = plain_batches(task.train, batch_size=1024, normalization=task.normalization)
    was_training = network.training
    network.eval()
    inputs = torch.cat([head_inputs(network, head, rows) for rows, _ in batches])
    network.train(was_training)
    return [sequentially_folded_biases(weights, biases, keep, inputs) for keep in keeps.values()]


def _chosen(screened: Sequence[Cut], count: int) -> tuple[Cut, ...]:
    """As many cuts as asked for, smallest first: the front of score against size, spread over it, and filled up.

    Every seed then delivers equally many networks (unless there are fewer different cuts), to be compared rank by rank.
    """
    front: list[Cut] = []
    for cut in screened:
        if not front or cut.score > front[-1].score:
            front.append(cut)
    if count == 1:
        return (front[-1],)
    if len(front) > count:
        places = [round(i * (len(front) - 1) / (count - 1)) for i in range(count)]
        return tuple(front[place] for place in places)
    others = [cut for cut in screened if all(cut is not member for member in front)]
    return tuple(sorted([*front, *others[: count - len(front)]], key=lambda cut: cut.parameters))


def _remark(cut: Cut, cutting: Cutting, head: DenseHead, config: Odf2nnaConfig, note: Callable[[str], None]) -> None:
    for layer, _ in emptied(cutting.usefulness, epsilon=cut.epsilon):
        units = cut.keep[layer].nonzero().flatten().tolist()
        kept = f"unit {units[0]} was kept" if len(units) == 1 else f"{len(units)} units were kept"
        note(f"epsilon {cut.epsilon:g} would empty {head.sites[layer]}; {kept}")
    uneven = warning(cut.keep, head.sites)
    if uneven is not None:
        note(f"epsilon {cut.epsilon:g}: {uneven}")
    if config.keep_share is not None and cut.parameters > config.keep_share * cutting.total:
        least = "one unit per hidden layer" if config.round_to == 1 else f"{config.round_to} units per hidden layer"
        note(
            f"a share of {config.keep_share:g} of the parameters is out of reach: {least} leave"
            f"{'s' if config.round_to == 1 else ''} {cut.parameters / cutting.total:.4g}"
        )


def _built(
    network: Network,
    head: DenseHead,
    cut: Cut,
    task: Task,
    config: Odf2nnaConfig,
    note: Callable[[str], None],
) -> Network:
    smaller = with_head(network, head, cut.keep, cut.biases)
    if config.resolved_transfer == "none":
        fresh = Network(smaller.architecture)
        initialise(fresh, seed=task.seed)
        return fresh.to(task.device)
    if not config.merge_always_active:
        return smaller
    new_head = find_head(smaller.architecture)
    assert new_head is not None, "cutting units leaves every layer"
    active = head_statistics(smaller, new_head, task, statistic="std", balanced=False).always_active
    shallower, gone = merge_affine_layers(smaller, new_head, active)
    if gone:
        note(f"epsilon {cut.epsilon:g}: {', '.join(gone)} merged into the next layer, active on every sample")
    return shallower
