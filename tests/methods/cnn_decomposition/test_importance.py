"""Importance of kernels against image by image, where maps are taken, and which images count."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from methods.cnn_decomposition.importance import kernel_importance, map_nodes
from methods.contract import Normalization, Split
from methods.networks.architecture import Architecture, Node
from methods.networks.build import build_network
from methods.networks.catalog import design_network
from methods.networks.graph import Network
from methods.networks.rescnn import rescnn
from methods.networks.ties import convolution_sites, tied_sites
from tests.methods.networks.samples import HAND_BUILT, linear

PLAIN = Normalization(mean=(0.2, 0.3, 0.4), std=(0.5, 0.6, 0.7))


def images(count: int, *, size: int = 32, seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(256, (count, 3, size, size), generator=generator, dtype=torch.uint8)
    return Split(inputs, torch.arange(count) % 3)


def drawn(architecture: Architecture, *, scale: float) -> Network:
    """With random weights, and logits large enough for some images to be predicted confidently."""
    network = Network(architecture)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            fan_in = max(1, weight[0].numel())
            weight.copy_(torch.randn(weight.shape, generator=generator) * (2 / fan_in) ** 0.5)
        network.nodes["classifier"].weight.mul_(scale)
    return network


def normalised(inputs: Tensor) -> Tensor:
    mean, std = (torch.tensor(part)[:, None, None] for part in (PLAIN.mean, PLAIN.std))
    return (inputs.float() / 255 - mean) / std


def small_rescnn(scale: float = 4.0) -> Network:
    return drawn(rescnn((3, 32, 32), 3, stages=(4, 5, 6, 7), normalised=False, dropout=0.4), scale=scale)


def predicted_with_different_confidence(network: Network, count: int) -> Split:
    """Images labelled as the network predicts them, its mean logits moved to zero so that it predicts every class."""
    inputs = images(count).inputs
    with torch.no_grad():
        logits = network.eval()(normalised(inputs))
        network.nodes["classifier"].bias.sub_(logits.mean(dim=0))
        return Split(inputs, network(normalised(inputs)).argmax(dim=1))


def test_importance_in_a_residual_network_equals_going_image_by_image() -> None:
    network = small_rescnn(scale=20.0)
    split = predicted_with_different_confidence(network, 40)
    network.train()
    found = kernel_importance(network, split, normalization=PLAIN, device="cpu", batch_size=16)
    assert network.training
    network.eval()
    sums: dict[int, list[list[Tensor]]] = {site: [[], [], []] for site in range(12)}
    with torch.no_grad():
        for image, label in zip(normalised(split.inputs), split.targets.tolist(), strict=True):
            run = network.run(image[None], record=True)
            if run.logits.softmax(dim=1)[0, label] < 0.9:
                continue
            maps = [run.activations[site.name] for site in network.sites]
            for first, second in ((1, 3), (5, 7), (9, 11)):
                maps[first] = maps[second] = maps[second] + F.max_pool2d(maps[first], 2)
            for pooled in (4, 8):
                maps[pooled] = F.max_pool2d(maps[pooled], 2)
            for site, one in enumerate(maps):
                sums[site][label].append(one.double().sum(dim=(0, 2, 3)))
    counts = [len(counted) for counted in sums[0]]
    # Some images of each class count, and not all.
    of_class = split.targets.bincount().tolist()
    assert all(0 < count < total for count, total in zip(counts, of_class, strict=True))
    assert found.num_images == tuple(counts)
    assert found.unfiltered == ()
    assert list(found.by_site) == list(range(12))
    for site, by_class in sums.items():
        wanted = torch.stack([torch.stack(counted).mean(dim=0) for counted in by_class])
        assert found.by_site[site].dtype == torch.float64
        torch.testing.assert_close(found.by_site[site], wanted, rtol=1e-5, atol=1e-5)
    for first, second in ((1, 3), (5, 7), (9, 11)):
        assert torch.equal(found.by_site[first], found.by_site[second])


def test_a_class_that_is_never_sure_counts_all_of_its_images() -> None:
    network, split = small_rescnn(scale=0.0), images(9)
    # Without weights all images have the probabilities of the biases.
    with torch.no_grad():
        network.nodes["classifier"].bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
    found = kernel_importance(network, split, normalization=PLAIN, device="cpu")
    assert found.unfiltered == (1, 2)
    assert found.num_images == (3, 3, 3)
    everything = kernel_importance(network, split, normalization=PLAIN, device="cpu", confidence=0.0)
    assert everything.unfiltered == ()
    for site, importance in found.by_site.items():
        assert torch.equal(importance, everything.by_site[site])
        assert bool((importance > 0).any())


def test_the_size_of_a_batch_changes_nothing() -> None:
    network, split = small_rescnn(), images(20)
    whole, parts = (
        kernel_importance(network, split, normalization=PLAIN, device="cpu", batch_size=size) for size in (20, 7)
    )
    assert whole.num_images == parts.num_images
    for site, importance in whole.by_site.items():
        torch.testing.assert_close(importance, parts.by_site[site], rtol=1e-5, atol=1e-5)


def test_maps_of_a_network_without_ties_are_those_of_its_sites() -> None:
    architecture = design_network("simcnn_cnnsplitter", input_shape=(3, 32, 32), num_outputs=10)
    relus = [node.name for node in architecture.nodes if node.op == "relu"]
    assert list(map_nodes(architecture).values()) == relus[:13]


def test_maps_of_rescnn_are_behind_pooling_and_sums() -> None:
    architecture = design_network("rescnn_cnnsplitter", input_shape=(3, 32, 32), num_outputs=10)
    names = ["conv0_relu", "sum3", "conv2_relu", "sum3", "pool2", "sum7", "conv6_relu", "sum7"]
    assert list(map_nodes(architecture).values()) == [*names, "pool4", "sum11", "conv10_relu", "sum11"]


@pytest.mark.parametrize("name", sorted(HAND_BUILT))
def test_every_site_behind_a_convolution_has_a_map_of_its_width(name: str) -> None:
    architecture = HAND_BUILT[name]()
    nodes = map_nodes(architecture)
    relus = [node.name for node in architecture.nodes if node.op == "relu"]
    assert tuple(nodes) == convolution_sites(architecture)
    for site, node in nodes.items():
        assert architecture.shapes[node][0] == architecture.shapes[relus[site]][0]
    for group in tied_sites(architecture):
        assert len({nodes[site] for site in group if site in nodes}) <= 1


def test_what_cannot_be_ranked_is_refused() -> None:
    network, split = small_rescnn(), images(9)
    with pytest.raises(ValueError, match="class 2 has no image"):
        kernel_importance(network, Split(split.inputs, split.targets.clamp(max=1)), normalization=PLAIN, device="cpu")
    with pytest.raises(ValueError, match="there are 3 classes"):
        kernel_importance(network, Split(split.inputs, split.targets + 1), normalization=PLAIN, device="cpu")
    nodes = (Node("input", "input"), Node("flat", "flatten", ("input",)), linear("out", "flat", (3 * 32 * 32, 3)))
    plain = Network(Architecture(nodes, (3, 32, 32)))
    with pytest.raises(ValueError, match="no kernels to rank"):
        kernel_importance(plain, split, normalization=PLAIN, device="cpu")


def test_the_networks_of_the_catalog_can_be_ranked() -> None:
    network = build_network("incecnn_gradsplitter", input_shape=(3, 32, 32), num_outputs=3, seed=0)
    found = kernel_importance(network, images(6), normalization=PLAIN, device="cpu")
    assert sum(importance.shape[1] for importance in found.by_site.values()) == 3200
