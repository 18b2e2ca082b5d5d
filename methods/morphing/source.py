"""What the training of weights that morph asks of whatever makes them: generators, or slices of full tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class WeightSource(nn.Module, ABC):
    """What morphing weights are made from: its parameters are what is trained."""

    @abstractmethod
    def grow(self, parts: int) -> None:
        """Serve the first `parts` parts from now on; what served earlier ones stays as it is."""

    @abstractmethod
    def tensors(self, widths: Sequence[float], *, generator: torch.Generator, draws: int = 1) -> list[list[Tensor]]:
        """For each width the tensors of the parts served, in the order of `methods.morphing.tensors.tensor_shapes`.

        Args:
            generator: Of whatever is random, on the device of the parameters.
            draws: Of which the mean is taken, where something is random.
        """
