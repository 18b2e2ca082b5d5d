"""The swarm finds what it is told to; widths keep to the budget; the search keeps to its share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.contract import Outcome, SilentMonitor, UnsupportedTask
from methods.networks.dense_head import parameter_count
from methods.tasks import PreparedTask
from methods.width_search.config import WidthSearchConfig
from methods.width_search.method import WidthSearch
from methods.width_search.swarm import Swarm
from methods.width_search.widths import widths_at
from tests.methods.small_tasks import Lost, Recorder, a_task, same_weights


def _fit(task: PreparedTask, monitor: SilentMonitor, **config: Any) -> Outcome:
    return WidthSearch(WidthSearchConfig(**config)).fit(task, {}, monitor)


def test_the_swarm_climbs_a_hill() -> None:
    top = torch.tensor([0.2, 0.7, 0.9], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    swarm = Swarm.scattered(12, 3, generator=generator)
    for _ in range(40):
        swarm.learn(-(swarm.position - top).square().sum(dim=1))
        swarm.move(generator)
    assert torch.allclose(swarm.best, top, atol=0.01)
    assert bool(((swarm.position >= 0) & (swarm.position <= 1)).all())


def test_a_swarm_goes_on_from_its_state() -> None:
    generator = torch.Generator().manual_seed(0)
    swarm = Swarm.scattered(5, 2, generator=generator)
    swarm.learn(torch.arange(5, dtype=torch.float64))
    again = Swarm.from_state(swarm.state())
    state = generator.get_state()
    swarm.move(generator)
    generator.set_state(state)
    again.move(generator)
    assert torch.equal(swarm.position, again.position)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 60)), min_size=1, max_size=3),
    st.integers(1, 20),
    st.integers(1, 5000),
)
def test_widths_keep_to_the_budget_and_use_it(layers: list[tuple[float, int]], inputs: int, budget: int) -> None:
    full = [inputs, *(width for _, width in layers), 3]
    widths = widths_at([place for place, _ in layers], full, most_parameters=budget)
    assert all(1 <= width <= most for width, most in zip(widths, full[1:-1], strict=True))
    smallest = parameter_count([inputs, *[1] * len(layers), 3])
    assert parameter_count([inputs, *widths, 3]) <= max(budget, smallest)
    if budget >= parameter_count(full):
        assert widths == full[1:-1]


def test_the_search_spends_its_share_of_passes_and_of_compute() -> None:
    task = a_task("wine", "mlp", widths=[24, 24], epochs=24)
    monitor = Recorder()
    outcome = _fit(task, monitor, keep_share=0.25)
    assert outcome.facts["generations"] == 4
    assert outcome.facts["epochs_per_candidate"] == 1
    assert [len(scores) for scores in outcome.facts["scores"]] == [8] * 4
    assert sorted(monitor.curves) == list(range(24))
    kept = sum(parameter.numel() for parameter in outcome.variants[0].network.parameters())
    total = sum(parameter.numel() for parameter in task.network().parameters())
    assert 0.15 * total < kept <= 0.25 * total


@pytest.mark.parametrize("keep_share", [0.05, 0.3, 0.7])
def test_the_whole_costs_no_more_than_one_dense_training(keep_share: float) -> None:
    task = a_task("iris", "mlp", widths=[24, 24], epochs=30)
    outcome = _fit(task, SilentMonitor(), keep_share=keep_share)
    facts = outcome.facts
    passes = facts["generations"] * facts["epochs_per_candidate"]
    assert facts["compute"] <= 30
    assert facts["compute"] == pytest.approx(outcome.variants[0].settings["keep_share"] * (8 * passes + 30 - passes))


def test_with_one_hidden_layer_nothing_is_searched() -> None:
    task = a_task("iris", "mlp", widths=[24], epochs=6)
    monitor = Recorder()
    outcome = _fit(task, monitor, keep_share=0.5)
    assert outcome.facts["generations"] == 0
    assert any("nothing was searched" in note for note in monitor.notes)
    assert outcome.variants[0].settings["keep_share"] <= 0.5


@pytest.mark.parametrize("break_at", [2, 5, 12])
def test_resuming_within_the_search_or_after_it(break_at: int) -> None:
    task = a_task("wine", "mlp", widths=[24, 24], epochs=16)
    straight = _fit(task, Recorder(), keep_share=0.25)
    lost = Recorder(break_at=break_at)
    with pytest.raises(Lost):
        _fit(task, lost, keep_share=0.25)
    resumed = _fit(task, Recorder(stored=lost.stored), keep_share=0.25)
    assert same_weights(straight.variants[0].network, resumed.variants[0].network)
    assert straight.facts == resumed.facts


def test_what_cannot_be_searched_is_refused_in_words() -> None:
    task = a_task("wine", "mlp", epochs=4)
    with pytest.raises(UnsupportedTask, match="one epoch of 8 candidates costs 4"):
        _fit(task, SilentMonitor(), keep_share=0.5)
    images = a_task("digits", "resnet20", epochs=2)
    with pytest.raises(UnsupportedTask, match="no hidden dense layer"):
        WidthSearch(WidthSearchConfig()).check(images.info)
