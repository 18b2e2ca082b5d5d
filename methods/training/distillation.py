"""A network taught by the soft answers of another."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def soft_cross_entropy(logits_NK: Tensor, teacher_NK: Tensor) -> Tensor:
    """Cross-entropy with the softmax of a teacher's logits, at temperature 1, mean over the samples.

    Its gradient is that of the Kullback-Leibler divergence. None flows to the teacher.
    """
    return F.cross_entropy(logits_NK, teacher_NK.detach().softmax(dim=1))
