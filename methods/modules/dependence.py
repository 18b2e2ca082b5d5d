"""Which classes cannot be cut apart safely: told from the modules of single classes, before any two are put together.

Three views of each pair of classes: how many units their modules have in common (Jaccard index, the coupling of
modularising while training, MwT, Qi et al., ICSE 2024), how often the network that they were cut from confuses the two,
and how often the module of one class alone scores a sample of the other as high as one of its own. The last, and the
risk that joins them, are ours.

Shapes: K = classes, N = samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.contract import Normalization, Split
from methods.measure.predict import predict
from methods.modules.library import ModuleLibrary
from methods.modules.side_by_side import as_network


@dataclass(frozen=True)
class Dependence:
    """How much each two classes of a library hang together; float64 (K, K) on the CPU.

    A class of which there is no sample has not-a-number in all but `coupling`.
    """

    class_names: tuple[str, ...]
    coupling: Tensor
    """Jaccard index of the units that the two modules keep, in [0, 1]; symmetric."""
    confusion: Tensor
    """Share of the samples of the two classes that the whole network takes for the other one, in [0, 1]; symmetric, 0
    on the diagonal."""
    interference: Tensor
    """Row i, column j: the chance that module i scores a random sample of class j above one of its own class i, ties
    counting half. 0 where the module tells them apart by a threshold, 0.5 where it cannot at all; 0 on the diagonal."""

    @property
    def risk(self) -> Tensor:
        """The larger of the two directions of interference, symmetric: the pair is as safe as its weaker module."""
        return torch.maximum(self.interference, self.interference.T)

    def riskiest(self, count: int) -> list[tuple[int, int]]:
        """The pairs i < j of largest risk, largest first; of equal risk the more confused, then the more coupled."""
        risk, confusion, coupling = (value.tolist() for value in (self.risk, self.confusion, self.coupling))
        first, second = torch.triu_indices(len(self.class_names), len(self.class_names), offset=1).tolist()
        known = [(i, j) for i, j in zip(first, second, strict=True) if risk[i][j] == risk[i][j]]
        return sorted(known, key=lambda ij: tuple(-one[ij[0]][ij[1]] for one in (risk, confusion, coupling)))[:count]


def dependence(
    library: ModuleLibrary,
    split: Split,
    *,
    whole_NK: Tensor,
    coupling_KK: Tensor,
    normalization: Normalization,
    device: str,
) -> Dependence:
    """Measure how much the classes of a library hang together, in one pass of each module.

    Args:
        library: Its network lies on `device`.
        split: Samples of the classes, labelled as the library numbers them, on any device.
        whole_NK: Logits of the library's network for these samples.
        coupling_KK: Of its modules, `Modularity.coupling`.
        normalization: Of the library's inputs.

    Raises:
        ValueError: A label is no class of the library.
    """
    num_classes = len(library.class_names)
    targets_N = split.targets.cpu()
    unknown = targets_N[(targets_N < 0) | (targets_N >= num_classes)].tolist()
    if unknown:
        raise ValueError(f"dependence: label {unknown[0]} is no class; classes are numbered 0 to {num_classes - 1}")
    interference = torch.zeros(num_classes, num_classes, dtype=torch.float64)
    for index, name in enumerate(library.class_names):
        module = as_network(library.compose([name])).to(device)
        scores_N = predict(module, split, normalization=normalization, device=device)[:, 0].cpu()
        interference[index] = _passed_by(scores_N, targets_N, own=index, num_classes=num_classes)
    return Dependence(
        class_names=library.class_names,
        coupling=coupling_KK,
        confusion=confusion_of_pairs(whole_NK.argmax(dim=1).cpu(), targets_N, num_classes=num_classes),
        interference=interference.fill_diagonal_(0.0),
    )


def confusion_of_pairs(predicted_N: Tensor, targets_N: Tensor, *, num_classes: int) -> Tensor:
    """Share of the samples of each two classes that are taken for the other one, float64 (K, K), 0 on the diagonal.

    Args:
        predicted_N, targets_N: Class indices, int64.
    """
    counts_KK = torch.zeros(num_classes, num_classes, dtype=torch.float64)
    counts_KK.index_put_((targets_N, predicted_N), torch.ones(len(targets_N), dtype=torch.float64), accumulate=True)
    samples_K = counts_KK.sum(dim=1)
    shares = (counts_KK + counts_KK.T) / (samples_K[:, None] + samples_K)
    absent_K = samples_K == 0
    shares[absent_K[:, None] | absent_K] = torch.nan
    return shares.fill_diagonal_(0.0)


def _passed_by(scores_N: Tensor, targets_N: Tensor, *, own: int, num_classes: int) -> Tensor:
    """For each class the chance that one of its samples scores above one of class `own`, ties half; float64 (K,)."""
    own_sorted = scores_N[targets_N == own].sort().values
    below_N = torch.searchsorted(own_sorted, scores_N.contiguous())
    up_to_N = torch.searchsorted(own_sorted, scores_N.contiguous(), right=True)
    passed_N = (below_N + up_to_N).double() / (2 * len(own_sorted))
    sums_K = torch.zeros(num_classes, dtype=torch.float64).index_add_(0, targets_N, passed_N)
    return sums_K / torch.bincount(targets_N, minlength=num_classes)
