"""Modularity worked out by hand, by brute force, and with the modules of a fixed pattern."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pytest
import torch
from torch import Tensor

from methods.measure import count_macs, count_parameters
from methods.modules.counting import composition_sizes
from methods.modules.library import ModuleLibrary
from methods.modules.metrics import Cohesion, cohesion, modularity
from methods.networks.architecture import Architecture, Node
from methods.networks.catalog import design_network, network_names
from methods.networks.graph import Network
from tests.methods.modules.libraries import beside, library_of, patterned_library, random_library, weights_in_module
from tests.methods.networks.samples import HAND_BUILT, conv, linear, relu


def marks(*rows: str) -> Tensor:
    """Rows of 0 and 1 as a bool tensor."""
    return torch.tensor([[digit == "1" for digit in row] for row in rows])


def by_hand(masks: Sequence[Tensor]) -> ModuleLibrary:
    """Three classes over a network of 2 inputs and two hidden layers of 4 and 2 units: 12 + 10 + 9 = 31 weights."""
    nodes = (
        Node("input", "input"),
        linear("a", "input", (2, 4)),
        relu("ra", "a"),
        linear("b", "ra", (4, 2)),
        relu("rb", "b"),
        linear("out", "rb", (2, 3)),
    )
    return library_of(Network(Architecture(nodes, (2,))), masks)


MASKS = (marks("1100", "0110", "0111"), marks("10", "11", "11"))


def test_sizes_and_retention_by_hand() -> None:
    found = modularity(by_hand(MASKS))
    # Units of ra and rb: (2, 1), (2, 2) and (3, 2); a layer of n outputs and m inputs has n(m + 1) weights.
    assert found.module_size.tolist() == pytest.approx([(6 + 3 + 2) / 31, (6 + 6 + 3) / 31, (9 + 8 + 3) / 31])
    assert found.macs_share.tolist() == pytest.approx([(4 + 2 + 1) / 22, (4 + 4 + 2) / 22, (6 + 6 + 2) / 22])
    assert found.kernel_retention.tolist() == pytest.approx([3 / 6, 4 / 6, 5 / 6])
    assert found.mean_module_size == pytest.approx((11 + 15 + 20) / 3 / 31)
    assert found.mean_macs_share == pytest.approx((7 + 10 + 14) / 3 / 22)
    assert found.mean_kernel_retention == pytest.approx(4 / 6)


def test_overlap_and_coupling_by_hand() -> None:
    found = modularity(by_hand(MASKS))
    # In common, of ra and rb: (1, 1), (1, 1) and (2, 2) units, and no logit.
    assert found.overlap[0, 1].item() == pytest.approx((3 + 2) / 31)
    assert found.overlap[0, 2].item() == pytest.approx((3 + 2) / 31)
    assert found.overlap[1, 2].item() == pytest.approx((6 + 6) / 31)
    assert torch.equal(found.overlap, found.overlap.T)
    assert torch.equal(found.overlap.diagonal(), found.module_size)
    assert found.mean_overlap == pytest.approx((5 + 5 + 12) / 3 / 31)
    wanted = torch.tensor([[1, 2 / 5, 2 / 6], [2 / 5, 1, 4 / 5], [2 / 6, 4 / 5, 1]], dtype=torch.float64)
    assert torch.allclose(found.coupling, wanted)
    assert found.mean_coupling == pytest.approx((2 / 5 + 2 / 6 + 4 / 5) / 3)


def test_modules_that_keep_everything_share_all_but_the_logits() -> None:
    found = modularity(by_hand((marks("1111", "1111", "1111"), marks("11", "11", "11"))))
    assert found.module_size.tolist() == pytest.approx([25 / 31] * 3)
    assert found.mean_overlap == pytest.approx(22 / 31)
    assert found.mean_coupling == 1.0


def test_modules_without_units_have_nothing_in_common() -> None:
    found = modularity(by_hand((marks("0000", "0000", "1111"), marks("00", "00", "11"))))
    assert found.coupling.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert found.kernel_retention.tolist() == [0, 0, 1]
    # One weight made up and the bias; the bias alone is of the full network.
    assert found.module_size[0].item() == pytest.approx(2 / 31)
    assert found.overlap[0, 0].item() == pytest.approx(1 / 31)


@pytest.mark.parametrize("name", [*network_names(), *HAND_BUILT, "chance3", "chance7"])
def test_figures_agree_with_modules_really_cut(name: str) -> None:
    library = random_library(name)
    found = modularity(library)
    full = count_parameters(library.network)
    full_macs = count_macs(library.network, library.network.architecture.input_shape)
    labels = range(len(library.class_names))
    modules = [library.compose([label]) for label in labels]
    input_shape = library.network.architecture.input_shape
    assert found.module_size.tolist() == [count_parameters(module) / full for module in modules]
    assert found.macs_share.tolist() == [count_macs(module, input_shape) / full_macs for module in modules]
    weights = [weights_in_module(library, label) for label in labels]
    pairs = [len(one & other) / full for one, other in combinations(weights, 2)]
    assert found.mean_overlap == pytest.approx(sum(pairs) / len(pairs))


@pytest.mark.parametrize(
    ("name", "full", "module", "composition", "shared"),
    [
        ("vgg16", 33_646_666, 10_002_416, 27_783_232, 1_113_310),
        ("resnet18", 11_173_962, 3_324_839, 9_225_295, 369_256),
        ("mobilenet", 3_217_226, 657_303, 2_483_966, 44_868),
    ],
)
def test_published_networks_have_the_sizes_of_the_reference_code(
    name: str, full: int, module: int, composition: int, shared: int
) -> None:
    """Class modules by a fixed pattern, cut and counted by the code of activation-driven modular training."""
    network = Network(design_network(name, input_shape=(3, 32, 32), num_outputs=10))
    library = patterned_library(network)
    one_and_four = torch.zeros(1, 10, dtype=torch.bool)
    one_and_four[0, [1, 4]] = True
    assert count_parameters(network) == full
    assert composition_sizes(library, one_and_four).parameters.item() == composition
    found = modularity(library)
    assert found.module_size[1].item() == module / full
    assert found.overlap[1, 4].item() == shared / full
    assert torch.equal(found.overlap.diagonal(), found.module_size)


def test_convolution_kernels_are_counted_apart_in_each_layer() -> None:
    nodes = (
        Node("input", "input"),
        conv("c1", "input", (1, 2)),
        relu("r1", "c1"),
        conv("c2", "r1", (2, 4)),
        relu("r2", "c2"),
        Node("pool", "global_avg_pool", ("r2",)),
        linear("hidden", "pool", (4, 6)),
        relu("r3", "hidden"),
        linear("out", "r3", (6, 2)),
    )
    masks = (marks("10", "11"), marks("1000", "1100"), marks("111111", "000000"))
    found = modularity(library_of(Network(Architecture(nodes, (1, 4, 4))), masks))
    assert found.kernel_retention.tolist() == pytest.approx([8 / 12, 4 / 12])
    assert found.conv_kernel_retention is not None
    assert found.conv_kernel_retention.tolist() == pytest.approx([2 / 6, 4 / 6])
    assert found.mean_conv_kernel_retention == pytest.approx(1 / 2)


def test_a_network_without_convolutions_has_no_kernels() -> None:
    found = modularity(by_hand(MASKS))
    assert found.conv_kernel_retention is None
    assert found.mean_conv_kernel_retention is None


def test_modules_with_heads_share_all_logits_and_no_head_by_hand() -> None:
    found = modularity(beside(by_hand(MASKS), heads=True))
    head = 10 * 3 + 10 + 10 + 1
    # As by union, but 3 logits on the units of rb, of which there are 1, 2 and 2.
    own = [6 + 3 + 6, 6 + 6 + 9, 9 + 8 + 9]
    assert found.module_size.tolist() == pytest.approx([(one + head) / 31 for one in own])
    assert found.overlap.diagonal().tolist() == pytest.approx([one / 31 for one in own])
    assert found.overlap[0, 1].item() == pytest.approx((3 + 2 + 6) / 31)
    assert found.macs_share[0].item() == pytest.approx((4 + 2 + 3 + 10 * 3 + 10) / 22)
    union = modularity(by_hand(MASKS))
    assert torch.equal(found.coupling, union.coupling)
    assert torch.equal(found.kernel_retention, union.kernel_retention)
    plain = modularity(beside(by_hand(MASKS), heads=False))
    assert torch.equal(plain.module_size, union.module_size)
    assert torch.equal(plain.overlap, union.overlap)


def test_library_of_one_class_has_no_pairs() -> None:
    nodes = (Node("input", "input"), linear("a", "input", (2, 4)), relu("r", "a"), linear("out", "r", (4, 1)))
    found = modularity(library_of(Network(Architecture(nodes, (2,))), [marks("1010")]))
    assert (found.mean_overlap, found.mean_coupling) == (0.0, 0.0)


LABELS = torch.tensor([0, 1, 0, 1, 1, 2])
ACTIVE = (marks("1100", "0110", "1011", "0111", "1001", "1111"), marks("11", "11", "10", "01", "00", "11"))


def test_cohesion_by_hand() -> None:
    found = cohesion(by_hand(MASKS), ACTIVE, LABELS, seed=0)
    # Class 0 keeps units 1100 10: its samples are left with 1100 10 and 1000 10. Class 1 keeps 0110 11: its samples
    # are left with 0110 11, 0110 01 and nothing.
    assert found.by_class == (pytest.approx(2 / 3), pytest.approx((3 / 4 + 0 + 0) / 3), None)
    assert found.mean == pytest.approx((2 / 3 + 1 / 4) / 2)


def test_cohesion_is_the_mean_over_all_pairs() -> None:
    library = random_library("small_cnn")
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (60,), generator=generator)
    active = [torch.rand(60, site.units, generator=generator) < 0.6 for site in library.network.sites]
    found = cohesion(library, active, labels, seed=0)
    module = torch.cat(library.masks, dim=1)
    used = torch.cat(active, dim=1) & module[labels]
    for label, value in enumerate(found.by_class):
        samples = [set(row.nonzero().flatten().tolist()) for row in used[labels == label]]
        pairs = [len(one & other) / max(1, len(one | other)) for one, other in combinations(samples, 2)]
        assert value == pytest.approx(sum(pairs) / len(pairs))


def test_samples_of_a_large_class_are_drawn_by_the_seed() -> None:
    library = random_library("small_cnn")
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(40, dtype=torch.int64)
    active = [torch.rand(40, site.units, generator=generator) < 0.6 for site in library.network.sites]
    drawn = [cohesion(library, active, labels, samples_per_class=5, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    everyone = [cohesion(library, active, labels, samples_per_class=40, seed=seed).mean for seed in (1, 2)]
    assert everyone[0] == pytest.approx(everyone[1])
    many = [cohesion(library, active, labels, samples_per_class=5, seed=seed).mean or 0.0 for seed in range(40)]
    assert sum(many) / len(many) == pytest.approx(everyone[0], abs=0.01)


def test_cohesion_without_any_pair_has_no_mean() -> None:
    found = cohesion(by_hand(MASKS), [mask[:2] for mask in ACTIVE], torch.tensor([0, 1]), seed=0)
    assert found == Cohesion((None, None, None))
    assert found.mean is None


@pytest.mark.parametrize(
    ("active", "labels", "limit", "message"),
    [
        (ACTIVE[:1], LABELS, 9, r"units of 1 sites, but the network has 2"),
        ((ACTIVE[0][:5], ACTIVE[1]), LABELS, 9, r"site 'ra' are torch.bool \(5, 4\), not bool \(6, 4\)"),
        ((ACTIVE[0], ACTIVE[1].float()), LABELS, 9, r"site 'rb' are torch.float32 \(6, 2\), not bool"),
        (ACTIVE, LABELS + 1, 9, r"label 3 is no class; classes are numbered 0 to 2"),
        (ACTIVE, LABELS, 1, r"samples_per_class is 1; pairs need at least 2"),
    ],
)
def test_samples_that_do_not_fit_are_refused(
    active: Sequence[Tensor], labels: Tensor, limit: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        cohesion(by_hand(MASKS), active, labels, samples_per_class=limit, seed=0)
