"""Class modules of several trained networks put to use together: for a better model of one task, or for a new task.

Source: GradSplitter (Qi et al., TOSEM 2023, arXiv 2311.04438) and its public code: for each class the module with the
best one-vs-rest F1 is taken, scores are put side by side without any further normalisation, and the largest wins.

Shapes: B = samples, N = samples of a split, M = modules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from methods.contract import Normalization, Split
from methods.measure.predict import predict
from methods.modules.library import ModuleLibrary
from methods.modules.picks import ModulePick, module_reading
from methods.modules.side_by_side import as_network
from methods.networks.graph import Network
from methods.networks.joining import joined


def compose_across(picks: Sequence[ModulePick]) -> Network:
    """The network that puts modules of different libraries side by side: score j is that of pick j.

    Inputs are normalised as for the first pick. Branches whose networks saw inputs normalised otherwise begin with a
    batch normalisation that converts them; folded into the convolution behind it, it would be wrong where zeros pad.
    Each pick is a branch of its own, also where several are of one library. Weights are copies, on the CPU.

    Raises:
        ValueError: No picks; networks that read inputs of different shapes; a class that its library has not; a library
            whose modules give no score of their own; or scores of different scales: only heads make those of different
            networks comparable.
    """
    if not picks:
        raise ValueError("compose_across: no modules; pick at least one")
    shape = picks[0].library.network.architecture.input_shape
    for pick in picks:
        other = pick.library.network.architecture.input_shape
        if other != shape:
            raise ValueError(
                f"compose_across: the module of '{picks[0].class_name}' reads inputs of shape {shape}, that of "
                f"'{pick.class_name}' {other}; train both on one shape, e.g. with `image_shape` of the task's data"
            )
        if pick.library.composition != "side_by_side":
            raise ValueError(
                f"compose_across: the module of '{pick.class_name}' was made to be united with others of its own "
                "network, so its logit says nothing beside other networks' scores; use modules of gradsplitter"
            )
    _require_one_scale(picks)
    first = picks[0].normalization
    return joined([module_reading(pick, first) for pick in picks]).eval()


def _require_one_scale(picks: Sequence[ModulePick]) -> None:
    headless = [pick for pick in picks if pick.library.heads is None]
    networks = {id(pick.library.network) for pick in picks}
    if headless and len(networks) > 1:
        raise ValueError(
            f"compose_across: the module of '{headless[0].class_name}' has no head, so its score is a logit of its own "
            "network's scale and cannot be compared with those of another network; use modules of gradsplitter"
        )


def module_f1(
    library: ModuleLibrary, split: Split, *, labels: Sequence[int], normalization: Normalization, device: str
) -> list[float]:
    """One-vs-rest F1 of each module of a library, by the module's own decision; not a number where it has no sample.

    A module with a head decides by its score: above 0.5 after the sigmoid. One without has no scale of its own, so it
    decides as it would in the composition of its library: where its score is the largest.

    Args:
        split: Samples, whose targets may number other classes than the library does.
        labels: For each class of the library the target that stands for it.
        normalization: Of the library's inputs.
        device: Where the library's network lies.

    Raises:
        ValueError: Not one label for each class.
    """
    if len(labels) != len(library.class_names) or len(set(labels)) != len(labels):
        raise ValueError(
            f"module_f1: labels {list(labels)} for {len(library.class_names)} classes; give one of its own for each"
        )
    network = as_network(library.compose(library.class_names)).to(device)
    scores_NM = predict(network, split, normalization=normalization, device=device).cpu()
    if library.heads is not None:
        decided_NM = scores_NM > 0
    else:
        decided_NM = torch.zeros_like(scores_NM, dtype=torch.bool).scatter_(1, scores_NM.argmax(1, keepdim=True), True)
    targets = split.targets.cpu()
    return [_f1(decided_NM[:, module], targets == label) for module, label in enumerate(labels)]


def best_modules(f1_by_library: Sequence[Sequence[float]]) -> list[int]:
    """For each class the library whose module has the best F1, of equal ones the first.

    Args:
        f1_by_library: Of each library its modules' F1, in one common order of the classes; not a number where a library
            has no such module or could not be judged.

    Raises:
        ValueError: No libraries, unequal numbers of classes, or a class on which no library can be judged.
    """
    if not f1_by_library or len({len(values) for values in f1_by_library}) != 1:
        raise ValueError(
            f"best_modules: {[len(values) for values in f1_by_library]} classes; give each library's F1 in one order"
        )
    chosen = []
    for place, values in enumerate(zip(*f1_by_library, strict=True)):
        known = [index for index, value in enumerate(values) if not math.isnan(value)]
        if not known:
            raise ValueError(f"best_modules: no library has an F1 for class {place}; give samples of it")
        chosen.append(max(known, key=lambda index: (values[index], -index)))
    return chosen


def _f1(decided_N: Tensor, true_N: Tensor) -> float:
    if not bool(true_N.any()):
        return math.nan
    return 2 * int((decided_N & true_N).sum()) / (int(decided_N.sum()) + int(true_N.sum()))
