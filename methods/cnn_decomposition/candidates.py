"""Candidate modules on samples: of each the logit of its own class, many candidates at once.

Two ways give the same logits up to rounding. Small networks run stacked, many candidates and images in one pass, as to
cut a network costs more than to run it. Large ones are cut first, because a cut network does half the work.

Shapes: R = candidates, V = samples, C = kernels of a layer, K = logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.cnn_decomposition.layers import MaskedLayer, site_masks
from methods.contract import Split, Task
from methods.measure.compute import count_macs
from methods.measure.predict import exact_evaluation, ready
from methods.networks.graph import Network
from methods.networks.last_layer import precise_logits
from methods.networks.stacked import run_stacked
from methods.surgery import extract
from methods.training.precision import task_precision

_CUT_ABOVE_MACS = 2e9
"""Multiply-accumulates of one candidate on all samples beyond which it is cut out of the network before it runs: what
the cut saves is then more than the 10 ms that it takes."""
_STACKED_ROWS = 4096
"""Images times candidates that run in one stacked pass."""
_BATCH_SIZE = 256
_LARGEST = 6e4
"""Logits beyond this are cut down to it: float16 ends at 65504."""


class CandidateRunner:
    """Runs candidate modules of one network on one set of samples, which it keeps ready on the device.

    They run in bfloat16 where the task trains in it, but for the last layer.

    Args:
        network: In evaluation mode, on the task's device; batch normalisation should be folded.
        layers: Of the network.
        split: Samples of the task, at least one.
    """

    def __init__(self, network: Network, layers: Sequence[MaskedLayer], split: Split, task: Task) -> None:
        self._network = network
        self._layers = tuple(layers)
        self._device = task.device
        self._precision = task_precision(task)
        self._inputs = ready(split.inputs, normalization=task.normalization, device=task.device)
        macs = count_macs(network, network.architecture.input_shape) * len(split)
        self._cut_first = macs > _CUT_ABOVE_MACS

    def class_logits(self, kept: Sequence[Tensor], class_R: Tensor) -> Tensor:
        """The logit of its own class that each candidate gives each sample, float16 (R, V) on the CPU.

        Memory: two bytes for each candidate and sample, 20 MB for ten classes of 100 candidates on 10,000 samples.

        Args:
            kept: Kernels of each candidate, bool (R, C) per layer; a layer may keep none and then puts out zeros.
            class_R: Index of each candidate's class, int64.
        """
        masks = site_masks(self._network.architecture, self._layers, kept)
        run = self._run_cut if self._cut_first else self._run_stacked
        logits_RV = torch.empty(len(class_R), len(self._inputs), dtype=torch.float16)
        with exact_evaluation(self._network, device=self._device, dtype=self._precision):
            run(masks, class_R, logits_RV)
        return logits_RV

    def _run_cut(self, masks: Sequence[Tensor], class_R: Tensor, logits_RV: Tensor) -> None:
        for row, index in enumerate(class_R.tolist()):
            module = extract(self._network, [mask_RU[row] for mask_RU in masks], [index])
            parts = [precise_logits(module, inputs) for inputs in torch.split(self._inputs, _BATCH_SIZE)]
            logits_RV[row] = torch.cat(parts)[:, 0].clamp(-_LARGEST, _LARGEST)

    def _run_stacked(self, masks: Sequence[Tensor], class_R: Tensor, logits_RV: Tensor) -> None:
        names = [site.name for site in self._network.sites]
        gates = {
            name: mask_RU.to(self._device, torch.float32)
            for name, mask_RU in zip(names, masks, strict=True)
            if not bool(mask_RU.all())
        } or {names[0]: masks[0].to(self._device, torch.float32)}
        batch = min(len(self._inputs), _BATCH_SIZE)
        for rows in torch.split(torch.arange(len(class_R)), max(1, _STACKED_ROWS // batch)):
            gate = {name: gate_RU[rows] for name, gate_RU in gates.items()}
            own_R11 = class_R[rows].to(self._device)[:, None, None]
            for start in range(0, len(self._inputs), batch):
                logits_RBK = run_stacked(self._network, self._inputs[start : start + batch], gate)
                own_RB = logits_RBK.gather(2, own_R11.expand(-1, logits_RBK.shape[1], -1)).squeeze(2)
                logits_RV[rows, start : start + batch] = own_RB.clamp(-_LARGEST, _LARGEST).half().cpu()
