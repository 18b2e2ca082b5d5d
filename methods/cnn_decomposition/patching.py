"""A weak network whose answer for one class is replaced by that of another network's module.

Source: CNNSplitter (Qi et al., ASE 2022, arXiv 2209.06116) and its public code, qibinhang/CNNSplitter.

Shapes: B = samples, K = classes of the weak network, V = calibration samples.
"""

from __future__ import annotations

import torch
from torch import Tensor


def calibration_range(module_logits_V: Tensor) -> tuple[float, float]:
    """Lowest and highest logit of a module on samples of its class, by which its scores are brought to the scale of
    probabilities.

    Raises:
        ValueError: Fewer than two different logits.
    """
    if module_logits_V.dim() != 1 or len(module_logits_V) == 0 or bool(module_logits_V.min() == module_logits_V.max()):
        raise ValueError(
            f"calibration_range: {tuple(module_logits_V.shape)} logits without two different ones; give the module's "
            "logits on several samples of its class"
        )
    return float(module_logits_V.min()), float(module_logits_V.max())


def patched_scores(
    weak_logits_BK: Tensor, module_logit_B: Tensor, *, target: int, calibration: tuple[float, float]
) -> Tensor:
    """Scores (B, K) of the patched network: the weak one's probabilities, with the module's score for the target class.

    The score is not clipped, so that it may lie below 0 or above 1, and the other probabilities stay as they are. The
    class with the largest score is predicted.

    Args:
        target: Index of the class that is patched, among those of the weak network.
        calibration: Of `calibration_range`.

    Raises:
        ValueError: Not one logit for each sample, or a class that the weak network has not.
    """
    if weak_logits_BK.dim() != 2 or module_logit_B.shape != weak_logits_BK.shape[:1]:
        raise ValueError(
            f"patched_scores: weak logits {tuple(weak_logits_BK.shape)} and module logits "
            f"{tuple(module_logit_B.shape)}; give (samples, classes) and (samples,)"
        )
    if not 0 <= target < weak_logits_BK.shape[1]:
        raise ValueError(f"patched_scores: no class {target}; the weak network has 0 to {weak_logits_BK.shape[1] - 1}")
    low, high = calibration
    scores_BK = torch.softmax(weak_logits_BK, dim=1)
    scores_BK[:, target] = (module_logit_B - low) / (high - low)
    return scores_BK
