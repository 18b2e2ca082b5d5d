"""Sparse execution where it pays: each layer of a deployed network runs dense or as CSR, whichever was faster here.

A zero saves time only where the kernel skips it, and skipping costs time of its own. At which sparsity it pays depends
on the layer, the batch and the machine, so nothing is assumed: every candidate is timed in both forms.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from methods.measure.latency import latency_ms
from methods.measure.sizes import count_nonzeros, count_parameters
from methods.networks.graph import Network, Rewired
from methods.networks.sparse import sparse_form

_LEAST_SPARSITY = 0.8
"""Below it a layer is not timed as CSR: on the machine measured, CSR began to pay between 0.9 and 0.98."""
_LAYER_SECONDS = 0.02
"""To time one form of one layer, seven calls at least."""
_CLEARLY_FASTER = 0.9
"""Share of the dense time that CSR may take at most: below that lies noise, and rows cost the next layer its layout."""
_WORTH_MEASURING = 0.1
"""Share of weights that are not zero below which the ruler tries sparse execution."""


@dataclass(frozen=True)
class LayerTiming:
    """One layer in both forms, by itself, on random inputs of the batch."""

    name: str
    sparsity: float
    """Share of its weights that are zero, biases left out."""
    dense_ms: float
    sparse_ms: float

    @property
    def is_sparse(self) -> bool:
        """Whether the layer runs as CSR: it took a tenth less time at least."""
        return self.sparse_ms < _CLEARLY_FASTER * self.dense_ms


@dataclass(frozen=True)
class SparseExecution:
    """A network to run on a CPU, and what was measured to choose how."""

    network: nn.Module
    """Gives the logits of the original to about 1e-5, and no gradients."""
    layers: tuple[LayerTiming, ...]
    """Those that were timed, in the order of the network; all others run dense."""
    input_shape: tuple[int, ...]
    """Of one sample."""
    batch_size: int
    """Samples per call, for which the choice was made."""

    @property
    def num_sparse(self) -> int:
        return sum(layer.is_sparse for layer in self.layers)


def sparse_execution(network: Network, *, batch_size: int) -> SparseExecution:
    """Choose for each layer of a deployed network, by time, whether it runs dense or as CSR on this CPU.

    Linear layers and convolutions of stride 1 without groups are candidates, if at least 80 % of their weights are
    zero. Blocks for about 0.05 s per candidate, longer for large layers. Times are medians on this machine, as busy
    as it is: two calls may choose differently.

    Args:
        network: On the CPU, in float32; left alone. Dense layers are shared with the result.
        batch_size: Samples per call that the choice is made for.

    Returns:
        Without MKL, which PyTorch needs to multiply CSR, a network that runs all layers dense.
    """
    shapes = network.architecture.shapes
    timings, faster = [], {}
    for node in network.architecture.nodes[1:]:
        if node.op not in ("conv2d", "linear"):
            continue
        dense = network.nodes[node.name]
        sparsity = _sparsity(dense)
        sparse = sparse_form(dense) if sparsity >= _LEAST_SPARSITY else None
        if sparse is None:
            continue
        dense_ms, sparse_ms = (
            latency_ms(form, shapes[node.inputs[0]], batch_size, budget_seconds=_LAYER_SECONDS).median_ms
            for form in (dense, sparse)
        )
        timing = LayerTiming(node.name, sparsity, dense_ms=dense_ms, sparse_ms=sparse_ms)
        timings.append(timing)
        if timing.is_sparse:
            faster[node.name] = sparse
    return SparseExecution(Rewired(network, faster), tuple(timings), network.architecture.input_shape, batch_size)


def sparse_latency_ms(execution: SparseExecution, *, dense_ms: float) -> float | None:
    """Median milliseconds of a forward pass of the whole batch; None where that is not below `dense_ms`.

    Args:
        execution: Its layers were timed one by one; this times the network.
        dense_ms: The same for the network that it was made from.
    """
    if execution.num_sparse == 0:
        return None
    measured = latency_ms(execution.network, execution.input_shape, execution.batch_size).median_ms
    return measured if measured < dense_ms else None


def is_sparse_enough(network: Network) -> bool:
    """Whether so few weights are left that sparse execution is worth a try."""
    return count_nonzeros(network) < _WORTH_MEASURING * count_parameters(network)


def _sparsity(layer: nn.Module) -> float:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return 1 - int(weight.count_nonzero()) / weight.numel()
