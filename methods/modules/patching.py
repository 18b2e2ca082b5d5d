"""Mending a weak network: its answer for one class is replaced by that of another network's module.

The patched network is an ordinary one: the weak network and the module side by side, and behind them one linear layer
that puts the module's score in the place of the weak network's. Nothing of the weak network is changed, so the patch
can be taken off again, bit for bit. Three ways to make the two comparable:

- `calibrated`: the weak network's probabilities, and the module's score scaled so that the extremes seen on samples of
  its class are 0 and 1. CNNSplitter (Qi et al., ASE 2022, arXiv 2209.06116; public code qibinhang/CNNSplitter), where
  the score is a logit; GradSplitter (Qi et al., TOSEM 2023) is said to do likewise with the module's sigmoid score.
- `score`: the probabilities and the module's sigmoid score as it is, for modules that have a head.
- `trained_head`: a linear layer over logits, trained on the weak network's samples, as MODA does (Ngo et al., ICSE
  2026); see `methods.modules.patch_head`.

Shapes: B = samples, K = classes of the weak network, V = calibration samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.networks.architecture import Architecture, Node
from methods.networks.graph import Network
from methods.networks.joining import joined
from methods.networks.restore import restore

Way = Literal["calibrated", "score", "trained_head"]
WAYS: tuple[Way, ...] = ("calibrated", "score", "trained_head")

_WEAK, _MODULE, _LAYER = "weak_", "patch_", "patched"


def calibration_range(scores_V: Tensor) -> tuple[float, float]:
    """Lowest and highest score of a module on samples of its class, by which its scores are brought to the scale of
    probabilities.

    Raises:
        ValueError: Fewer than two different scores.
    """
    if scores_V.dim() != 1 or len(scores_V) == 0 or bool(scores_V.min() == scores_V.max()):
        raise ValueError(
            f"calibration_range: {tuple(scores_V.shape)} scores without two different ones; give the module's scores "
            "on several samples of its class"
        )
    return float(scores_V.min()), float(scores_V.max())


def patched_scores(
    weak_logits_BK: Tensor, module_score_B: Tensor, *, target: int, calibration: tuple[float, float]
) -> Tensor:
    """Scores (B, K) of the patched network: the weak one's probabilities, with the module's score for the target class.

    The score is not clipped, so that it may lie below 0 or above 1, and the other probabilities stay as they are. The
    class with the largest score is predicted.

    Args:
        target: Index of the class that is patched, among those of the weak network.
        calibration: Of `calibration_range`.

    Raises:
        ValueError: Not one score for each sample, or a class that the weak network has not.
    """
    if weak_logits_BK.dim() != 2 or module_score_B.shape != weak_logits_BK.shape[:1]:
        raise ValueError(
            f"patched_scores: weak logits {tuple(weak_logits_BK.shape)} and module scores "
            f"{tuple(module_score_B.shape)}; give (samples, classes) and (samples,)"
        )
    _require_class(target, weak_logits_BK.shape[1])
    low, high = calibration
    scores_BK = torch.softmax(weak_logits_BK, dim=1)
    scores_BK[:, target] = (module_score_B - low) / (high - low)
    return scores_BK


@dataclass(frozen=True)
class PatchLayer:
    """What stands behind the weak network and the module."""

    weight: Tensor
    """(K, K + 1): columns 0 to K - 1 read the weak network, the last the module."""
    bias: Tensor
    """(K,)."""
    probabilities: bool
    """Whether it reads the weak network's probabilities, else its logits."""
    squashed: bool
    """Whether it reads the sigmoid of the module's score."""

    def scores(self, weak_logits_BK: Tensor, module_score_B: Tensor) -> Tensor:
        """(B, K): what the patched network answers where its two parts say this."""
        weak = torch.softmax(weak_logits_BK, dim=1) if self.probabilities else weak_logits_BK
        module = module_score_B.sigmoid() if self.squashed else module_score_B
        return F.linear(torch.cat([weak, module[:, None]], dim=1), self.weight, self.bias)

    def as_stored(self) -> PatchLayer:
        """With the values that an artefact keeps of it (see `methods.artefact.encode`)."""
        return replace(self, weight=_as_stored(self.weight), bias=_as_stored(self.bias))


def replacing_layer(
    num_classes: int, *, target: int, calibration: tuple[float, float] = (0.0, 1.0), squashed: bool
) -> PatchLayer:
    """The layer of the ways `calibrated` and, with the calibration left out, `score`: it trains nothing.

    It is made to be stored in float16 [design], where scores of a narrow range need a large weight and a bias that
    nearly cancel. The weight is rounded first, which moves the range by a two-thousandth at most; what is then too fine
    for the bias lies on the weak network's probabilities, which add up to 1.

    Args:
        num_classes: K.
        target: Index of the class whose probability the module's score replaces.
        squashed: Whether the module has a head, whose score is between 0 and 1 behind a sigmoid.

    Raises:
        ValueError: A class that the weak network has not.
    """
    _require_class(target, num_classes)
    low, high = calibration
    scale = _in_half(1 / (high - low))
    shift = _in_half(-low * scale)
    weight = torch.cat([torch.eye(num_classes), torch.zeros(num_classes, 1)], dim=1)
    weight[target, :num_classes], weight[target, num_classes] = -low * scale - shift, scale
    bias = torch.zeros(num_classes)
    bias[target] = shift
    return PatchLayer(weight, bias, probabilities=True, squashed=squashed)


def patched(weak: Network, module: Network, layer: PatchLayer) -> Network:
    """The network that answers with the weak one's classes, one of them by the module.

    Args:
        weak, module: In evaluation mode on the CPU, reading the same inputs; the module has one output. Their weights
            are shared, not copied.

    Raises:
        ValueError: The module has several outputs, the two read inputs of different shapes, or the layer is for another
            number of classes.
    """
    num_classes = weak.architecture.num_outputs
    if module.architecture.num_outputs != 1:
        raise ValueError(
            f"patched: a module of {module.architecture.num_outputs} outputs; give the module of a single class"
        )
    if layer.weight.shape != (num_classes, num_classes + 1):
        raise ValueError(
            f"patched: a layer of shape {tuple(layer.weight.shape)} for a weak network of {num_classes} classes; give "
            f"{(num_classes, num_classes + 1)}"
        )
    both = joined([weak, module], prefixes=(_WEAK, _MODULE))
    *nodes, end = both.architecture.nodes
    ends = []
    for name, op, wanted in zip(end.inputs, ("softmax", "sigmoid"), (layer.probabilities, layer.squashed), strict=True):
        if wanted:
            nodes.append(Node(f"{_LAYER}_{op}", op, (name,)))
        ends.append(nodes[-1].name if wanted else name)
    nodes += [
        Node(f"{_LAYER}_inputs", "concat", tuple(ends)),
        Node(_LAYER, "linear", (f"{_LAYER}_inputs",), {"in_features": num_classes + 1, "out_features": num_classes}),
    ]
    tensors = both.state_dict() | {f"nodes.{_LAYER}.weight": layer.weight, f"nodes.{_LAYER}.bias": layer.bias}
    return restore(Architecture(tuple(nodes), both.architecture.input_shape), tensors, like=both)


def unpatched(network: Network) -> Network:
    """The weak network again, as it was before it was patched; its weights are shared, not copied.

    Raises:
        ValueError: The network is not one of `patched`.
    """
    source, *nodes = network.architecture.nodes
    if not nodes or nodes[-1].name != _LAYER or not any(node.name.startswith(_WEAK) for node in nodes):
        raise ValueError("unpatched: this network was not patched, so there is nothing to take off")
    own = [node for node in nodes if node.name.startswith(_WEAK)]
    names = {source.name: source.name} | {node.name: node.name.removeprefix(_WEAK) for node in own}
    restored = [
        Node(names[node.name], node.op, tuple(names[name] for name in node.inputs), node.settings) for node in own
    ]
    tensors = {
        f"nodes.{names[name]}.{rest}": value
        for key, value in network.state_dict().items()
        for name, _, rest in [key.removeprefix("nodes.").partition(".")]
        if name in names
    }
    return restore(Architecture((source, *restored), network.architecture.input_shape), tensors, like=network).eval()


def _in_half(value: float) -> float:
    return float(_as_stored(torch.tensor(value)))


def _as_stored(tensor: Tensor) -> Tensor:
    half = tensor.half()
    return half.float() if bool(half.isfinite().all()) else tensor


def _require_class(target: int, num_classes: int) -> None:
    if not 0 <= target < num_classes:
        raise ValueError(f"patching: no class {target}; the weak network has 0 to {num_classes - 1}")
