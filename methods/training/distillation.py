"""A network taught by the soft answers of another."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def soft_cross_entropy(logits_NK: Tensor, teacher_NK: Tensor, *, weight_N: Tensor | None = None) -> Tensor:
    """Cross-entropy with the softmax of a teacher's logits, at temperature 1, mean over the samples.

    Its gradient is that of the Kullback-Leibler divergence. None flows to the teacher.

    Args:
        logits_NK, teacher_NK: One row per sample.
        weight_N: What each sample counts, 1 on average over the training part; None: all alike.
    """
    target_NK = teacher_NK.detach().softmax(dim=1)
    if weight_N is None:
        return F.cross_entropy(logits_NK, target_NK)
    return (F.cross_entropy(logits_NK, target_NK, reduction="none") * weight_N).mean()
