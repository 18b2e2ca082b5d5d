"""Configuration of GradSplitter: the defaults of the paper's code and our search ranges. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from methods.cnn_decomposition.source_config import DecompositionConfig
from methods.config import Range


class GradSplitterConfig(DecompositionConfig):
    """How masks and heads are learned, and which epoch is delivered."""

    size_weight: Annotated[float, Field(ge=0), Range(0.01, 1.0, "log")] = 0.1
    """alpha: weight of the share of kernels retained, against cross-entropy, while masks are trained."""
    learning_rate: Annotated[float, Field(gt=0), Range(0.0003, 0.03, "log")] = 0.001
    """Of Adam, for masks and heads together. A mask moves by about this much per step and starts at 1, so few steps
    need a larger rate before anything is removed."""
    head_learning_rate: Annotated[float, Field(gt=0), Range(0.001, 0.1, "log")] = 0.01
    """Of Adam, for the first epochs of heads alone; the later ones have a tenth of it."""
    head_epochs: Annotated[int, Field(ge=0)] = 5
    """Epochs of heads alone before the first cycle."""
    cycles: Annotated[int, Field(ge=0), Range(1, 20, only_named=True)] = 0
    """Cycles of five epochs of masks and heads and two of heads alone. 0: as many as the task's epochs leave room for,
    at most 20, the paper's number."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Of the training of masks and heads; the task's is that of the trained network."""
    tolerance: Annotated[float, Field(gt=0, lt=1), Range(0.001, 0.05)] = 0.01
    """Less than this much validation accuracy may be lost against the trained network, when an epoch is chosen."""
    objective: Literal["sigmoid_cross_entropy", "logit_cross_entropy"] = "sigmoid_cross_entropy"
    """Of what the softmax is taken: of scores in (0, 1), as published, or of scores before the sigmoid, our variant."""
