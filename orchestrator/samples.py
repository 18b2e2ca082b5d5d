"""The samples of a finished run, loaded anew: the locked test split stays closed."""

from __future__ import annotations

from methods.data.dataset import DataError
from methods.data.load import load_dataset
from methods.tasks import PreparedTask, build_task, prepare
from orchestrator.runs import RunResult


class SamplesMissing(Exception):
    """The samples of a run cannot be had any more; the message says why."""


def task_of(result: RunResult) -> PreparedTask:
    """The run's task with its training and validation samples, on the CPU.

    Raises:
        SamplesMissing: They are gone, or others lie in their place.
    """
    run = result.run
    try:
        data = prepare(run.task, load_dataset(run.task.data, test_share=run.task.test_share))
    except DataError as error:
        raise SamplesMissing(f"the run's samples are not at hand: {error}") from error
    if data.fingerprint != run.data_fingerprint:
        raise SamplesMissing("the samples at hand are not those that the run was made with")
    return build_task(run.task, data, name=run.task_name, seed=run.seed, device="cpu")
