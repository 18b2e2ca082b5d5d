"""Heads of class modules: from the logits of a masked network to one score, "how much does x look like my class?".

Source: GradSplitter (Qi et al., "Reusing Convolutional Neural Network Models through Modularization and Composition",
TOSEM 2023, arXiv 2311.04438), `src/splitters` of qibinhang/GradSplitter.

Shapes: M = modules, B = samples, K = logits of the network, H = hidden units of a head.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 10
"""Width of a head's hidden layer, fixed in the paper's code."""


class ModuleHead(nn.Module):
    """The head of one module: sigmoid(W2 relu(W1 relu(z) + b1) + b2). Note the ReLU on the logits first.

    Initial weights are PyTorch's own for linear layers, from its global generator; `ModuleHeads` draws seeded ones.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(num_classes, HIDDEN)
        self.score = nn.Linear(HIDDEN, 1)

    def before_sigmoid(self, logits_BK: Tensor) -> Tensor:
        """Scores (B,) on the scale of logits, which order samples as the scores do and never saturate."""
        scores_B1: Tensor = self.score(F.relu(self.hidden(F.relu(logits_BK))))
        return scores_B1.squeeze(-1)

    def forward(self, logits_BK: Tensor) -> Tensor:
        """Scores (B,) in (0, 1)."""
        return self.before_sigmoid(logits_BK).sigmoid()


class ModuleHeads(nn.Module):
    """The heads of several modules as one stack.

    All weights are zero until `initialise` or `load_state_dict`.

    Args:
        num_modules: M.
        num_classes: K.
    """

    def __init__(self, num_modules: int, num_classes: int) -> None:
        super().__init__()
        self.hidden_weight = nn.Parameter(torch.zeros(num_modules, HIDDEN, num_classes))
        self.hidden_bias = nn.Parameter(torch.zeros(num_modules, HIDDEN))
        self.score_weight = nn.Parameter(torch.zeros(num_modules, HIDDEN))
        self.score_bias = nn.Parameter(torch.zeros(num_modules))

    def __len__(self) -> int:
        return len(self.score_bias)

    @property
    def num_classes(self) -> int:
        """K, of the network below."""
        return self.hidden_weight.shape[2]

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw weights and biases uniformly within 1 / sqrt(fan-in), as PyTorch does for linear layers.

        Args:
            generator: On the CPU; heads on any device get the same values.
        """
        bounds = {"hidden": 1 / math.sqrt(self.num_classes), "score": 1 / math.sqrt(HIDDEN)}
        for name, parameter in self.named_parameters():
            bound = bounds[name.split("_")[0]]
            parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))

    def forward(self, logits_MBK: Tensor) -> Tensor:
        """Scores (B, M) before the sigmoid: column m is what head m makes of the logits of module m."""
        hidden_MBH = torch.baddbmm(self.hidden_bias[:, None], F.relu(logits_MBK), self.hidden_weight.transpose(1, 2))
        scores_MB1 = torch.baddbmm(self.score_bias[:, None, None], F.relu(hidden_MBH), self.score_weight[:, :, None])
        return scores_MB1.squeeze(2).T

    def picked(self, modules: list[int]) -> ModuleHeads:
        """The heads of some modules, in this order; weights are copies."""
        chosen = ModuleHeads(len(modules), self.num_classes).to(self.score_bias)
        chosen.load_state_dict({name: value[modules] for name, value in self.state_dict().items()})
        return chosen

    def head(self, module: int) -> ModuleHead:
        """One of them by itself; weights are copies."""
        alone = ModuleHead(self.num_classes).to(self.score_bias)
        alone.hidden.load_state_dict({"weight": self.hidden_weight[module], "bias": self.hidden_bias[module]})
        alone.score.load_state_dict({"weight": self.score_weight[module][None], "bias": self.score_bias[module][None]})
        return alone
