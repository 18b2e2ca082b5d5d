from __future__ import annotations

import pytest

from methods.measure import count_parameters
from methods.scratch.config import ScratchConfig
from methods.scratch.method import Scratch, nearest_width
from methods.tasks import PreparedTask
from tests.methods.small_tasks import Recorder, a_task


@pytest.fixture(scope="module")
def digits() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=2, fraction=0.2)


@pytest.mark.parametrize("keep_share", [0.01, 0.1, 0.37, 0.5])
def test_no_width_comes_nearer_to_the_wanted_share(digits: PreparedTask, keep_share: float) -> None:
    target = keep_share * count_parameters(digits.network())
    found = abs(count_parameters(digits.network(width=nearest_width(digits, keep_share=keep_share))) - target)
    others = [abs(count_parameters(digits.network(width=step / 100)) - target) for step in range(1, 101)]
    assert found <= min(others)


def test_a_share_of_one_is_the_dense_network(digits: PreparedTask) -> None:
    assert nearest_width(digits, keep_share=1.0) == 1.0


def test_the_whole_budget_goes_into_the_narrow_network(digits: PreparedTask) -> None:
    monitor = Recorder()
    outcome = Scratch(ScratchConfig()).fit(digits, {}, monitor)
    (variant,) = outcome.variants
    share = count_parameters(variant.network) / count_parameters(digits.network())
    assert variant.settings["keep_share"] == share == pytest.approx(0.1, rel=0.2)
    assert variant.settings["width"] < 1
    assert outcome.epochs == 2
    assert {size for _, _, size in monitor.reports} == {share}
    assert not monitor.notes


def test_a_share_that_no_width_comes_near_is_noted() -> None:
    task = a_task("iris", "mlp", widths=[2], epochs=1)
    monitor = Recorder()
    outcome = Scratch(ScratchConfig(keep_share=0.01)).fit(task, {}, monitor)
    assert "nearest to a share of 0.01" in monitor.notes[0]
    assert outcome.variants[0].settings["keep_share"] > 0.02


def test_a_set_inner_width_leaves_no_share_to_search() -> None:
    assert "keep_share" in ScratchConfig.default_space([])
    assert "keep_share" not in ScratchConfig.default_space(["inner_width"])
