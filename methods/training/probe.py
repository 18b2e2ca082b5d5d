"""How long an epoch takes here, measured on a few batches before anything is trained."""

from __future__ import annotations

import time
from dataclasses import replace

from methods.contract import Split
from methods.networks.graph import Network
from methods.tasks import PreparedTask
from methods.training.config import TrainingConfig
from methods.training.learner import Learner
from methods.training.loop import train_epoch

_MOST_BATCHES = 64
_LEAST_SECONDS = 0.3


def seconds_per_epoch(task: PreparedTask) -> float:
    """Seconds that one plain training epoch of the task's dense network takes on its device.

    Trains on a growing number of batches until the measurement is long enough, one warm-up batch first; costs well
    under two seconds for the networks of this package, and leaves nothing behind.
    """
    config = TrainingConfig()
    learner = Learner(task.network(), momentum=config.momentum, weight_decay=config.weight_decay, seed=task.seed)
    batches = 1
    _time_batches(task, learner, batches)
    while True:
        seconds = _time_batches(task, learner, batches)
        samples = min(batches * task.batch_size, len(task.train))
        if seconds >= _LEAST_SECONDS or batches >= _MOST_BATCHES or samples == len(task.train):
            return seconds * len(task.train) / samples
        batches *= 2


def _time_batches(task: PreparedTask, learner: Learner[Network], batches: int) -> float:
    samples = batches * task.batch_size
    part = replace(task, train=Split(task.train.inputs[:samples], task.train.targets[:samples]))
    started = time.perf_counter()
    train_epoch(learner, part, learning_rate=0.0)
    return time.perf_counter() - started
