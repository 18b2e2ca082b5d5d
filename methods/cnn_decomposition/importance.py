"""How much each kernel responds to the images of a class, by which CNNSplitter ranks kernels.

Source: Qi et al., "Patching Weak Convolutional Neural Network Models through Modularization and Composition" (ASE 2022,
arXiv 2209.06116) and its public code, qibinhang/CNNSplitter, which runs image by image and copies every feature map;
here maps are summed where they are made.

Shapes: C = classes, B = images of a batch, K = kernels of a site.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from methods.contract import Normalization, Split
from methods.measure.predict import exact_evaluation, ready
from methods.measure.subtasks import check_labels
from methods.networks.architecture import Architecture
from methods.networks.graph import Network
from methods.networks.ties import convolution_sites, meeting_sums

CONFIDENCE = 0.9
"""Least probability of its own class with which an image counts."""


@dataclass(frozen=True)
class KernelImportance:
    """Importance of every kernel for every class, and of how many images it is the mean."""

    by_site: dict[int, Tensor]
    """For each site behind a convolution, by its index among all sites, float64 (C, K) on the CPU. Tied sites have the
    same numbers."""
    num_images: tuple[int, ...]
    """Of each class."""
    unfiltered: tuple[int, ...]
    """Classes without a confidently predicted image, for which all of their images count. This is ours: the public code
    has a mean of nothing there."""


class _Totals:
    """Sums of feature maps by class, of some nodes of a network, and the images that they are of."""

    def __init__(self, network: Network, nodes: Iterable[str]) -> None:
        num_classes, shapes = network.architecture.num_outputs, network.architecture.shapes
        self.images_C = torch.zeros(num_classes, dtype=torch.int64)
        self.by_node = {name: torch.zeros(num_classes, shapes[name][0], dtype=torch.float64) for name in nodes}

    def add(self, sums: Mapping[str, Tensor], label_B: Tensor, chosen: Tensor) -> None:
        """Take in what images of a batch, chosen by their indices, add up to."""
        self.images_C += torch.bincount(label_B[chosen], minlength=len(self.images_C))
        for name, sum_BK in sums.items():
            self.by_node[name].index_add_(0, label_B[chosen], sum_BK[chosen])


def kernel_importance(
    network: Network,
    split: Split,
    *,
    normalization: Normalization,
    device: str,
    batch_size: int = 128,
    confidence: float = CONFIDENCE,
) -> KernelImportance:
    """Mean, over the images of a class that the network is sure of, of each feature map's sum over all positions.

    Maps are taken behind the ReLU, see `map_nodes`.

    Args:
        network: Lies on `device` already; its training mode is restored.
        split: Raw images and their labels, on any device, without augmentation.
        normalization: Applied to the raw images on the device.
        device: Where the network lies, e.g. `cpu` or `cuda:0`.
        batch_size: Most images at a time.
        confidence: Least probability, by softmax, of the image's own class.

    Raises:
        ValueError: Labels that are no outputs of the network, a class without images, or no convolution to rank.
    """
    num_classes = network.architecture.num_outputs
    check_labels(split.targets, num_classes=num_classes)
    labels = split.targets.cpu()
    missing = sorted(set(range(num_classes)) - set(labels.tolist()))
    if missing:
        raise ValueError(f"kernel_importance: class {missing[0]} has no image; give a split that has some")
    nodes = map_nodes(network.architecture)
    if not nodes:
        raise ValueError("kernel_importance: the network has no ReLU behind a convolution, so no kernels to rank")
    everything, sure = _Totals(network, nodes.values()), _Totals(network, nodes.values())
    with exact_evaluation(network, device=device):
        for start in range(0, len(split), batch_size):
            inputs = ready(split.inputs[start : start + batch_size], normalization=normalization, device=device)
            label_B = labels[start : start + batch_size]
            logits, sums = _run(network, inputs, set(nodes.values()))
            probability_BC = logits.float().softmax(dim=1).cpu()
            everything.add(sums, label_B, torch.arange(len(label_B)))
            sure.add(sums, label_B, (probability_BC.gather(1, label_B[:, None])[:, 0] >= confidence).nonzero()[:, 0])
    use_sure_C = sure.images_C > 0
    num_images_C = torch.where(use_sure_C, sure.images_C, everything.images_C)
    means = {
        name: torch.where(use_sure_C[:, None], sure.by_node[name], total_CK) / num_images_C[:, None]
        for name, total_CK in everything.by_node.items()
    }
    return KernelImportance(
        by_site={site: means[name] for site, name in nodes.items()},
        num_images=tuple(num_images_C.tolist()),
        unfiltered=tuple((~use_sure_C).nonzero().flatten().tolist()),
    )


def map_nodes(architecture: Architecture) -> dict[int, str]:
    """The node whose output is the map of each site behind a convolution.

    Tied sites, which share one ranking, have the sum in which they meet. In a network without ties all others have
    their own output, before any pooling, as the public code has it for SimCNN. In one with ties, as for ResCNN there,
    they have what pooling makes of it where nothing but the pooling reads them.

    Returns:
        Names by the index of the site among all sites, in the order of computation.
    """
    sums = {site: name for group, name in meeting_sums(architecture).items() for site in group}
    readers: dict[str, list[str]] = {node.name: [] for node in architecture.nodes}
    for node in architecture.nodes:
        for source in node.inputs:
            readers[source].append(node.name)
    pools = {node.name for node in architecture.nodes if node.op in ("max_pool", "avg_pool")}
    site_names = [node.name for node in architecture.nodes if node.op == "relu"]

    def own_map(name: str) -> str:
        pooled = sums and len(readers[name]) == 1 and readers[name][0] in pools
        return readers[name][0] if pooled else name

    return {site: sums.get(site, own_map(site_names[site])) for site in convolution_sites(architecture)}


def _run(network: Network, inputs: Tensor, wanted: set[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and of the wanted nodes the sums over all positions, (B, K) on the CPU."""
    values: list[Tensor | None] = [inputs, *[None] * len(network.steps)]
    sums = {}
    value = inputs
    for node, step in zip(network.architecture.nodes[1:], network.steps, strict=True):
        value = step.run(values)
        if node.name in wanted:
            # An L1 norm: a plain sum for all that comes out of ReLUs, unless normalisation stands before the addition.
            sums[node.name] = torch.linalg.vector_norm(value.reshape(*value.shape[:2], -1), ord=1, dim=2).cpu().double()
    return value, sums
