"""How Adaptive Regularized Training (ART) ramps up its penalty, and the rule that ends the ramp; pure numbers.

Source: Glandorf, Kaiser, Rosenhahn, ICCV workshops 2023, arXiv 2308.07163, and its public code.
"""

from __future__ import annotations

from collections import deque
from typing import Any

PAPER_WARMUP_EPOCHS = 60
PAPER_RAMP_EPOCHS = 65
"""What public runs of the authors' code needed on CIFAR-10 (64 and 66); the paper sets no bound."""
PAPER_FINETUNE_EPOCHS = 160
PAPER_EPOCHS = PAPER_WARMUP_EPOCHS + PAPER_RAMP_EPOCHS + PAPER_FINETUNE_EPOCHS
PAPER_STEPS = 782
"""Steps per epoch: 50,000 samples in batches of 64."""
PAPER_STEP_LENGTH = 1.0
"""learning_rate / (1 - momentum) with 0.1 and 0.9: how far a step moves a weight under a constant unit gradient."""


def penalty_strength(epoch: int, *, lambda_init: float, eta: float) -> float:
    """alpha of one regularised epoch, counted from 0: lambda_init * eta^epoch."""
    return lambda_init * eta**epoch


class StoppingRule:
    """Decides after each regularised epoch whether hard pruning still hurts, and which pruned snapshot to hand over.

    Exactly the authors' rule, asymmetries included: the mean over the window is compared with the own accuracy of the
    best snapshot so far, and the mean of that possibly old best with the present dense accuracy.

    Args:
        window: b >= 0; the mean runs over the last 2b+1 epochs, and the middle one of them is the candidate.
        strict_present: Also ask that the present pruned accuracy exceeds the dense one. [ours]

    Raises:
        ValueError: `window` is negative.
    """

    def __init__(self, window: int, *, strict_present: bool = False) -> None:
        if window < 0:
            raise ValueError(f"window {window} is negative: give 0 to judge single epochs, 1 for means over three.")
        self.window = window
        self.strict_present = strict_present
        self.best_epoch: int | None = None
        """The snapshot to hand over, counted from 1; None as long as no pruned network was better than zero."""
        self.best_accuracy = 0.0
        """The own pruned accuracy of that snapshot."""
        self.best_window_mean = 0.0
        """The mean over the window that made it the best."""
        self._queue: deque[tuple[int, float]] = deque(maxlen=2 * window + 1)
        self._epoch = 0

    def update(self, pruned_accuracy: float, dense_accuracy: float) -> bool:
        """Take in one regularised epoch.

        Args:
            pruned_accuracy: P, of the pruned copy on the training samples.
            dense_accuracy: D, of the dense network during the epoch; any unit, the same for both.

        Returns:
            Whether to stop.
        """
        self._epoch += 1
        self._queue.append((self._epoch, pruned_accuracy))
        mean = sum(accuracy for _, accuracy in self._queue) / len(self._queue)
        if mean > self.best_accuracy:
            self.best_epoch, self.best_accuracy = self._queue[min(len(self._queue) - 1, self.window)]
            self.best_window_mean = mean
        above = self.best_window_mean > dense_accuracy
        return above and (pruned_accuracy > dense_accuracy or not self.strict_present)

    @property
    def wanted_epochs(self) -> frozenset[int]:
        """The epochs, counted from 1, whose snapshots may still be handed over; all others can be forgotten."""
        queued = {epoch for epoch, _ in self._queue}
        return frozenset(queued if self.best_epoch is None else queued | {self.best_epoch})

    def state(self) -> dict[str, Any]:
        """All that `restore` needs, as JSON values."""
        return {
            "epoch": self._epoch,
            "queue": [list(entry) for entry in self._queue],
            "best": [self.best_epoch, self.best_accuracy, self.best_window_mean],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`; numbers come back exactly as they were."""
        self._epoch = int(state["epoch"])
        self._queue.clear()
        self._queue.extend((int(epoch), float(accuracy)) for epoch, accuracy in state["queue"])
        best_epoch, self.best_accuracy, self.best_window_mean = state["best"]
        self.best_epoch = None if best_epoch is None else int(best_epoch)
