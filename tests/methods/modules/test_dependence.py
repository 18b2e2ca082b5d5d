"""Dependence of classes worked out by hand, by brute force over pairs of samples, and at its extremes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from methods.contract import Normalization, Split
from methods.measure.predict import predict
from methods.modules.dependence import Dependence, confusion_of_pairs, dependence
from methods.modules.library import ModuleLibrary
from methods.modules.metrics import modularity
from methods.modules.side_by_side import as_network
from methods.networks.architecture import Architecture, Node
from methods.networks.graph import Network
from tests.methods.modules.libraries import beside, drawn_library, library_of
from tests.methods.networks.samples import linear, relu, sample_network

AS_IT_IS = Normalization(mean=(0.0,), std=(1.0,))


def _two_units() -> ModuleLibrary:
    """Logits x1, x2 and (x1 + x2) / 2 of inputs above 0; the modules keep the first unit, the second, both."""
    nodes = (Node("input", "input"), linear("a", "input", (2, 2)), relu("ra", "a"), linear("out", "ra", (2, 3)))
    network = Network(Architecture(nodes, (2,))).eval()
    network.nodes["a"].weight.data = torch.eye(2)
    network.nodes["a"].bias.data.zero_()
    network.nodes["out"].weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    network.nodes["out"].bias.data.zero_()
    return library_of(network, [torch.tensor([[True, False], [False, True], [True, True]])])


def _found(library: ModuleLibrary, split: Split) -> Dependence:
    whole = predict(library.network, split, normalization=AS_IT_IS, device="cpu")
    coupling = modularity(library).coupling
    return dependence(library, split, whole_NK=whole, coupling_KK=coupling, normalization=AS_IT_IS, device="cpu")


def _split(rows: list[list[float]], labels: list[int]) -> Split:
    return Split(torch.tensor(rows), torch.tensor(labels))


def test_interference_and_confusion_by_hand() -> None:
    rows = [[3.0, 0.0], [2.0, 1.0], [0.0, 4.0], [2.5, 3.0], [2.0, 2.0], [1.0, 3.0]]
    found = _found(_two_units(), _split(rows, [0, 0, 1, 1, 2, 2]))
    # Module 0 scores its own at 3 and 2: of class 1 it passes 0 of 2 with 0 and 1 of 2 with 2.5; of class 2 with 2 it
    # ties one, with 1 it passes none.
    assert found.interference[0].tolist() == pytest.approx([0.0, (0 + 0.5) / 2, (0.25 + 0) / 2])
    # Module 1 scores its own at 4 and 3.
    assert found.interference[1].tolist() == pytest.approx([0.0, 0.0, (0 + 0.25) / 2])
    # Module 2 scores its own at 2 and 2; class 0 at 1.5 and 1.5, class 1 at 2 and 2.75.
    assert found.interference[2].tolist() == pytest.approx([0.0, (0.5 + 1) / 2, 0.0])
    assert found.risk[1, 2] == found.risk[2, 1] == pytest.approx(0.75)
    # The whole network says 0, 0, 1, 1, then ties for class 2 (the first wins) and 1.
    assert found.confusion[1, 2] == pytest.approx(1 / 4)
    assert found.confusion[0, 1] == 0
    assert found.coupling[0].tolist() == [1.0, 0.0, 0.5]
    assert found.riskiest(2) == [(1, 2), (0, 1)]


def test_a_class_without_samples_has_no_figures_and_no_place_among_the_riskiest() -> None:
    found = _found(_two_units(), _split([[3.0, 0.0], [0.0, 4.0]], [0, 1]))
    assert math.isnan(found.interference[0, 2])
    assert math.isnan(found.interference[2, 0])
    assert math.isnan(found.confusion[0, 2])
    assert found.interference[0, 1] == 0
    assert found.riskiest(9) == [(0, 1)]


def test_samples_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="label 3 is no class"):
        _found(_two_units(), _split([[1.0, 1.0]], [3]))


@pytest.mark.parametrize("way", ["union", "side_by_side", "heads"])
def test_interference_is_the_share_of_pairs_of_samples_in_the_wrong_order(way: str) -> None:
    library = drawn_library(sample_network("small_cnn", seed=1), seed=1)
    if way != "union":
        library = beside(library, heads=way == "heads")
    generator = torch.Generator().manual_seed(3)
    inputs = torch.rand(60, *library.network.architecture.input_shape, generator=generator)
    targets = torch.arange(60) % len(library.class_names)
    split = Split(inputs, targets)
    found = _found(library, split)
    for i in range(len(library.class_names)):
        network = as_network(library.compose([i]))
        scores = predict(network, split, normalization=AS_IT_IS, device="cpu")[:, 0]
        for j in range(len(library.class_names)):
            if i != j:
                expected = _wrong_order(scores[targets == i], scores[targets == j])
                assert found.interference[i, j] == pytest.approx(expected)


def test_confusion_is_symmetric_and_counts_both_directions() -> None:
    predicted, targets = torch.tensor([0, 1, 1, 1, 0, 2]), torch.tensor([0, 0, 1, 1, 1, 2])
    found = confusion_of_pairs(predicted, targets, num_classes=3)
    assert found[0, 1] == pytest.approx(2 / 5)
    assert torch.equal(found, found.T)


def _wrong_order(own: Tensor, other: Tensor) -> float:
    differences = other[None] - own[:, None]
    return float(((differences > 0).double() + 0.5 * (differences == 0)).mean())
