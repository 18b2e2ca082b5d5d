"""Layers that multiply by their non-zero weights only, on a CPU: compressed sparse rows (CSR) times dense activations.

They compute what the layer they are made from computes, up to rounding, and no gradients. Whether they are faster is
for `methods.measure.sparse_execution` to measure.

Activations lie feature-major inside (one row per feature or channel, one column per sample or pixel), as MKL's product
wants them. A linear layer puts out a transposed view, so that the next one, or a ReLU between them, copies nothing.

Shapes: N = samples, C = input channels, O = outputs, H, W = height and width, P = pixels of padded images in a row.
"""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BUFFER_FLOATS = 500_000
"""Of one chunk of padded images and its products, 2 MB: on the machine measured, larger ones leave the second-level
cache and take up to twice as long for 256 samples, smaller ones pay for more calls."""


def csr_is_available() -> bool:
    """Whether PyTorch multiplies sparse rows here: on a CPU it does so through MKL alone."""
    return bool(torch.backends.mkl.is_available())  # type: ignore[no-untyped-call]


def sparse_form(layer: nn.Module) -> nn.Module | None:
    """The layer as one of those below; None where there is none for it.

    That is: linear layers, and convolutions of stride 1 without groups or dilation. With a stride of 2 the images would
    have to be taken apart first, which alone took longer than the dense layer.
    """
    if not csr_is_available():
        return None
    if isinstance(layer, nn.Linear):
        return CsrLinear(layer)
    if isinstance(layer, nn.Conv2d) and _is_plain(layer):
        return CsrConv2d(layer)
    return None


class CsrLinear(nn.Module):
    """A linear layer as CSR."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self._weight_OD = _csr(layer.weight.detach())
        self._bias_O1 = _bias(layer.bias, layer.out_features)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self._bias_O1, self._weight_OD, x.t()).t()


class CsrConv2d(nn.Module):
    """A convolution of stride 1 as one CSR product per position of its window.

    In padded images whose pixels lie in one row, a position of the window is a shift of that row. So no patches are
    copied out, which for few weights would take longer than to multiply them; a position without weights costs
    nothing. Sums that wrap around the border of an image are computed too and dropped.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        assert _is_plain(layer)
        assert isinstance(layer.padding, tuple)
        weight_OCHW = layer.weight.detach()
        self._channels = layer.out_channels
        self._kernel = (int(weight_OCHW.shape[2]), int(weight_OCHW.shape[3]))
        self._padding = layer.padding
        self._bias_O1 = _bias(layer.bias, layer.out_channels)
        self._positions = [
            (row, column, _csr(weight_OCHW[:, :, row, column]))
            for row in range(self._kernel[0])
            for column in range(self._kernel[1])
            if bool(weight_OCHW[:, :, row, column].any())
        ]

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        num_samples, channels, height, width = x.shape
        (pad_rows, pad_columns), (rows, columns) = self._padding, self._kernel
        padded_height, padded_width = height + 2 * pad_rows, width + 2 * pad_columns
        out = x.new_empty(num_samples, self._channels, padded_height - rows + 1, padded_width - columns + 1)
        at_a_time = max(1, _BUFFER_FLOATS // ((channels + self._channels) * padded_height * padded_width))
        for start in range(0, num_samples, at_a_time):
            chunk = x[start : start + at_a_time].transpose(0, 1)
            image_CP = F.pad(chunk, (pad_columns, pad_columns, pad_rows, pad_rows)).reshape(channels, -1)
            sums = self._products(image_CP, padded_width).view(self._channels, -1, padded_height, padded_width)
            valid = sums[:, :, : out.shape[2], : out.shape[3]]
            out[start : start + at_a_time] = valid.transpose(0, 1)
        return out

    def _products(self, image_CP: Tensor, padded_width: int) -> Tensor:
        """For each pixel the sum over the window that starts there; the last pixels, where none fits, are undefined."""
        sums_OP = self._bias_O1.expand(-1, image_CP.shape[1]).contiguous()
        length = image_CP.shape[1] - (self._kernel[0] - 1) * padded_width - (self._kernel[1] - 1)
        target = sums_OP[:, :length]
        for row, column, weight_OC in self._positions:
            start = row * padded_width + column
            torch.addmm(target, weight_OC, image_CP[:, start : start + length], out=target)
        return sums_OP


def _is_plain(layer: nn.Conv2d) -> bool:
    by_numbers = isinstance(layer.padding, tuple) and layer.padding_mode == "zeros"
    return by_numbers and layer.stride == (1, 1) and layer.dilation == (1, 1) and layer.groups == 1


def _csr(weight: Tensor) -> Tensor:
    """A matrix (O, C) of float32 as CSR with 32-bit indices, which MKL takes as they are."""
    with warnings.catch_warnings():
        # PyTorch calls this layout a beta, once per process; the products are checked against dense ones in the tests.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        rows = weight.float().contiguous().to_sparse_csr()
        return torch.sparse_csr_tensor(
            rows.crow_indices().int(),
            rows.col_indices().int(),
            rows.values(),
            size=rows.shape,
            check_invariants=True,
        )


def _bias(bias: Tensor | None, outputs: int) -> Tensor:
    return torch.zeros(outputs, 1) if bias is None else bias.detach().float()[:, None].contiguous()
