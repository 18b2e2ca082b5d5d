"""How a network is trained, as data: the fields every method shares. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from methods.config import MethodConfig, Range


class TrainingConfig(MethodConfig):
    """SGD with momentum and a step schedule: the recipe of the CIFAR residual networks; others on request."""

    optimizer: Literal["sgd", "adam"] = "sgd"
    """Adam wants a `learning_rate` near 0.001."""
    learning_rate: Annotated[float, Field(gt=0), Range(0.01, 0.9, "log")] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD; beta1 of Adam."""
    nesterov: bool = False
    """Nesterov's momentum, of SGD."""
    weight_decay: Annotated[float, Field(ge=0), Range(1e-5, 1e-3, "log")] = 1e-4
    """On every parameter, biases and normalisation included."""
    schedule: Literal["step", "cosine"] = "step"
    """`cosine`: from `learning_rate` towards 0 along half a cosine, each epoch, without `milestones` and `decay`."""
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.5, 0.75)
    """Where the rate drops, as shares of a schedule, in ascending order."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.1
    """What the rate is multiplied by at each milestone."""

    @field_validator("milestones")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError(f"milestones {list(value)} must ascend, each a share of the schedule between 0 and 1")
        return value

    @model_validator(mode="after")
    def _one_recipe(self) -> TrainingConfig:
        if self.nesterov and self.optimizer != "sgd":
            raise ValueError("nesterov belongs to SGD; set it to false, or the optimizer to sgd")
        defaults = type(self).model_fields
        given = [name for name in ("milestones", "decay") if getattr(self, name) != defaults[name].default]
        if self.schedule == "cosine" and given:
            raise ValueError(f"schedule cosine has no {' and '.join(given)}; leave that out, or set schedule to step")
        return self


class DenseConfig(TrainingConfig):
    """A recipe for one training of one network."""

    epochs: Annotated[int, Field(ge=0)] = 0
    """Passes over the training samples; 0: all that the task gives. For a network that others start from in a study
    whose schedules are longer than its own should be."""


class PruningConfig(TrainingConfig):
    """A recipe for a network that ends with a given share of its weights removed."""

    pruning_rate: Annotated[float, Field(ge=0, lt=1), Range(0.8, 0.99)] = 0.9
    """Share of the conv and linear weights to remove."""
