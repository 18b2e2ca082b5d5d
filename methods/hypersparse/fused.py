"""The penalty's gradient added to `.grad` in closed form: what `penalty_gradient` computes, without sort or autograd.

Called after backward and before the optimiser's step, in float32, whatever precision the network computes in: steps of
learning_rate * alpha = 5e-7 vanish in bfloat16 weights.

On a CPU the exact threshold comes from a bracket around the previous one: count what lies below, collect the few values
inside, select among them; an escaped rank falls back to one selection over all. Blocks keep a pass inside the L2 cache.
On any other device everything is a handful of kernels that never make the host wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from methods.hypersparse.penalty import INFLECTION, PenaltyKind, prune_rank

BLOCK = 131_072
"""Values worked on at once: 64k to 256k measure alike, more spills out of the cache, less pays for calls."""
BRACKET = 0.03
"""Half width of the bracket as a share of tau, which drifts by far less than 1% per step in the paper's setting."""
TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class PenaltyReading:
    """What the last step saw; for curves and notes."""

    tau: float
    """The pruning threshold, in units of weights."""
    c: float
    """Pull on the smallest weights relative to L1; at least 1, or 0 when the guard against tau = 0 took effect."""
    skipped_steps: int
    """Steps since the start in which tau was 0 and the penalty was left out."""


class FusedPenalty:
    """Adds strength * gradient of the penalty to the gradients of the prunable weights.

    Args:
        weights: float32 parameters on one device, all trained together; they are read anew at every step.
        kind: As in `penalty_value`.
        pruning_rate: Share of weights to remove, in [0, 1).

    Raises:
        ValueError: No weights, `pruning_rate` out of range, or weights that are not float32.
    """

    def __init__(self, weights: Sequence[Tensor], *, kind: PenaltyKind, pruning_rate: float) -> None:
        wrong = {str(weight.dtype) for weight in weights if weight.dtype != torch.float32}
        if wrong:
            raise ValueError(
                f"weights are {', '.join(sorted(wrong))}: keep float32 master weights and use autocast instead."
            )
        self._weights = list(weights)
        self._kind = kind
        num_weights = sum(weight.numel() for weight in weights)
        self._rank = prune_rank(num_weights, pruning_rate)
        self._values = torch.empty(num_weights, device=weights[0].device)
        # On a CPU one block of scratch is enough; elsewhere launching many small kernels costs more than memory does.
        self._on_cpu = self._values.device.type == "cpu"
        self._scratch = torch.empty(
            min(BLOCK, num_weights) if self._on_cpu else num_weights, device=self._values.device
        )
        self._select = BracketedSelect(self._scratch)
        self._tau: float | Tensor = 0.0
        self._c: float | Tensor = 0.0
        self.skipped_steps: int | Tensor = 0
        """Steps so far in which tau was 0; settable, for a run that goes on from a checkpoint."""

    def add_to_gradients(self, strength: float) -> None:
        """Add strength * gradient to every weight's `.grad`; on a CUDA device without making the host wait.

        Args:
            strength: alpha of the present epoch.
        """
        if self._kind == "hypersparse":
            self._add_hypersparse(strength)
            return
        for weight in self._weights:
            pull = weight.detach().sign() if self._kind == "l1" else weight.detach()
            _gradient(weight).add_(pull, alpha=strength if self._kind == "l1" else 2 * strength)

    def read(self) -> PenaltyReading:
        """tau and c of the last step; waits for the device. Zeros for L1 and L2, which have neither."""
        return PenaltyReading(float(self._tau), float(self._c), int(self.skipped_steps))

    def _add_hypersparse(self, strength: float) -> None:
        torch.cat([_in_memory_order(weight) for weight in self._weights], out=self._values)
        if self._on_cpu:
            factor = self._slopes_by_block() * strength
            if factor == 0.0:
                return
            torch._foreach_add_(self._gradients(), self._parts(), alpha=factor)
        else:
            self._values.mul_(self._slopes_on_device() * strength)
            torch._foreach_add_(self._gradients(), self._parts())

    def _slopes_by_block(self) -> float:
        """Turn the gathered weights into sign(w) * (1 - tanh(s w)^2) in place; returns c, or 0 when tau is."""
        self._tau = self._select(self._values, self._rank)
        if self._tau < TINY:
            self.skipped_steps += 1
            self._c = 0.0
            return 0.0
        s = INFLECTION / self._tau
        sum_a = sum_t = 0.0
        for block in torch.split(self._values, BLOCK):
            t = self._scratch[: len(block)]
            torch.abs(block, out=t)
            sum_a += float(t.sum())
            t.mul_(s).tanh_()
            sum_t += float(t.sum())
            slope = t.square_().neg_().add_(1)
            # copysign would pull exact zeros, for which the subgradient is zero.
            torch.mul(slope, block.sign_(), out=block)
        self._c = s * sum_a / sum_t
        return self._c

    def _slopes_on_device(self) -> Tensor:
        """As `_slopes_by_block`, with every scalar a tensor on the device."""
        a = torch.abs(self._values, out=self._scratch)
        tau = select_on_device(a, self._rank)
        usable = tau >= TINY
        s = INFLECTION / torch.where(usable, tau, 1.0)
        sum_a = a.sum()
        t = a.mul_(s).tanh_()
        # With tau = 0 all weights may be zero; any divisor but zero serves then.
        self._c = torch.where(usable, s * sum_a / t.sum().clamp(min=TINY), 0.0)
        self._tau = tau
        self.skipped_steps = self.skipped_steps + (~usable).int()
        torch.mul(t.square_().neg_().add_(1), self._values.sign_(), out=self._values)
        return self._c

    def _gradients(self) -> list[Tensor]:
        return [_gradient(weight) for weight in self._weights]

    def _parts(self) -> list[Tensor]:
        """The flat values cut back into tensors of the weights' shapes and strides."""
        parts = torch.split(self._values, [weight.numel() for weight in self._weights])
        return [_like(part, weight) for part, weight in zip(parts, self._weights, strict=True)]


class BracketedSelect:
    """Exact selection of one order statistic of |x|, fast when it moved little since the last call. CPU only.

    Args:
        scratch: Working memory of at least one block, or of all values if there are fewer.
    """

    def __init__(self, scratch: Tensor) -> None:
        self._scratch = scratch
        self._masks = torch.empty(2, len(scratch), dtype=torch.bool)
        self._last: float | None = None
        self.full_selections = 0
        """How often the bracket did not hold the rank."""

    def __call__(self, values: Tensor, rank: int) -> float:
        """The magnitude of `rank` (ascending, from 0) among float32 `values` (n,), which stay unchanged."""
        found = None if self._last is None else self._inside(values, rank, self._last)
        if found is None:
            self.full_selections += 1
            found = float(np.partition(values.abs().numpy(), rank)[rank])
        self._last = found
        return found

    def _inside(self, values: Tensor, rank: int, guess: float) -> float | None:
        # Both ends are rounded to float32 by the comparison, in the same way for every value.
        low, high = guess * (1 - BRACKET), max(guess * (1 + BRACKET), TINY)
        num_below = 0
        collected = []
        for block in torch.split(values, len(self._scratch)):
            a = torch.abs(block, out=self._scratch[: len(block)])
            below, inside = self._masks[:, : len(block)]
            torch.lt(a, low, out=below)
            torch.lt(a, high, out=inside)
            num_below += int(np.count_nonzero(below.numpy()))
            inside.bitwise_xor_(below)
            collected.append(a.numpy()[np.flatnonzero(inside.numpy())])
        candidates = np.concatenate(collected)
        place = rank - num_below
        if not 0 <= place < len(candidates):
            return None
        return float(np.partition(candidates, place)[place])


def select_on_device(a: Tensor, rank: int) -> Tensor:
    """The value of `rank` (ascending, from 0) in `a` (n,), as a scalar tensor, without making the host wait.

    `topk` spreads one vector over the whole GPU, `kthvalue` leaves it to a single block of threads.
    """
    above = len(a) - rank
    if above <= rank:
        return a.topk(above, sorted=False).values.min()
    return a.topk(rank + 1, largest=False, sorted=False).values.max()


def _gradient(weight: Tensor) -> Tensor:
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad


def _in_memory_order(weight: Tensor) -> Tensor:
    """The values as a vector in any order, without a copy where the memory format is dense."""
    if _is_dense(weight):
        return weight.detach().as_strided((weight.numel(),), (1,))
    return weight.detach().reshape(-1)


def _like(part: Tensor, weight: Tensor) -> Tensor:
    """The inverse of `_in_memory_order`."""
    return part.as_strided(weight.shape, weight.stride()) if _is_dense(weight) else part.view(weight.shape)


def _is_dense(weight: Tensor) -> bool:
    return weight.is_contiguous() or (weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last))
