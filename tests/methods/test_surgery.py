"""What surgery promises: the cut network computes what the full one does with the other units at zero."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from methods.networks.architecture import Architecture, Node
from methods.networks.build import build_network, initialise
from methods.networks.catalog import network_names
from methods.networks.dropout import Dropout, switch_off_dropout
from methods.networks.graph import Network
from methods.networks.ties import tied_sites
from methods.surgery import dead_units, deploy, extract, fold_batch_norm
from tests.methods.networks.samples import (
    HAND_BUILT,
    conv,
    disturbed,
    linear,
    random_inputs,
    random_keep,
    relu,
    sample_network,
)

CATALOG = network_names()
CHANCE = tuple(f"chance{seed}" for seed in range(24))


def worst(found: Tensor, wanted: Tensor) -> float:
    """Largest difference, relative to the largest logit or 1."""
    return ((found - wanted).abs().max() / wanted.abs().max().clamp(min=1)).item()


def num_weights(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def random_outputs(num_outputs: int, *, seed: int) -> list[int]:
    order = torch.randperm(num_outputs, generator=torch.Generator().manual_seed(seed)).tolist()
    return order[: 1 + seed % num_outputs]


def pruned(network: Network, *, share: float, seed: int) -> Network:
    """The network without that share of its convolution and linear weights, drawn by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.mul_(torch.rand(parameter.shape, generator=generator) >= share)
    return network


@pytest.mark.parametrize("name", [*CATALOG, *HAND_BUILT, *CHANCE])
def test_extracted_network_equals_the_masked_one(name: str) -> None:
    network = sample_network(name)
    exact = copy.deepcopy(network).double()
    for seed in range(4 if name in CATALOG else 6):
        keep = random_keep(network, seed=seed)
        outputs = random_outputs(network.architecture.num_outputs, seed=seed) if seed % 2 else None
        columns = outputs if outputs is not None else slice(None)
        x = random_inputs(network, seed=seed)
        with torch.no_grad():
            cut = extract(network, keep, outputs)
            assert worst(cut(x), network.run(x, keep=keep).logits[:, columns]) < 1e-6
            cut = extract(exact, keep, outputs)
            assert worst(cut(x.double()), exact.run(x.double(), keep=keep).logits[:, columns]) < 1e-12
        assert all(tensor.dtype == torch.float64 for tensor in cut.parameters())


def by_remainder(network: Network, classes: list[int]) -> list[Tensor]:
    """A made-up keep-set: class c keeps unit u of site t iff ((7u + 3t + 5c) mod 11) < 6; here the union of classes."""
    return [
        torch.stack([(7 * torch.arange(site.units) + 3 * t + 5 * c) % 11 < 6 for c in classes]).any(dim=0)
        for t, site in enumerate(network.sites)
    ]


@pytest.mark.parametrize(
    ("name", "module", "composition"),
    [
        ("vgg16", 10_002_416, 27_783_232),
        ("resnet18", 3_324_839, 9_225_295),
        ("mobilenet", 657_303, 2_483_966),
    ],
)
def test_class_modules_have_the_sizes_of_the_release_and_compute_the_same(
    name: str, module: int, composition: int
) -> None:
    """At full width; the numbers come from the public MODA code."""
    network = build_network(name, input_shape=(3, 32, 32), num_outputs=10, seed=0)
    network = disturbed(network, seed=0).eval()
    x = random_inputs(network, seed=0, samples=1)
    for classes, size in (([1], module), ([1, 4], composition)):
        keep = by_remainder(network, classes)
        cut = extract(network, keep, classes)
        assert num_weights(cut) == size
        with torch.no_grad():
            assert worst(cut(x), network.run(x, keep=keep).logits[:, classes]) < 1e-6


def test_channels_are_cut_at_every_position_that_vgg16_flattens() -> None:
    network = build_network("vgg16", input_shape=(3, 64, 64), num_outputs=5, width=1 / 16, seed=0)
    initialise(network, seed=0)  # without the tiny weights of its linear layers
    network = disturbed(network, seed=0).double().eval()
    keep = random_keep(network, seed=0) | {"stage5_3_relu": torch.arange(32) % 3 == 1}
    cut = extract(network, keep)
    assert cut.architecture.shapes["flatten"] == (11 * 2 * 2,)
    x = random_inputs(network, seed=0, dtype=torch.float64)
    with torch.no_grad():
        assert worst(cut(x), network.run(x, keep=keep).logits) < 1e-12


@pytest.mark.parametrize("block", ["stage1_block1", "stage2_block2", "stage4_block2"])
def test_identity_shortcut_carries_what_both_sides_keep(block: str) -> None:
    network = sample_network("resnet18").double()
    names = [site.name for site in network.sites]
    before = names[names.index(f"{block}_a_relu") - 1]
    units = torch.arange(network.sites[names.index(before)].units)
    x = random_inputs(network, seed=0, dtype=torch.float64)
    for below, above in [(units % 2 == 0, units % 3 == 0), (units < 2, units >= 2), (units >= 2, units < 0)]:
        keep = {before: below, f"{block}_relu": above}
        cut = extract(network, keep)
        with torch.no_grad():
            assert worst(cut(x), network.run(x, keep=keep).logits) < 1e-12
        layers = {site.name: site.units for site in cut.sites}
        assert layers.get(f"{block}_relu", 0) == int(above.sum())


@pytest.mark.parametrize(("block", "stride"), [(3, 1), (4, 2)])
def test_depthwise_channels_without_an_input_put_out_their_constants(block: int, stride: int) -> None:
    """Also where the sites share no channel; there the MODA code feeds the first one and computes something else."""
    network = sample_network("mobilenet").double()
    before, depthwise = f"block{block - 1}_b_relu", f"block{block}_a"
    nodes = {node.name: node for node in network.architecture.nodes}
    assert nodes[f"{depthwise}_conv"].pair("stride") == (stride, stride)
    network.nodes[f"{depthwise}_norm"].get_parameter("bias").data.fill_(1.0)  # so that no unit is dead
    units = torch.arange(network.architecture.shapes[before][0])
    x = random_inputs(network, seed=0, dtype=torch.float64)
    for p, d in [(units % 2 == 0, units % 3 == 0), (units < 3, units >= 3), (units < 0, units < 5)]:
        keep = {before: p, f"{depthwise}_relu": d}
        cut = extract(network, keep)
        shapes = cut.architecture.shapes
        with torch.no_grad():
            wanted = network.run(x, keep=keep).logits
            assert worst(cut(x), wanted) < 1e-12
            assert shapes[f"{depthwise}_norm"][0] == shapes[f"{depthwise}_relu"][0] == d.sum()
            assert shapes.get(before, (0,))[0] == (p & d).sum()
            if not (p & d).any():
                first_fed = network.run(x, keep=keep | {before: units == units[d][0]}).logits
                assert worst(first_fed, wanted) > 1e-3


@pytest.mark.parametrize("name", [*CATALOG, *HAND_BUILT])
def test_extracted_network_equals_the_masked_one_in_training_mode(name: str) -> None:
    """But for dropout, which draws anew: a cut network has fewer values to draw for."""
    network = sample_network(name).double().train()
    switch_off_dropout(network)
    keep = random_keep(network, seed=1)
    x = random_inputs(network, seed=0, samples=6, dtype=torch.float64)
    cut = extract(network, keep)
    assert cut.training
    assert all(module.training != isinstance(module, Dropout) for module in cut.modules())
    masked = copy.deepcopy(network).run(x, keep=keep).logits
    assert worst(cut(x).detach(), masked.detach()) < 1e-10


@pytest.mark.parametrize("name", [*CATALOG, *HAND_BUILT, *CHANCE])
def test_cutting_twice_equals_cutting_once(name: str) -> None:
    network = sample_network(name).double()
    x = random_inputs(network, seed=0, dtype=torch.float64)
    first = random_keep(network, seed=2)
    once = extract(network, first)
    second = random_keep(once, seed=3)
    twice = extract(once, second)
    with torch.no_grad():
        assert worst(twice(x), once.run(x, keep=second).logits) < 1e-12


@pytest.mark.parametrize("name", ["small_cnn", "resnet20", *HAND_BUILT])
def test_network_without_any_unit_still_computes(name: str) -> None:
    network = sample_network(name).double()
    keep = [torch.zeros(site.units, dtype=torch.bool) for site in network.sites]
    x = random_inputs(network, seed=0, dtype=torch.float64)
    with torch.no_grad():
        cut = extract(network, keep)
        assert worst(cut(x), network.run(x, keep=keep).logits) < 1e-12
    assert num_weights(cut) < num_weights(network)


@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (1, 1)])
@pytest.mark.parametrize("stride", [1, 2])
def test_biases_survive_where_nothing_else_does(kernel: int, padding: int, stride: int) -> None:
    nodes = (
        Node("input", "input"),
        conv("c1", "input", (2, 4)),
        relu("r1", "c1"),
        conv("c2", "r1", (4, 5), kernel_size=kernel, padding=padding, stride=stride, bias=True),
        relu("r2", "c2"),
        conv("c3", "r2", (5, 3), bias=True),
        Node("flat", "flatten", ("c3",)),
        linear("out", "flat", (3 * (((5 + 2 * padding - kernel) // stride + 1) ** 2), 2)),
    )
    network = Network(Architecture(nodes, (2, 5, 5)))
    initialise(network, seed=0)
    with torch.no_grad():
        for name in ("c2", "c3"):
            network.nodes[name].get_parameter("bias").fill_(0.7)
    x = random_inputs(network, seed=0)
    for gone in (["r1"], ["r2"], ["r1", "r2"]):
        keep = {site.name: torch.full((site.units,), site.name not in gone) for site in network.sites}
        cut = extract(network, keep)
        with torch.no_grad():
            assert worst(cut(x), network.run(x, keep=keep).logits) < 1e-6
        assert not {site.name for site in cut.sites} & set(gone)
        assert num_weights(cut) < num_weights(network)


def test_features_of_one_channel_are_cut_together() -> None:
    """Readers that want some pixels of a channel get them, whatever else of it is carried along."""
    nodes = (
        Node("input", "input"),
        conv("c1", "input", (1, 4)),
        relu("r1", "c1"),
        Node("flat", "flatten", ("r1",)),
        Node("some", "select", ("flat",), {"indices": [9, 1, -1, 14]}),
        linear("out", "some", (4, 3)),
    )
    network = Network(Architecture(nodes, (1, 2, 2)))
    initialise(network, seed=0)
    x = random_inputs(network, seed=0)
    keep = {"r1": torch.tensor([True, True, True, False])}
    cut = extract(network, keep)
    assert worst(cut(x), network.run(x, keep=keep).logits) < 1e-6
    assert [site.units for site in cut.sites] == [2]


def test_keeping_everything_copies_the_network() -> None:
    network = sample_network("resnet20")
    cut = extract(network, {})
    assert cut.architecture == network.architecture
    for (name, found), (_, wanted) in zip(cut.state_dict().items(), network.state_dict().items(), strict=True):
        assert torch.equal(found, wanted), name
        assert found.data_ptr() != wanted.data_ptr() or found.numel() == 0, name


def test_cut_network_has_the_expected_size() -> None:
    """Two of four channels through flatten and both layers around it, counted by hand."""
    nodes = (
        Node("input", "input"),
        conv("c1", "input", (1, 4), bias=True),
        relu("r1", "c1"),
        Node("flat", "flatten", ("r1",)),
        linear("out", "flat", (4 * 4, 3)),
    )
    network = Network(Architecture(nodes, (1, 2, 2)))
    initialise(network, seed=0)
    cut = extract(network, {"r1": torch.tensor([False, True, False, True])}, outputs=[2, 0])
    assert [node.op for node in cut.architecture.nodes] == [node.op for node in nodes]
    assert num_weights(cut) == (2 * 9 + 2) + (2 * 8 + 2)
    weight_OI = network.nodes["out"].get_parameter("weight")
    wanted = weight_OI[[2, 0]][:, [4, 5, 6, 7, 12, 13, 14, 15]]
    assert torch.equal(cut.nodes["out"].get_parameter("weight"), wanted)


def test_select_is_only_put_in_where_layouts_differ() -> None:
    network = sample_network("resnet20")
    same = {site.name: torch.arange(site.units) % 2 == 0 for site in network.sites if not site.name.endswith("_a_relu")}
    ops = [node.op for node in extract(network, same).architecture.nodes]
    assert "select" not in ops
    different = same | {"stage1_block2_relu": torch.arange(4) < 3}
    ops = [node.op for node in extract(network, different).architecture.nodes]
    assert 1 <= ops.count("select") <= 2


def tied_keep(network: Network, *, seed: int) -> list[Tensor]:
    """A random keep-set under which tied sites keep the same units, each site at least one."""
    generator = torch.Generator().manual_seed(seed)
    keep: dict[int, Tensor] = {}
    for group in tied_sites(network.architecture):
        mask = torch.rand(network.sites[group[0]].units, generator=generator) < 0.5
        mask[0] |= ~mask.any()
        keep |= dict.fromkeys(group, mask)
    return [keep[index] for index in range(len(network.sites))]


@pytest.mark.parametrize("name", ["tied", "rescnn_cnnsplitter", "rescnn_gradsplitter"])
def test_networks_are_cut_where_tied_sites_agree(name: str) -> None:
    network = sample_network(name).double()
    x = random_inputs(network, seed=0, dtype=torch.float64)
    units = {site.name: index for index, site in enumerate(network.sites)}
    for seed in range(4):
        keep = tied_keep(network, seed=seed)
        cut = extract(network, keep)
        with torch.no_grad():
            assert worst(cut(x), network.run(x, keep=keep).logits) < 1e-12
        if name == "tied":  # its sums hold constants too: what normalisation makes of zeros
            continue
        assert "select" not in [node.op for node in cut.architecture.nodes]
        for total, early in [(3, 1), (7, 5), (11, 9)]:
            assert cut.architecture.shapes[f"sum{total}"][0] == keep[units[f"conv{early}_relu"]].sum()


@pytest.mark.parametrize("name", ["tied", "rescnn_cnnsplitter", "rescnn_gradsplitter"])
def test_networks_are_cut_where_tied_sites_disagree(name: str) -> None:
    network = sample_network(name).double()
    x = random_inputs(network, seed=0, dtype=torch.float64)
    (tie, *_) = [group for group in tied_sites(network.architecture) if len(group) > 1]
    one, other = network.sites[tie[0]], network.sites[tie[1]]
    units = torch.arange(one.units)
    for first, second in [(units % 2 == 0, units % 3 == 0), (units < 2, units >= 2), (units >= 2, units < 0)]:
        keep = {one.name: first, other.name: second}
        with torch.no_grad():
            assert worst(extract(network, keep)(x), network.run(x, keep=keep).logits) < 1e-12
    if name != "tied":
        cut = extract(network, {one.name: units < 2, other.name: units > 2})
        assert cut.architecture.shapes["sum3"][0] == one.units - 1, "what either side keeps"


def test_branches_of_a_concatenation_are_cut_at_their_offsets() -> None:
    """Columns of the layers that read it, by hand: those of a branch start behind the full widths of the others."""
    network = build_network(
        "incecnn_gradsplitter",
        input_shape=(3, 8, 8),
        num_outputs=4,
        seed=0,
        arguments={"stem": [4, 4, 4], "branches": [4, 3, 2] * 3},
    ).eval()
    keep = {
        "block1_1x1_relu": torch.tensor([True, False, False, True]),
        "block1_3x3_relu": torch.tensor([False, True, False]),
        "block1_5x5_relu": torch.tensor([False, True]),
        "block3_1x1_relu": torch.tensor([False, True, False, False]),
        "block3_5x5_relu": torch.tensor([True, False]),
    }
    cut = extract(network, keep)
    for name in ("block2_1x1", "block2_3x3", "block2_5x5"):
        full = network.nodes[name].get_parameter("weight")
        assert torch.equal(cut.nodes[name].get_parameter("weight"), full[:, [0, 3, 4 + 1, 4 + 3 + 1]])
    full = network.nodes["classifier"].get_parameter("weight")
    assert torch.equal(cut.nodes["classifier"].get_parameter("weight"), full[:, [1, 4, 5, 6, 4 + 3 + 0]])
    x = random_inputs(network, seed=0)
    with torch.no_grad():
        assert worst(cut(x), network.run(x, keep=keep).logits) < 1e-6


def test_dropout_stays_in_a_cut_network_and_is_left_out_of_a_deployed_one() -> None:
    network = sample_network("tied")
    cut = extract(network, random_keep(network, seed=0))
    assert sum(isinstance(layer, Dropout) for layer in cut.modules()) == 3
    for smaller in (fold_batch_norm(network), deploy(network), deploy(cut)):
        assert not any(isinstance(layer, Dropout) for layer in smaller.modules())
    norms = [node.name for node in fold_batch_norm(network).architecture.nodes if node.op == "batch_norm"]
    assert norms == ["n3"], "the one behind a convolution and dropout is folded, the one behind a ReLU is not"


def test_cut_network_keeps_flags_modes_and_memory_format() -> None:
    network = sample_network("resnet20").train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.nodes["stem_norm"].eval()
    network.nodes["stem_conv"].requires_grad_(False)
    cut = extract(network, {"stem_relu": torch.tensor([True, False, True, True])})
    assert not cut.nodes["stem_norm"].training
    assert cut.nodes["stage3_block1_b_norm"].training
    assert not cut.nodes["stem_conv"].get_parameter("weight").requires_grad
    weight = cut.nodes["stage3_block3_b_conv"].get_parameter("weight")
    assert weight.requires_grad
    assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"nowhere": torch.ones(4, dtype=torch.bool)}, r"no site 'nowhere'; the network's sites are conv1_relu"),
        ({"conv1_relu": torch.ones(3, dtype=torch.bool)}, r"keep\['conv1_relu'\] has shape \(3,\); .* 4 units"),
        ({"conv1_relu": torch.ones(4)}, r"keep\['conv1_relu'\] is torch.float32; give a torch.bool tensor"),
        ([torch.ones(4, dtype=torch.bool)], r"1 tensors for 3 sites"),
    ],
)
def test_wrong_keep_sets_are_refused_by_name(keep: object, message: str) -> None:
    network = sample_network("small_cnn")
    with pytest.raises(ValueError, match=message):
        extract(network, keep)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        network.run(random_inputs(network, seed=0), keep=keep)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outputs", "message"), [([], "empty"), ([5], "5 is not among the logits 0 to 4"), ([1, 1], "twice"), ([-1], "-1")]
)
def test_wrong_outputs_are_refused(outputs: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extract(sample_network("small_cnn"), {}, outputs)


def test_grouped_convolution_is_refused() -> None:
    nodes = (
        Node("input", "input"),
        conv("grouped", "input", (4, 4), groups=2),
        relu("r", "grouped"),
        Node("pool", "global_avg_pool", ("r",)),
        linear("out", "pool", (4, 2)),
    )
    network = Network(Architecture(nodes, (4, 4, 4)))
    with pytest.raises(ValueError, match=r"'grouped'.*in 2 groups cannot be cut"):
        extract(network, {})
    with pytest.raises(ValueError, match=r"'grouped'.*in 2 groups cannot be cut"):
        dead_units(network)


@pytest.mark.parametrize("name", [*CATALOG, *HAND_BUILT, *CHANCE])
def test_folding_batch_norm_changes_nothing_and_keeps_zeros(name: str) -> None:
    network = pruned(sample_network(name), share=0.5, seed=0)
    folded = fold_batch_norm(network)
    x = random_inputs(network, seed=0)
    with torch.no_grad():
        assert worst(folded(x), network(x)) < 1e-5
    for key, module in folded.nodes.items():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.dim() > 1:
            assert torch.equal(weight == 0, network.nodes[key].get_parameter("weight") == 0), key


def test_only_batch_norm_that_alone_reads_a_layer_is_folded() -> None:
    def ops(name: str) -> list[str]:
        return [
            node.name for node in fold_batch_norm(sample_network(name)).architecture.nodes if node.op == "batch_norm"
        ]

    assert ops("resnet20") == []
    assert ops("inception") == []
    assert ops("preactivated") == ["n2", "n3"]


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("name", [*CATALOG, *HAND_BUILT, *CHANCE])
def test_deployed_network_is_smaller_and_computes_the_same(name: str, share: float) -> None:
    network = pruned(sample_network(name), share=share, seed=1)
    deployed = deploy(network)
    x = random_inputs(network, seed=0, samples=8)
    with torch.no_grad():
        assert worst(deployed(x), network(x)) < 1e-5
    assert not deployed.training
    assert num_weights(deployed) <= num_weights(fold_batch_norm(network))
    if share > 0.9 and name in CATALOG:
        assert num_weights(deployed) < num_weights(network)
    assert all(bool(alive.all()) for alive in dead_units(deployed).values())


@pytest.mark.parametrize("share", [0.0, 0.9, 0.98])
@pytest.mark.parametrize("name", ["small_cnn", "mlp", *HAND_BUILT, *CHANCE])
def test_dropped_units_are_zero_or_without_influence(name: str, share: float) -> None:
    network = fold_batch_norm(pruned(sample_network(name), share=share, seed=2)).double()
    x = random_inputs(network, seed=0, samples=8, dtype=torch.float64)
    with torch.no_grad():
        keep = dead_units(network)
        assert worst(network.run(x, keep=keep).logits, network(x)) < 1e-12


def two_layers() -> Network:
    nodes = (
        Node("input", "input"),
        linear("a", "input", (2, 4)),
        relu("ra", "a"),
        linear("b", "ra", (4, 3)),
        relu("rb", "b"),
        linear("out", "rb", (3, 2)),
    )
    network = Network(Architecture(nodes, (2,)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1.0)
    return network


def test_dead_units_by_hand() -> None:
    network = two_layers()
    assert all(alive.all() for alive in dead_units(network).values())
    with torch.no_grad():
        network.nodes["out"].get_parameter("weight")[:, 0] = 0  # nobody reads unit 0 of rb ...
        network.nodes["b"].get_parameter("weight")[1:, 0] = 0  # ... which alone reads unit 0 of ra
        network.nodes["a"].get_parameter("weight")[1] = 0  # unit 1 of ra is always relu(-1) = 0 ...
        network.nodes["a"].get_parameter("bias")[1] = -1
        network.nodes["b"].get_parameter("weight")[1, 2:] = 0  # ... and all that unit 1 of rb reads, so it is 0 too
        network.nodes["b"].get_parameter("bias")[1] = 0
        network.nodes["a"].get_parameter("weight")[3] = 0  # unit 3 of ra is always 1: a constant, not nothing
    assert dead_units(network)["ra"].tolist() == [False, False, True, True]
    assert dead_units(network)["rb"].tolist() == [False, False, True]
    assert [site.units for site in deploy(network).sites] == [2, 1]


def test_unit_that_can_only_be_negative_is_dead() -> None:
    network = two_layers()
    with torch.no_grad():
        network.nodes["b"].get_parameter("weight")[2] = -1  # it reads outputs of ReLUs, which are never negative
        network.nodes["b"].get_parameter("bias")[2] = 0
    assert dead_units(network)["rb"].tolist() == [True, True, False]


def test_unit_that_is_positive_at_the_border_alone_is_alive() -> None:
    nodes = (
        Node("input", "input"),
        conv("c1", "input", (1, 1), bias=True),
        relu("r1", "c1"),
        conv("c2", "r1", (1, 1), bias=True),
        relu("r2", "c2"),
        Node("pool", "global_avg_pool", ("r2",)),
        linear("out", "pool", (1, 1)),
    )
    network = Network(Architecture(nodes, (1, 4, 4)))
    with torch.no_grad():
        network.nodes["c1"].get_parameter("bias").fill_(1.0)  # r1 is 1 everywhere
        network.nodes["c2"].get_parameter("weight").fill_(-1.0)
        network.nodes["c2"].get_parameter("bias").fill_(5.0)  # r2: relu(5 - 9) inside, relu(5 - 4) in the corners
        network.nodes["out"].get_parameter("weight").fill_(1.0)
        x = random_inputs(network, seed=0)
        assert network(x).allclose(torch.tensor(4 / 16))
        assert deploy(network)(x).allclose(torch.tensor(4 / 16))
    assert dead_units(network)["r2"].tolist() == [True]


def test_residual_channel_lives_until_its_whole_stage_is_dead() -> None:
    network = build_network("resnet20", input_shape=(1, 8, 8), num_outputs=3, width=0.25, seed=0)
    folded = fold_batch_norm(network)
    stage = [name for name in folded.nodes if name.startswith("stage1") and "_b_conv" in name]
    stage_sites = [site.name for site in folded.sites if site.name.startswith("stage1") and "_a_" not in site.name]
    with torch.no_grad():
        for name in stage:
            folded.nodes[name].get_parameter("weight")[1] = 0
    assert all(dead_units(folded)[name][1] for name in ["stem_relu", *stage_sites])
    with torch.no_grad():
        folded.nodes["stem_conv"].get_parameter("weight")[1] = 0
    assert not any(dead_units(folded)[name][1] for name in ["stem_relu", *stage_sites])
    assert deploy(network).sites[0].units == 4
