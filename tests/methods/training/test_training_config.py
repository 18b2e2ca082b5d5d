from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from methods.hypersparse.config import HyperSparseConfig
from methods.magnitude.config import MagnitudeConfig
from methods.registry import config_class
from methods.scratch.config import ScratchConfig
from methods.training.config import TrainingConfig


def test_defaults_are_the_recipe_of_the_papers() -> None:
    config = TrainingConfig()
    assert (config.learning_rate, config.momentum, config.weight_decay) == (0.1, 0.9, 1e-4)
    assert (config.milestones, config.decay) == ((0.5, 0.75), 0.1)
    assert MagnitudeConfig().finetune_share == 160 / 285


@pytest.mark.parametrize("milestones", [(0.75, 0.5), (0.5, 0.5), (0.0,), (1.0,)])
def test_milestones_that_do_not_ascend_within_the_schedule_are_refused(milestones: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="milestones"):
        TrainingConfig(milestones=milestones)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"schedule": "cosine", "milestones": (0.3,)}, "has no milestones"),
        ({"schedule": "cosine", "decay": 0.5}, "has no decay"),
        ({"nesterov": True, "optimizer": "adam"}, "belongs to SGD"),
    ],
)
def test_settings_that_would_have_no_effect_are_refused(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        TrainingConfig(**fields)


@pytest.mark.parametrize("fields", [{"schedule": "cosine"}, {"nesterov": True}])
def test_hypersparse_keeps_its_own_schedule(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="schedule of its own"):
        HyperSparseConfig(**fields)


def test_methods_add_their_own_ranges_to_those_of_training() -> None:
    shared = ["learning_rate", "weight_decay"]
    assert list(TrainingConfig.search_space()) == shared
    assert list(MagnitudeConfig.search_space()) == [*shared, "pruning_rate", "finetune_share"]
    assert list(ScratchConfig.search_space()) == [*shared, "keep_share", "inner_width"]


@pytest.mark.parametrize("method", ["magnitude", "gradual_magnitude", "snip", "grasp", "rigl", "hypersparse"])
@pytest.mark.parametrize(
    ("rate", "reason"), [(-0.1, "greater than or equal to 0"), (1.0, "less than 1"), (float("nan"), "finite number")]
)
def test_a_pruning_rate_outside_its_range_is_refused(method: str, rate: float, reason: str) -> None:
    with pytest.raises(ValidationError, match=rf"pruning_rate\n.*{reason}"):
        config_class(method)(pruning_rate=rate)
