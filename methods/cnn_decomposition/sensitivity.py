"""Which layers a network cannot do without: accuracy when one layer keeps few kernels and all others keep theirs.

Source: CNNSplitter, see `genetic.py`; the public code measures the table and leaves its reading to the user. The rule
that reads it is ours.

Shapes: L = layers, N = classes, C = kernels of a layer, V = samples, Q = ratios.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.cnn_decomposition.candidates import CandidateRunner
from methods.cnn_decomposition.fitness import composition_accuracy
from methods.cnn_decomposition.layers import MaskedLayer, with_first_kernel

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def layer_sensitivity(
    runner: CandidateRunner, labels_V: Tensor, layers: Sequence[MaskedLayer], importance: Sequence[Tensor]
) -> Tensor:
    """Accuracy of all modules composed, when each keeps its most important kernels of one layer, float64 (L, Q).

    Of the layer int(ratio * kernels) are kept, kernel 0 where that is none; of all other layers everything. Tied layers
    move together.

    Args:
        runner: On the samples of `labels_V`.
        labels_V: int64, on the CPU.
        layers: Of the network.
        importance: Of each layer, (N, C).
    """
    num_classes = len(importance[0])
    classes = torch.arange(num_classes)
    table = torch.zeros(len(layers), len(RATIOS), dtype=torch.float64)
    whole = [torch.ones(num_classes, layer.kernels, dtype=torch.bool) for layer in layers]
    full = composition_accuracy(runner.class_logits(whole, classes).T, labels_V)
    for index, layer in enumerate(layers):
        ranked_NC = importance[index].argsort(dim=1, descending=True, stable=True)
        for column, ratio in enumerate(RATIOS):
            if ratio == 1:
                table[index, column] = full
                continue
            top = torch.zeros_like(whole[index]).scatter_(1, ranked_NC[:, : int(ratio * layer.kernels)], value=True)
            kept, _ = with_first_kernel([*whole[:index], top, *whole[index + 1 :]])
            table[index, column] = composition_accuracy(runner.class_logits(kept, classes).T, labels_V)
    return table


def sensitive_layers(table_LQ: Tensor) -> tuple[int, ...]:
    """The layers whose loss of accuracy, meaned over the ratios, is above the mean of all layers.

    Where all lose alike, none is. Ours: the paper's layers were chosen by hand (7 of SimCNN's 13, 4 of ResCNN's 9).

    Args:
        table_LQ: Of `layer_sensitivity`; the last column keeps everything.
    """
    loss_L = (table_LQ[:, -1:] - table_LQ).mean(dim=1)
    return tuple((loss_L > loss_L.mean()).nonzero().flatten().tolist())
