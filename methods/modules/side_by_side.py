"""Class modules that run side by side: each on its own units of one trained network, each giving one score.

So decomposition of trained CNNs composes its modules (GradSplitter, CNNSplitter; Qi et al.): the scores stand in the
order of the classes, and the largest is the answer. What the modules have in common is here once: this is the form
that is counted and stored. What is run, timed and exported is the plain network that `as_network` makes of it.

Shapes: M = modules, B = samples, K = logits of the network, U = units of a site.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.modules.heads import HIDDEN, ModuleHeads
from methods.networks.architecture import Architecture, Node
from methods.networks.graph import Network
from methods.networks.joining import joined
from methods.networks.restore import restore
from methods.surgery import extract


class SideBySide(nn.Module):
    """Modules over the weights of one network; a module is the network in which all other units put out zero.

    Args:
        network: Shared by the modules; it becomes part of this and is not copied.
        masks: One bool (M, U) per site of the network, in order: row m marks the units of module m. None for a network
            without sites, which is what is left of modules that keep nothing.
        outputs: Which logit is the score of each module, each once; None: logit m of module m. Of no effect with heads.
        heads: One for each module, from all logits to its score; on the network's device.

    Raises:
        ValueError: Masks, outputs or heads that do not fit the network or one another.
    """

    def __init__(
        self,
        network: Network,
        masks: Sequence[Tensor],
        *,
        outputs: Sequence[int] | None = None,
        heads: ModuleHeads | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.masks = tuple(mask_MU.cpu() for mask_MU in masks)
        self.heads = heads
        self._num_modules = len(self.masks[0] if masks else heads or outputs or ())
        self.outputs = () if heads else tuple(range(self._num_modules) if outputs is None else outputs)
        _check_scores(network, self._num_modules, self.outputs, heads)
        _check_masks(network, self._num_modules, self.masks)
        # Its own mode alone: the network may hold layers of another, e.g. frozen batch normalisation.
        self.training = network.training

    def __len__(self) -> int:
        """M."""
        return self._num_modules

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.network.architecture.input_shape

    @property
    def num_outputs(self) -> int:
        """M: every module gives one score."""
        return len(self)

    @property
    def computed(self) -> Tensor:
        """The logits that each module computes, bool (M, K): with a head all, else its own."""
        outputs_MK = torch.full((len(self), self.network.architecture.num_outputs), self.heads is not None)
        for module, output in enumerate(self.outputs):
            outputs_MK[module, output] = True
        return outputs_MK

    def keep(self, module: int) -> dict[str, Tensor]:
        """The keep-set of a module, bool (U,) by the name of the site."""
        return {site.name: mask_MU[module] for site, mask_MU in zip(self.network.sites, self.masks, strict=True)}

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, M), by masked passes through the shared network: right, and slow.

        With heads they are the scores before the sigmoid, which order modules and samples as those behind it do, and
        unlike them never saturate: two modules that are sure would both round to 1, and the first would win.
        """
        logits_MBK = torch.stack([self.network.run(x, keep=self.keep(module)).logits for module in range(len(self))])
        if self.heads is not None:
            scores_BM: Tensor = self.heads(logits_MBK)
            return scores_BM
        return torch.stack(
            [logits_BK[:, output] for logits_BK, output in zip(logits_MBK, self.outputs, strict=True)], 1
        )

    def module(self, index: int) -> Network:
        """One module by itself, cut to its units and with its head: a plain network of one output; weights are copies.

        Sites keep their names, those of the head are `head_logits` and `head_units`.
        """
        if self.heads is None:
            return extract(self.network, self.keep(index), [self.outputs[index]])
        return _with_head(extract(self.network, self.keep(index)), self.heads, index)

    def unrolled(self) -> Network:
        """A plain network that computes what this does, a branch for each module; weights are copies.

        Weights that modules share are in it several times. Of one module it is `module(0)`.
        """
        return joined([self.module(index) for index in range(len(self))])


Delivered = Network | SideBySide
"""What a run can deliver."""


def as_network(delivered: Delivered) -> Network:
    """The plain network that runs: the very network, or modules side by side unrolled."""
    return delivered.unrolled() if isinstance(delivered, SideBySide) else delivered


def _with_head(network: Network, heads: ModuleHeads, module: int) -> Network:
    """The network followed by one of the heads; weights of the head are copies."""
    last, num_classes = network.architecture.nodes[-1].name, heads.num_classes
    nodes = (
        *network.architecture.nodes,
        Node("head_logits", "relu", (last,)),
        Node("head_hidden", "linear", ("head_logits",), {"in_features": num_classes, "out_features": HIDDEN}),
        Node("head_units", "relu", ("head_hidden",)),
        Node("head_score", "linear", ("head_units",), {"in_features": HIDDEN, "out_features": 1}),
    )
    tensors = network.state_dict() | {
        "nodes.head_hidden.weight": heads.hidden_weight[module].detach().clone(),
        "nodes.head_hidden.bias": heads.hidden_bias[module].detach().clone(),
        "nodes.head_score.weight": heads.score_weight[module][None].detach().clone(),
        "nodes.head_score.bias": heads.score_bias[module][None].detach().clone(),
    }
    return restore(Architecture(nodes, network.architecture.input_shape), tensors, like=network)


def _check_masks(network: Network, num_modules: int, masks: Sequence[Tensor]) -> None:
    sites = network.sites
    if len(masks) != len(sites):
        raise ValueError(f"side by side: masks for {len(masks)} sites, but the network has {len(sites)}; give one each")
    for site, mask_MU in zip(sites, masks, strict=True):
        shape = (num_modules, site.units)
        if mask_MU.dtype != torch.bool or tuple(mask_MU.shape) != shape:
            raise ValueError(
                f"side by side: the mask of site '{site.name}' is {mask_MU.dtype} {tuple(mask_MU.shape)}, not bool "
                f"{shape}; give a row for each module"
            )


def _check_scores(network: Network, num_modules: int, outputs: tuple[int, ...], heads: ModuleHeads | None) -> None:
    num_logits = network.architecture.num_outputs
    if not num_modules:
        raise ValueError("side by side: there is no module; give at least one")
    if heads is not None:
        if (len(heads), heads.num_classes) != (num_modules, num_logits):
            raise ValueError(
                f"side by side: {len(heads)} heads on {heads.num_classes} logits for {num_modules} modules of a "
                f"network with {num_logits}; give a head for each module, on all logits"
            )
        return
    in_range = all(0 <= output < num_logits for output in outputs)
    if len(outputs) != num_modules or len(set(outputs)) != num_modules or not in_range:
        raise ValueError(
            f"side by side: outputs are {list(outputs)} for {num_modules} modules of a network with {num_logits} "
            "logits; give each module a logit of its own"
        )
