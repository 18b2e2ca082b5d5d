from __future__ import annotations

import pytest
import torch

from methods.cnn_decomposition.samples import search_samples
from methods.contract import Split
from methods.tasks import PreparedTask
from tests.methods.small_tasks import a_task


@pytest.fixture(scope="module")
def task() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=2, validation_share=0.3)


def _rows(split: Split) -> set[bytes]:
    return {row.numpy().tobytes() for row in split.inputs}


def test_as_published_candidates_are_judged_on_validation_and_ranked_on_a_fifth_of_everything(
    task: PreparedTask,
) -> None:
    samples = search_samples(task, "published")
    assert samples.judging is task.validation
    assert samples.choosing is None
    counts = torch.bincount(torch.cat([task.train.targets, task.validation.targets]), minlength=10)
    assert torch.bincount(samples.ranking.targets, minlength=10).tolist() == [max(1, n // 5) for n in counts.tolist()]
    assert _rows(samples.ranking) & _rows(task.train), "overlaps the training part, as the public code does"


def test_free_of_leaks_nothing_but_the_choice_sees_validation(task: PreparedTask) -> None:
    samples = search_samples(task, "leak_free")
    own = _rows(task.train) - _rows(task.validation)
    assert _rows(samples.judging) <= _rows(task.train)
    assert len(_rows(samples.judging) - own) <= len(_rows(task.train)) - len(own)
    assert samples.ranking is samples.judging
    assert samples.choosing is task.validation
    assert set(samples.judging.targets.tolist()) == set(range(10))


def test_the_draw_is_the_same_for_every_seed(task: PreparedTask) -> None:
    other = a_task("digits", "small_cnn", epochs=2, validation_share=0.3, seed=7)
    assert torch.equal(
        search_samples(task, "published").ranking.inputs, search_samples(other, "published").ranking.inputs
    )


def test_a_class_with_few_samples_gives_one() -> None:
    task = a_task("digits", "small_cnn", epochs=2, fraction=0.02, validation_share=0.3)
    assert torch.bincount(search_samples(task, "leak_free").judging.targets, minlength=10).tolist() == [1] * 10
