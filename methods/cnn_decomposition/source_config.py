"""Which trained network is decomposed, as data. Imports no torch."""

from __future__ import annotations

from methods.config import MethodConfig
from methods.training.config import TrainingConfig


class DecompositionConfig(MethodConfig):
    """What both ways of decomposing a CNN have in common."""

    source: TrainingConfig = TrainingConfig()
    """How the network that is decomposed is trained, as for `dense`: where a study sets fields of `dense`, the same
    ones here make both share one run."""
