"""When how much is pruned: the cubic ramp of Zhu and Gupta, "To prune, or not to prune", 2017, section 3; pure numbers.

Fast at first, where there is plenty to remove, and slow towards the end.
"""

from __future__ import annotations


def cubic_sparsity(share: float, *, initial: float, final: float) -> float:
    """Sparsity s_t = s_f + (s_i - s_f) (1 - share)^3 after a share (t - t_0) / (n dt) of the ramp, in [0, 1]."""
    return final + (initial - final) * (1 - share) ** 3


def pruning_steps(
    steps: int, *, begin_share: float, end_share: float, updates: int, pruning_rate: float
) -> dict[int, float]:
    """The steps of a schedule in which weights are removed, each with the sparsity to reach.

    The ramp starts from a dense network (s_i = 0, as the paper does as a rule), so nothing happens at t_0 itself.
    Where `updates` are more than the steps of the ramp, every one of these is used. The last update falls into the
    last step of the schedule at the latest, so that the rate is reached on any budget.

    Args:
        steps: Length of the schedule, at least 1.
        begin_share: t_0 as a share of it.
        end_share: Where the ramp ends, above `begin_share`.
        updates: n.
        pruning_rate: s_f.
    """
    end = min(round(end_share * steps), steps - 1)
    begin = min(round(begin_share * steps), end)
    planned = {
        begin + round(number / updates * (end - begin)): cubic_sparsity(
            number / updates, initial=0.0, final=pruning_rate
        )
        for number in range(1, updates + 1)
    }
    # Updates of a ramp with few steps may be rounded down to its beginning.
    return {step: sparsity for step, sparsity in planned.items() if step > begin or begin == end}
