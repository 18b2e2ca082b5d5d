"""How much each kernel responds to the images of a class, by which CNNSplitter ranks kernels.

Source: Qi et al., "Patching Weak Convolutional Neural Network Models through Modularization and Composition" (ASE 2022,
arXiv 2209.06116) and its public code, qibinhang/CNNSplitter, which runs image by image and copies every feature map;
here maps are summed where they are made.

Shapes: C = classes, B = images of a batch, K = kernels of a site.
"""

from __future__ import annotations

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
    counts = torch.bincount(labels, minlength=num_classes)
    if bool((counts == 0).any()):
        raise ValueError(f"kernel_importance: class {int(counts.argmin())} has no image; give a split that has some")
    nodes = map_nodes(network.architecture)
    if not nodes:
        raise ValueError("kernel_importance: the network has no ReLU behind a convolution, so no kernels to rank")
    totals = {
        name: torch.zeros(2, num_classes, network.architecture.shapes[name][0], dtype=torch.float64)
        for name in nodes.values()
    }
    num_sure = torch.zeros(num_classes, dtype=torch.int64)
    with exact_evaluation(network, device=device):
        for start in range(0, len(split), batch_size):
            inputs = ready(split.inputs[start : start + batch_size], normalization=normalization, device=device)
            label_B = labels[start : start + batch_size]
            logits, sums = _run(network, inputs, set(totals))
            sure_B = logits.float().softmax(dim=1).cpu()[torch.arange(len(label_B)), label_B] >= confidence
            num_sure += torch.bincount(label_B[sure_B], minlength=num_classes)
            for name, sum_BK in sums.items():
                everything_CK, sure_CK = totals[name]
                everything_CK.index_add_(0, label_B, sum_BK)
                sure_CK.index_add_(0, label_B[sure_B], sum_BK[sure_B])
    use_sure_C = num_sure > 0
    num_images = torch.where(use_sure_C, num_sure, counts)
    means = {
        name: torch.where(use_sure_C[:, None], sure_CK, everything_CK) / num_images[:, None]
        for name, (everything_CK, sure_CK) in totals.items()
    }
    return KernelImportance(
        by_site={site: means[name] for site, name in nodes.items()},
        num_images=tuple(num_images.tolist()),
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
            sums[node.name] = torch.linalg.vector_norm(value.flatten(2), ord=1, dim=2).cpu().double()
    return value, sums
