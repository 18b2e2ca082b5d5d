"""Layers as compressed sparse rows compute what the dense layers do, wherever such a form exists."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from methods.networks import sparse
from methods.networks.graph import Rewired
from methods.networks.sparse import CsrConv2d, CsrLinear, csr_is_available, sparse_form
from tests.methods.networks.samples import random_inputs, sample_network

pytestmark = pytest.mark.skipif(not csr_is_available(), reason="PyTorch multiplies CSR on a CPU through MKL alone")


@torch.no_grad()
def pruned(layer: nn.Module, *, density: float, seed: int) -> nn.Module:
    """The layer with random weights and biases, of which a share is not zero."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in layer.parameters():
        tensor.normal_(generator=generator)
        if tensor.dim() > 1:
            tensor.mul_(torch.rand(tensor.shape, generator=generator) < density)
    return layer


def assert_same(layer: nn.Module, x: torch.Tensor) -> None:
    form = sparse_form(layer)
    assert form is not None
    with torch.inference_mode():
        torch.testing.assert_close(form(x), layer(x), atol=1e-5, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    image=st.tuples(st.integers(4, 7), st.integers(4, 7)),
    samples=st.integers(1, 5),
    density=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    bias=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_convolutions_of_any_window_and_padding_agree(
    sizes: tuple[int, int],
    kernel: tuple[int, int],
    padding: tuple[int, int],
    image: tuple[int, int],
    samples: int,
    density: float,
    bias: bool,
    seed: int,
) -> None:
    layer = pruned(nn.Conv2d(*sizes, kernel, padding=padding, bias=bias), density=density, seed=seed)
    assert_same(layer, torch.randn(samples, sizes[0], *image, generator=torch.Generator().manual_seed(seed)))


def test_samples_that_need_several_chunks_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "_BUFFER_FLOATS", 2 * (3 + 4) * 10 * 10)  # two images of seven at a time
    layer = pruned(nn.Conv2d(3, 4, 3, padding=1), density=0.2, seed=0)
    assert_same(layer, torch.randn(7, 3, 8, 8, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("samples", [1, 6])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_agree_on_inputs_of_any_layout(samples: int, density: float, bias: bool) -> None:
    layer = pruned(nn.Linear(7, 5, bias=bias), density=density, seed=3)
    x = torch.randn(samples, 7, generator=torch.Generator().manual_seed(4))
    assert_same(layer, x)
    assert_same(layer, x.t().contiguous().t())
    assert_same(layer, x.repeat(1, 2)[:, ::2])


def test_images_channels_last_agree() -> None:
    layer = pruned(nn.Conv2d(3, 4, 3, padding=1), density=0.2, seed=0)
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    assert_same(layer, x.contiguous(memory_format=torch.channels_last))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 2, 3, stride=2),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(2, 2, 3, dilation=2),
        nn.Conv2d(2, 2, 3, padding="same"),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"),
        nn.BatchNorm1d(3),
    ],
    ids=lambda layer: repr(layer),
)
def test_layers_without_a_sparse_form_are_left_to_others(layer: nn.Module) -> None:
    assert sparse_form(layer) is None


def test_without_mkl_there_is_no_sparse_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert sparse_form(nn.Linear(3, 2)) is None


@pytest.mark.parametrize("name", ["resnet20", "small_cnn", "mlp", "inception", "mobile", "preactivated", "chance3"])
def test_a_network_with_every_possible_layer_as_csr_gives_the_same_logits(name: str) -> None:
    network = sample_network(name)
    forms = {key: form for key, layer in network.nodes.items() if (form := sparse_form(layer)) is not None}
    assert any(isinstance(form, CsrLinear) for form in forms.values())
    rewired = Rewired(network, forms)
    assert sum(isinstance(module, CsrConv2d | CsrLinear) for module in rewired.modules()) == len(forms)
    x = random_inputs(network, seed=0, samples=5)
    with torch.inference_mode():
        torch.testing.assert_close(rewired(x), network(x), atol=1e-5, rtol=1e-5)
    assert all(not isinstance(module, CsrConv2d | CsrLinear) for module in network.modules())


def test_rewiring_a_layer_that_is_not_there_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="no layer 'fc9'; it has: "):
        Rewired(sample_network("mlp"), {"fc9": nn.Identity()})
