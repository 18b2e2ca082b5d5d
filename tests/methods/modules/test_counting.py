"""What counting promises: the very numbers that are counted on networks which were really cut."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, product

import pytest
import torch
from torch import Tensor

from methods.measure import count_macs, count_parameters
from methods.measure.subtasks import choose_subsets
from methods.modules import counting
from methods.modules.counting import composition_sizes, cut_sizes, shared_parameters
from methods.modules.side_by_side import as_network
from methods.networks.architecture import Architecture, Node
from methods.networks.build import initialise
from methods.networks.catalog import network_names
from methods.networks.graph import Network
from methods.surgery import extract
from tests.methods.modules.libraries import beside, library_of, random_library, weights_in_module
from tests.methods.networks.samples import HAND_BUILT, conv, linear, norm, random_keeps, relu, sample_network

CHANCE = tuple(f"chance{seed}" for seed in range(40))
SAMPLES = [*network_names(), *HAND_BUILT, *CHANCE]


def sizes_by_cutting(network: Network, kept: Mapping[str, Tensor], outputs: Tensor) -> list[tuple[int, int]]:
    cuts = [
        extract(network, {name: mask[row] for name, mask in kept.items()}, outputs[row].nonzero().flatten().tolist())
        for row in range(len(outputs))
    ]
    return [(count_parameters(cut), count_macs(cut, network.architecture.input_shape)) for cut in cuts]


def sizes_by_counting(network: Network, kept: Mapping[str, Tensor], outputs: Tensor) -> list[tuple[int, int]]:
    sizes = cut_sizes(network.architecture, [kept[site.name] for site in network.sites], outputs)
    assert sizes.parameters.dtype == sizes.macs.dtype == torch.int64
    return list(zip(sizes.parameters.tolist(), sizes.macs.tolist(), strict=True))


@pytest.mark.parametrize("name", SAMPLES)
def test_sizes_are_those_of_networks_really_cut(name: str) -> None:
    network = sample_network(name)
    kept, outputs = random_keeps(network, rows=8)
    assert sizes_by_counting(network, kept, outputs) == sizes_by_cutting(network, kept, outputs)


def enlarging(*, stride: int, ends_in_linear: bool) -> Network:
    """Padding that no pool can have, before layers of which biases survive when nothing comes in, and a way round."""
    nodes = [
        Node("input", "input"),
        conv("c1", "input", (2, 4), kernel_size=1, padding=1),
        relu("r1", "c1"),
        conv("c2", "r1", (4, 5), kernel_size=[1, 3], padding=[1, 1], stride=stride),
        norm("n2", "c2", 5),
        relu("r2", "n2"),
        conv("depth", "r2", (5, 5), groups=5, kernel_size=1, bias=True),
        relu("r3", "depth"),
        conv("c4", "r3", (5, 3), kernel_size=2, bias=ends_in_linear),  # a pool can pad by half of its window
        relu("r4", "c4"),
        conv("c5", "r4", (3, 3), kernel_size=1, bias=ends_in_linear),
        relu("r5", "c5"),
    ]
    if ends_in_linear:
        rows = (7 + 2 - 1) // stride + 1 + 5  # after c2 come two more for depth, one for c4, two for c5
        columns = (7 + 2 - 3) // stride + 1 + 5
        nodes += [
            Node("flat", "flatten", ("r5",)),
            Node("round", "global_avg_pool", ("r1",)),
            Node("joined", "concat", ("flat", "round")),
            linear("out", "joined", (3 * rows * columns + 4, 3)),
        ]
    else:
        nodes.append(Node("out", "global_avg_pool", ("r5",)))
    network = Network(Architecture(tuple(nodes), (2, 5, 5)))
    initialise(network, seed=0)
    return network


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("ends_in_linear", [True, False])
def test_layers_into_which_nothing_comes_are_counted_as_surgery_makes_them(stride: int, ends_in_linear: bool) -> None:
    network = enlarging(stride=stride, ends_in_linear=ends_in_linear)
    choices = torch.tensor(list(product([True, False], repeat=5)))
    kept = {
        site.name: choices[:, [number]] & (torch.arange(site.units) != 1) for number, site in enumerate(network.sites)
    }
    outputs = torch.tensor([True, False, True]).expand(len(choices), 3)
    assert sizes_by_counting(network, kept, outputs) == sizes_by_cutting(network, kept, outputs)
    without_r1 = extract(network, {"r1": torch.zeros(4, dtype=torch.bool)})
    made_up = [node.op for node in without_r1.architecture.nodes if node.name in ("c1_zero", "c2_zero")]
    assert made_up == ["conv2d", "conv2d"]


def test_many_keep_sets_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    network = sample_network("inception")
    kept, outputs = random_keeps(network, rows=8)
    at_once = sizes_by_counting(network, kept, outputs)
    monkeypatch.setattr(counting, "_KEEP_SETS_AT_A_TIME", 3)
    assert sizes_by_counting(network, kept, outputs) == at_once


def test_sizes_by_hand() -> None:
    """The network of `test_cut_network_has_the_expected_size` in the tests of surgery, and one that keeps all."""
    nodes = (
        Node("input", "input"),
        conv("c1", "input", (1, 4), bias=True),
        relu("r1", "c1"),
        Node("flat", "flatten", ("r1",)),
        linear("out", "flat", (4 * 4, 3)),
    )
    kept = torch.tensor([[False, True, False, True], [True, True, True, True]])
    outputs = torch.tensor([[True, False, True], [True, True, True]])
    sizes = cut_sizes(Architecture(nodes, (1, 2, 2)), [kept], outputs)
    assert sizes.parameters.tolist() == [(2 * 9 + 2) + (2 * 8 + 2), (4 * 9 + 4) + (3 * 16 + 3)]
    assert sizes.macs.tolist() == [4 * 2 * 9 + 2 * 8, 4 * 4 * 9 + 3 * 16]


@pytest.mark.parametrize("name", ["small_cnn", "mlp", "resnet20", *HAND_BUILT])
def test_compositions_have_the_sizes_of_the_networks_that_the_library_composes(name: str) -> None:
    library = random_library(name)
    num_classes = len(library.class_names)
    subsets = [list(one) for size in range(1, num_classes + 1) for one in combinations(range(num_classes), size)]
    marks = torch.zeros(len(subsets), num_classes, dtype=torch.bool)
    for row, subset in enumerate(subsets):
        marks[row, subset] = True
    sizes = composition_sizes(library, marks)
    composed = [library.compose(subset) for subset in subsets]
    assert sizes.parameters.tolist() == [count_parameters(one) for one in composed]
    input_shape = library.network.architecture.input_shape
    assert sizes.macs.tolist() == [count_macs(one, input_shape) for one in composed]


@pytest.mark.parametrize("heads", [True, False])
@pytest.mark.parametrize("name", ["small_cnn", "mlp", "resnet20", *HAND_BUILT, "chance3", "chance9"])
def test_modules_side_by_side_have_the_sizes_of_what_the_library_composes(name: str, heads: bool) -> None:
    library = beside(random_library(name), heads=heads)
    num_classes = len(library.class_names)
    subsets = choose_subsets(num_classes, sizes=range(1, num_classes + 1))
    sizes = composition_sizes(library, subsets)
    input_shape = library.network.architecture.input_shape
    for row, subset in enumerate(subsets):
        composed = library.compose(subset.nonzero().flatten().tolist())
        assert int(sizes.parameters[row]) == count_parameters(composed)
        macs = count_macs(as_network(composed), input_shape)
        # Of a depthwise convolution with one channel left surgery may make less.
        assert int(sizes.macs[row]) >= macs if name == "mobile" else int(sizes.macs[row]) == macs


def test_sizes_side_by_side_by_hand() -> None:
    """Two modules of two units each, one of them in common, over 2 inputs, 4 units and 2 logits."""
    nodes = (Node("input", "input"), linear("a", "input", (2, 4)), relu("r", "a"), linear("out", "r", (4, 2)))
    library = library_of(Network(Architecture(nodes, (2,))), [torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0]]).bool()])
    subsets = torch.tensor([[True, False], [True, True]])
    plain = composition_sizes(beside(library, heads=False), subsets)
    assert plain.parameters.tolist() == [2 * 3 + 1 * 3, 3 * 3 + 2 * 4]
    assert plain.macs.tolist() == [2 * 2 + 1 * 2, 2 * (2 * 2 + 1 * 2)]
    headed = composition_sizes(beside(library, heads=True), subsets)
    head = 10 * 2 + 10 + 10 + 1
    assert headed.parameters.tolist() == [2 * 3 + 2 * 3 + head, 3 * 3 + 2 * 4 + 2 * head]
    assert headed.macs.tolist() == [2 * 2 + 2 * 2 + 10 * 3, 2 * (2 * 2 + 2 * 2 + 10 * 3)]


@pytest.mark.parametrize("name", SAMPLES)
def test_shared_parameters_are_the_weights_found_in_both_modules(name: str) -> None:
    library = random_library(name)
    num_classes = len(library.class_names)
    modules = [weights_in_module(library, label) for label in range(num_classes)]
    shared = shared_parameters(
        library.network.architecture, library.masks, torch.eye(num_classes, dtype=torch.bool)
    ).tolist()
    assert shared == [[len(one & other) for other in modules] for one in modules]


@pytest.mark.parametrize(
    ("masks", "outputs", "message"),
    [
        ([], torch.ones(2, 3, dtype=torch.bool), r"masks for 0 sites, but the network has 1; give one for each"),
        (
            [torch.ones(3, 4, dtype=torch.bool)],
            torch.ones(2, 3, dtype=torch.bool),
            r"mask of site 'r': torch.bool \(3, 4\), not bool \(2, 4\); give a row for each keep-set",
        ),
        ([torch.ones(2, 4)], torch.ones(2, 3, dtype=torch.bool), r"mask of site 'r': torch.float32 \(2, 4\), not bool"),
        ([torch.ones(2, 4, dtype=torch.bool)], torch.ones(2, 2, dtype=torch.bool), r"outputs: .* not bool \(2, 3\)"),
        (
            [torch.ones(2, 4, dtype=torch.bool)],
            torch.tensor([[True, False, False], [False, False, False]]),
            r"row 1 names no output; mark at least one",
        ),
    ],
)
def test_keep_sets_that_do_not_fit_are_refused(masks: list[Tensor], outputs: Tensor, message: str) -> None:
    nodes = (Node("input", "input"), linear("a", "input", (2, 4)), relu("r", "a"), linear("out", "r", (4, 3)))
    architecture = Architecture(nodes, (2,))
    with pytest.raises(ValueError, match=message):
        cut_sizes(architecture, masks, outputs)
    with pytest.raises(ValueError, match=message):
        shared_parameters(architecture, masks, outputs)


@pytest.mark.parametrize("subsets", [torch.ones(2, 4, dtype=torch.bool), torch.ones(2, 5), torch.ones(5).bool()])
def test_subsets_of_another_number_of_classes_are_refused(subsets: Tensor) -> None:
    with pytest.raises(ValueError, match=r"subsets: .* not bool \(S, 5\); give one row for each composition"):
        composition_sizes(random_library("small_cnn"), subsets)
