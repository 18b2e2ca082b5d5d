"""Gates in place of batch normalisation: learned factors on what residual blocks add.

Source: De and Smith, "Batch Normalization Biases Residual Blocks Towards the Identity Function in Deep Networks",
NeurIPS 2020 (SkipInit), as Sommariva et al. (2025, arXiv 2505.05510) use it: one factor per block, for all widths.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.morphing.parts import Part


class Gates(nn.Module):
    """One factor for each part that can have one; for others it is 1."""

    gated: Tensor

    def __init__(self, parts: Sequence[Part], *, start: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((len(parts),), float(start)))
        # Only what is added to an unchanged input can be closed: any other block computes what its successor reads.
        self.register_buffer("gated", torch.tensor([part.total is not None for part in parts]), persistent=False)

    def values(self) -> Tensor:
        return torch.where(self.gated, self.factor, torch.ones_like(self.factor))
