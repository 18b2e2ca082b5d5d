"""The study's trained network as what other widths start from."""

from __future__ import annotations

import copy

import torch

from methods.contract import Given, Task
from methods.networks.folding import fold_batch_norm
from methods.networks.graph import Network
from methods.training.loop import evaluate

TEACHER = "dense"
_BETTER_THAN_CHANCE = 1.1
"""As a factor: a network below it has learned nothing worth generating."""


def teacher_network(given: Given, task: Task, *, method: str) -> Network:
    """A copy of the trained network in evaluation mode, with batch normalisation folded in.

    Raises:
        ValueError: There is none, or on validation it is hardly better than always naming the most frequent class.
    """
    if TEACHER not in given:
        raise ValueError(
            f"{method}: no trained network was given; pass the one that `{TEACHER}` delivers for this task and seed"
        )
    network = fold_batch_norm(copy.deepcopy(given[TEACHER]).to(task.device)).eval()
    found = evaluate(network, task.validation, task)
    if task.info.kind == "regression":
        useless, nothing = found <= 0, "always giving the mean has R2 0"
        quality = f"has R2 {found:.3f} on the validation samples"
    else:
        labels = task.validation.targets
        chance = int(torch.bincount(labels).max()) / len(labels)
        useless = found < 1 and found <= _BETTER_THAN_CHANCE * chance
        nothing = f"naming the most frequent class is on {chance:.1%}"
        quality = f"is right on {found:.1%} of the validation samples"
    if useless:
        raise ValueError(
            f"{method}: the trained network it starts from {quality}, and {nothing}: it has learned nothing to go on "
            "from; train it longer or at another learning rate (`source`, and the same fields of `dense`)"
        )
    return network
