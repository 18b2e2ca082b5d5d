"""The paper's settings, what of them may be searched, and what does not go together."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from methods.config import Choice, Range
from methods.hypersparse.config import HyperSparseConfig


def test_the_searchable_space_is_that_of_the_authors_code() -> None:
    assert HyperSparseConfig.search_space() == {
        "learning_rate": Range(0.01, 0.9, "log"),
        "momentum": Range(0.5, 0.99, only_named=True),
        "weight_decay": Range(1e-5, 1e-3, "log"),
        "decay": Range(0.01, 0.9, "log", only_named=True),
        "pruning_rate": Range(0.8, 0.995),
        "lambda_init": Range(5e-7, 5e-5, "log"),
        "eta": Range(1.03, 1.1),
        "warmup_epochs": Range(20, 90),
        "first_drop": Range(40, 90, only_named=True),
        "second_drop": Range(91, 160, only_named=True),
        "window": Choice((1, 10)),
    }


@pytest.mark.parametrize(
    ("drops", "shares"),
    [
        ({}, (0.5, 0.75)),
        ({"first_drop": 40, "second_drop": 160}, (0.25, 1.0)),
        ({"first_drop": 60}, (0.375, 0.75)),
        ({"second_drop": 100}, (0.5, 0.625)),
        ({"first_drop": 10, "second_drop": 20, "finetune_epochs": 40}, (0.25, 0.5)),
        ({"milestones": (0.2, 0.4, 0.6)}, (0.2, 0.4, 0.6)),
    ],
)
def test_drops_are_epochs_of_fine_tuning_and_a_missing_one_is_the_paper_s(
    drops: dict[str, Any], shares: tuple[float, ...]
) -> None:
    assert HyperSparseConfig(**drops).finetune_milestones == pytest.approx(shares)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"first_drop": 120, "second_drop": 100}, "first at epoch 120 and then at 100"),
        ({"first_drop": 130}, "first at epoch 130 and then at 120"),
        ({"second_drop": 170}, "second_drop 170 lies beyond finetune_epochs 160"),
        ({"first_drop": 60, "milestones": (0.5,)}, r"stand in place of milestones, which is \[0.5\]"),
        ({"first_drop": 0}, "first_drop"),
    ],
)
def test_drops_that_make_no_schedule_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        HyperSparseConfig(**config)


def test_new_fields_leave_the_keys_of_old_runs_alone() -> None:
    assert HyperSparseConfig().changed() == {}
    assert HyperSparseConfig(first_drop=60).changed() == {"first_drop": 60}
