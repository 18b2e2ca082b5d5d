from __future__ import annotations

from methods.dense import Dense
from methods.training.config import DenseConfig
from methods.training.loop import evaluate
from tests.methods.small_tasks import Recorder, a_task, same_weights


def test_dense_learns_the_digits() -> None:
    task = a_task("digits", "small_cnn", epochs=10)
    monitor = Recorder()
    outcome = Dense(DenseConfig()).fit(task, {}, monitor)
    (variant,) = outcome.variants
    assert (variant.label, variant.kind, outcome.epochs) == ("dense", "whole", 10)
    assert evaluate(variant.network, task.validation, task) >= 0.95
    assert {size for _, _, size in monitor.reports} == {1.0}


def test_another_seed_gives_other_weights() -> None:
    one, other = (
        Dense(DenseConfig()).fit(a_task("iris", "mlp", epochs=1, seed=seed), {}, Recorder()) for seed in (0, 1)
    )
    assert not same_weights(one.variants[0].network, other.variants[0].network)
