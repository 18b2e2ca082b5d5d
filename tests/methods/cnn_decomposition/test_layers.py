from __future__ import annotations

import pytest
import torch

from methods.cnn_decomposition.layers import (
    MaskedLayer,
    kernel_retention,
    kernel_sets,
    maskable_layers,
    mean_difference,
    site_masks,
    with_first_kernel,
)
from methods.measure import count_parameters
from methods.modules.heads import ModuleHead, ModuleHeads
from methods.modules.library import ModuleLibrary
from methods.networks.catalog import design_network
from methods.networks.stacked import run_stacked
from methods.surgery import extract
from tests.methods.cnn_decomposition.networks import wave, worked_example
from tests.methods.networks import samples

KEPT = ({0, 2, 3}, {1, 4})
LOGITS = torch.tensor([[0.229984, -0.046567, 0.432735], [1.727286, -1.562209, 1.936382]], dtype=torch.float64)
UNMASKED = torch.tensor([[0.254197, -0.076217, 0.467229], [5.819176, -5.522761, 5.686325]], dtype=torch.float64)


def _kept() -> list[torch.Tensor]:
    return [torch.tensor([[unit in kept for unit in range(size)]]) for kept, size in zip(KEPT, (4, 5), strict=True)]


def _head() -> ModuleHead:
    head = ModuleHead(3).double()
    with torch.no_grad():
        head.hidden.weight.copy_(wave((10, 3), 0.5, 0.4, 0.2, 0.0))
        head.hidden.bias.copy_(wave((10,), 0.1, 0.3, 0.2, 0.0))
        head.score.weight.copy_(wave((1, 10), 0.5, 0.8, 0.2, 0.0))
        head.score.bias.copy_(wave((1,), 0.1, 0.2, 0.2, 0.0))
    return head


def test_a_materialised_module_has_the_values_worked_out() -> None:
    network, x = worked_example(), wave((2, 3, 4, 4), 1.0, 0.37, 0.2, 0.0)
    torch.testing.assert_close(network(x), UNMASKED, rtol=0, atol=5e-7)
    layers = maskable_layers(network.architecture)
    masks = {layer.sites[0]: kept.double() for layer, kept in zip(layers, _kept(), strict=True)}
    torch.testing.assert_close(run_stacked(network, x, masks)[0], LOGITS, rtol=0, atol=5e-7)
    module = extract(network, [mask[0] for mask in site_masks(network.architecture, layers, _kept())])
    torch.testing.assert_close(module(x), LOGITS, rtol=0, atol=5e-7)
    scores = _head()(module(x))
    torch.testing.assert_close(scores, torch.tensor([0.472675, 0.412615]).double(), rtol=0, atol=5e-7)
    assert count_parameters(module) + sum(value.numel() for value in _head().parameters()) == 210
    assert count_parameters(network) == 333


def test_its_library_delivers_the_same_module() -> None:
    network, x = worked_example(), wave((2, 3, 4, 4), 1.0, 0.37, 0.2, 0.0)
    layers = maskable_layers(network.architecture)
    masks = [mask.expand(3, -1).clone() for mask in site_masks(network.architecture, layers, _kept())]
    heads = ModuleHeads(3, 3).double()
    one = _head()
    with torch.no_grad():
        heads.hidden_weight[:] = one.hidden.weight
        heads.hidden_bias[:] = one.hidden.bias
        heads.score_weight[:] = one.score.weight[0]
        heads.score_bias[:] = one.score.bias
    library = ModuleLibrary(network, ("a", "b", "c"), tuple(masks), heads=heads, composition="side_by_side")
    module = library.compose(["b"])
    torch.testing.assert_close(
        torch.sigmoid(module(x))[:, 0], torch.tensor([0.472675, 0.412615]).double(), rtol=0, atol=5e-7
    )
    assert count_parameters(module) == 210


def test_the_published_networks_have_their_numbers_of_kernels_and_masks() -> None:
    for name, num_layers, values, kernels in (
        ("simcnn_gradsplitter", 13, 4224, 4224),
        ("rescnn_gradsplitter", 9, 3136, 4288),
        ("incecnn_gradsplitter", 12, 3200, 3200),
    ):
        layers = maskable_layers(design_network(name, input_shape=(3, 32, 32), num_outputs=10))
        assert len(layers) == num_layers
        assert sum(layer.kernels for layer in layers) == values
        assert sum(layer.kernels * len(layer.sites) for layer in layers) == kernels


def test_a_network_without_convolutions_has_none() -> None:
    assert maskable_layers(design_network("mlp", input_shape=(6,), num_outputs=3)) == ()


def test_other_sites_keep_all_their_units() -> None:
    network = samples.sample_network("small_cnn")
    layers = maskable_layers(network.architecture)
    kept = [torch.zeros(2, layer.kernels, dtype=torch.bool) for layer in layers]
    masks = site_masks(network.architecture, layers, kept)
    assert [bool(mask.any()) for mask in masks] == [False, False, True]
    assert [tuple(mask.shape) for mask in masks] == [(2, site.units) for site in network.sites]


def test_tied_layers_count_in_each_of_them() -> None:
    layers = [MaskedLayer(("a",), 2), MaskedLayer(("b", "d"), 3)]
    kept = [torch.tensor([[True, False], [True, True]]), torch.tensor([[True, False, False], [False, True, True]])]
    assert kernel_retention(layers, kept).tolist() == pytest.approx([3 / 8, 6 / 8])
    assert kernel_sets(layers, kept).int().tolist() == [[1, 0, 1, 0, 0, 1, 0, 0], [1, 1, 0, 1, 1, 0, 1, 1]]
    # One kernel in common of eight.
    assert mean_difference(layers, kept) == pytest.approx(1 - 1 / 8)
    assert mean_difference(layers, [kept_MC[:1] for kept_MC in kept]) == 0.0


def test_a_module_without_a_kernel_gets_the_first() -> None:
    kept = [torch.tensor([[False, False], [False, True]]), torch.tensor([[True, False], [True, True]])]
    mended, emptied = with_first_kernel(kept)
    assert mended[0].tolist() == [[True, False], [False, True]]
    assert emptied == [0]
    assert kept[0].tolist() == [[False, False], [False, True]], "the argument is left alone"


@pytest.mark.parametrize(
    "name", ["simcnn_gradsplitter", "rescnn_gradsplitter", "incecnn_gradsplitter", "rescnn_cnnsplitter", "resnet20"]
)
@pytest.mark.parametrize("seed", range(3))
def test_materialised_modules_equal_masked_ones(name: str, seed: int) -> None:
    """Random masks that leave every layer a kernel, tied layers moving together, offsets of concatenations included."""
    network = samples.sample_network(name, seed=seed).double().eval()
    layers = maskable_layers(network.architecture)
    generator = torch.Generator().manual_seed(seed)
    kept, _ = with_first_kernel([torch.rand(2, layer.kernels, generator=generator) < 0.5 for layer in layers])
    x = samples.random_inputs(network, seed=seed, dtype=torch.float64)
    gates = {name: mask.double() for layer, mask in zip(layers, kept, strict=True) for name in layer.sites}
    masked = run_stacked(network, x, gates)
    masks = site_masks(network.architecture, layers, kept)
    for module in range(2):
        cut = extract(network, [mask[module] for mask in masks])
        torch.testing.assert_close(cut(x), masked[module], rtol=1e-9, atol=1e-9)
