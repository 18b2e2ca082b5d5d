"""Sparse execution chooses by measured time and computes the same; no test says how fast anything is."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import nn

from methods.measure import is_sparse_enough, sparse_execution, sparse_latency_ms
from methods.measure.latency import Latency
from methods.networks.build import build_network
from methods.networks.graph import Network, Rewired
from methods.networks.sparse import CsrConv2d, CsrLinear, csr_is_available
from methods.surgery import deploy

pytestmark = pytest.mark.skipif(not csr_is_available(), reason="PyTorch multiplies CSR on a CPU through MKL alone")


@torch.no_grad()
def pruned(name: str, shape: tuple[int, ...], *, rate: float, **arguments: Any) -> Network:
    network = deploy(build_network(name, input_shape=shape, num_outputs=10, seed=0, arguments=arguments))
    generator = torch.Generator().manual_seed(1)
    for tensor in network.parameters():
        if tensor.dim() > 1:
            tensor.mul_(torch.rand(tensor.shape, generator=generator) >= rate)
    return network


def set_times(monkeypatch: pytest.MonkeyPatch, **milliseconds: float) -> None:
    """Have the clock say so for layers and networks by the name of their type."""

    def said(layer: nn.Module, shape: tuple[int, ...], batch_size: int, **_: Any) -> Latency:
        with torch.inference_mode():
            layer(torch.zeros(batch_size, *shape))
        return Latency(milliseconds[type(layer).__name__], 5)

    # By its full name, for `methods.measure` holds a function of the module's name.
    monkeypatch.setattr(importlib.import_module("methods.measure.sparse_execution"), "latency_ms", said)


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize(
    ("name", "shape", "arguments"), [("resnet20", (3, 8, 8), {}), ("mlp", (1, 8, 8), {"widths": [64, 64]})]
)
def test_what_was_chosen_by_the_real_clock_gives_the_same_logits(
    name: str, shape: tuple[int, ...], arguments: dict[str, Any], batch_size: int
) -> None:
    network = pruned(name, shape, rate=0.97, **arguments)
    execution = sparse_execution(network, batch_size=batch_size)
    assert execution.layers
    assert all(layer.dense_ms > 0 < layer.sparse_ms and 0.8 <= layer.sparsity <= 1 for layer in execution.layers)
    x = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(execution.network(x), network(x), atol=1e-5, rtol=1e-5)


def test_only_layers_that_were_faster_as_rows_run_so(monkeypatch: pytest.MonkeyPatch) -> None:
    set_times(monkeypatch, Conv2d=2.0, CsrConv2d=3.0, Linear=2.0, CsrLinear=1.0)
    network = pruned("small_cnn", (1, 8, 8), rate=0.95)
    execution = sparse_execution(network, batch_size=4)
    chosen = {layer.name: (layer.dense_ms, layer.sparse_ms, layer.is_sparse) for layer in execution.layers}
    assert chosen["conv2"] == (2.0, 3.0, False)
    assert chosen["hidden"] == (2.0, 1.0, True)
    kinds = [type(module) for module in execution.network.modules()]
    assert kinds.count(CsrLinear) == execution.num_sparse == sum(faster for _, _, faster in chosen.values())
    assert CsrConv2d not in kinds


def test_layers_with_many_weights_left_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    set_times(monkeypatch, Linear=2.0, CsrLinear=1.0)
    network = pruned("mlp", (30,), rate=0.5, widths=[40])
    with torch.no_grad():
        network.nodes["hidden1"].weight[1:] = 0
    execution = sparse_execution(network, batch_size=4)
    assert [layer.name for layer in execution.layers] == ["hidden1"]
    assert execution.layers[0].sparsity == pytest.approx(0.99, abs=0.01)


def test_without_mkl_every_layer_runs_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    network = pruned("mlp", (30,), rate=0.95, widths=[40])
    execution = sparse_execution(network, batch_size=4)
    assert (execution.layers, execution.num_sparse) == ((), 0)
    assert sparse_latency_ms(execution, dense_ms=1e9) is None


@pytest.mark.parametrize(("whole", "expected"), [(1.5, 1.5), (2.0, None)])
def test_a_network_that_is_no_faster_as_a_whole_has_no_sparse_latency(
    whole: float, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_times(monkeypatch, Linear=2.0, CsrLinear=1.0, Rewired=whole)
    execution = sparse_execution(pruned("mlp", (30,), rate=0.95, widths=[40]), batch_size=4)
    assert isinstance(execution.network, Rewired)
    assert sparse_latency_ms(execution, dense_ms=2.0) == expected


def test_a_network_without_a_faster_layer_has_no_sparse_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    set_times(monkeypatch, Linear=1.0, CsrLinear=0.95)  # within what may be noise
    execution = sparse_execution(pruned("mlp", (30,), rate=0.95, widths=[40]), batch_size=4)
    assert len(execution.layers) == 2
    assert sparse_latency_ms(execution, dense_ms=2.0) is None


def test_a_tenth_of_all_weights_is_too_many_to_try() -> None:
    assert is_sparse_enough(pruned("mlp", (30,), rate=0.97, widths=[40, 40]))
    assert not is_sparse_enough(pruned("mlp", (30,), rate=0.85, widths=[40, 40]))
