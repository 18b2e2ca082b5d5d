"""Modules side by side: three ways to the same scores, and what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from methods.modules.side_by_side import SideBySide, as_network
from methods.networks.architecture import Architecture, Node
from methods.networks.graph import Network
from tests.methods.modules.libraries import seeded_heads
from tests.methods.networks.samples import HAND_BUILT, random_inputs, random_keeps, sample_network

NETWORKS = ["small_cnn", "resnet20", "resnet18", "mlp", "mobilenet", *HAND_BUILT, *(f"chance{n}" for n in range(20))]


def some_modules(name: str, *, heads: bool) -> SideBySide:
    """One module for each logit, in another order; the last keeps no unit."""
    network = sample_network(name)
    num_classes = network.architecture.num_outputs
    kept, _ = random_keeps(network, rows=num_classes)
    if heads:
        return SideBySide(network, list(kept.values()), heads=seeded_heads(num_classes, num_classes))
    return SideBySide(network, list(kept.values()), outputs=list(reversed(range(num_classes))))


def scores_by_loop(modules: SideBySide, x: Tensor) -> Tensor:
    """Written out: each module a masked pass, each head by itself."""
    columns = []
    for module in range(len(modules)):
        keep = [mask_MU[module] for mask_MU in modules.masks]
        logits_BK = modules.network.run(x, keep=keep).logits
        if modules.heads is None:
            columns.append(logits_BK[:, modules.outputs[module]])
        else:
            columns.append(modules.heads.head(module).before_sigmoid(logits_BK))
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("heads", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_masked_and_unrolled_networks_compute_what_a_loop_does(name: str, heads: bool) -> None:
    modules = some_modules(name, heads=heads).double()
    x = random_inputs(modules.network, seed=0, dtype=torch.float64)
    unrolled = modules.unrolled()
    with torch.no_grad():
        wanted = scores_by_loop(modules, x)
        assert torch.allclose(modules(x), wanted, atol=1e-12, rtol=1e-12)
        assert torch.allclose(unrolled(x), wanted, atol=1e-9, rtol=1e-9)
    assert wanted.shape == (3, len(modules))
    assert modules.num_outputs == unrolled.architecture.num_outputs == len(modules)
    assert modules.input_shape == unrolled.architecture.input_shape


@pytest.mark.parametrize("heads", [True, False])
def test_one_module_is_a_plain_network_of_one_output(heads: bool) -> None:
    modules = some_modules("resnet20", heads=heads)
    x = random_inputs(modules.network, seed=0)
    with torch.no_grad():
        scores = modules(x)
        for number in range(len(modules)):
            assert torch.allclose(modules.module(number)(x), scores[:, [number]], atol=1e-4)
    alone = SideBySide(
        modules.network,
        [mask[1:2] for mask in modules.masks],
        outputs=modules.outputs[1:2] or None,
        heads=modules.heads.picked([1]) if modules.heads else None,
    )
    assert alone.unrolled().architecture == modules.module(1).architecture


def test_all_units_kept_give_the_logits_of_the_network() -> None:
    network = sample_network("resnet20")
    modules = SideBySide(network, [torch.ones(5, site.units, dtype=torch.bool) for site in network.sites])
    x = random_inputs(network, seed=0)
    with torch.no_grad():
        assert torch.equal(modules(x), network(x))
        assert torch.allclose(modules.unrolled()(x), network(x), atol=1e-5)


def test_a_unit_of_one_module_moves_the_score_of_that_module_alone() -> None:
    modules = some_modules("small_cnn", heads=True)
    x = random_inputs(modules.network, seed=0)
    masks = [mask.clone() for mask in modules.masks]
    masks[-1][1] = ~masks[-1][1]
    with torch.no_grad():
        before, after = modules(x), SideBySide(modules.network, masks, heads=modules.heads)(x)
    changed = (before != after).any(dim=0)
    assert changed.tolist() == [False, True, False, False, False]


def test_the_unrolled_network_shares_no_memory() -> None:
    modules = some_modules("small_cnn", heads=True)
    unrolled = modules.unrolled()
    with torch.no_grad():
        for parameter in unrolled.parameters():
            parameter.zero_()
    assert all(bool(parameter.any()) for parameter in modules.parameters() if parameter.dim() > 1)


def test_modes_of_the_network_s_layers_are_left_alone() -> None:
    network = sample_network("small_cnn").train()
    frozen = next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d)).eval()
    modules = SideBySide(network, [torch.ones(5, site.units, dtype=torch.bool) for site in network.sites])
    assert modules.training
    assert not frozen.training


def test_random_numbers_are_left_alone() -> None:
    before = torch.get_rng_state()
    some_modules("mlp", heads=True).unrolled()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_plain_network_is_its_own_network() -> None:
    network = sample_network("mlp")
    assert as_network(network) is network
    modules = some_modules("mlp", heads=False)
    assert as_network(modules).architecture == modules.unrolled().architecture


def test_copies_are_complete() -> None:
    modules = some_modules("small_cnn", heads=True)
    x = random_inputs(modules.network, seed=0)
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(modules)(x), modules(x))


def test_what_does_not_fit_is_refused() -> None:
    network = sample_network("small_cnn")
    masks = [torch.ones(2, site.units, dtype=torch.bool) for site in network.sites]
    first = network.sites[0].name
    with pytest.raises(ValueError, match=r"masks for 1 sites, but the network has"):
        SideBySide(network, masks[:1])
    with pytest.raises(ValueError, match=rf"the mask of site '{first}' is torch.float32"):
        SideBySide(network, [mask.float() for mask in masks])
    with pytest.raises(ValueError, match=r"not bool \(2, \d+\); give a row for each module"):
        SideBySide(network, [masks[0], *[mask[:1] for mask in masks[1:]]])
    with pytest.raises(ValueError, match="there is no module; give at least one"):
        SideBySide(network, [mask[:0] for mask in masks])
    for outputs in ([0, 0], [0, 5], [-1, 0], [1]):
        with pytest.raises(ValueError, match="give each module a logit of its own"):
            SideBySide(network, masks, outputs=outputs)
    for heads in (seeded_heads(3, 5), seeded_heads(2, 4)):
        with pytest.raises(ValueError, match="give a head for each module, on all logits"):
            SideBySide(network, masks, heads=heads)


def test_a_network_without_units_gives_its_logits() -> None:
    nodes = (Node("input", "input"), Node("out", "linear", ("input",), {"in_features": 3, "out_features": 2}))
    network = Network(Architecture(nodes, (3,)))
    torch.nn.init.normal_(network.nodes["out"].weight, generator=torch.Generator().manual_seed(0))
    modules = SideBySide(network, [], outputs=[1, 0])
    x = random_inputs(network, seed=0)
    with torch.no_grad():
        assert torch.equal(modules(x), network(x)[:, [1, 0]])
        assert torch.allclose(modules.unrolled()(x), network(x)[:, [1, 0]])
    with pytest.raises(ValueError, match="there is no module"):
        SideBySide(network, [])
