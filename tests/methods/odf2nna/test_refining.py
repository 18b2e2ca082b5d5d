"""Screening equals what the rebuilt networks score; merging changes no output it should not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from methods.contract import SilentMonitor, Split
from methods.dense import Dense
from methods.networks.dense_head import find_head
from methods.networks.graph import Network
from methods.odf2nna.config import Odf2nnaConfig
from methods.odf2nna.head import head_weights
from methods.odf2nna.merging import head_covariances, merge_affine_layers, merge_correlated
from methods.odf2nna.refining import Refinement, refine
from methods.tasks import PreparedTask
from methods.training.batches import plain_batches
from methods.training.config import DenseConfig
from methods.training.loop import evaluate
from methods.training.targets import in_standard_units, to_standard_units
from tests.methods.small_tasks import a_task

RECIPE = DenseConfig(optimizer="adam", learning_rate=3e-3, milestones=())


def _trained(source: str, network: str, **fields: Any) -> tuple[Network, PreparedTask]:
    task = a_task(source, network, epochs=10, precision="float32", validation_share=0.2, **fields)
    trained = Dense(RECIPE).fit(task, {}, SilentMonitor()).variants[0].network
    return to_standard_units(trained, task), task


def _refined(source: str, network: str, notes: list[str], **config: Any) -> tuple[Refinement, Network, PreparedTask]:
    widths = {"widths": [24, 16]} if network == "mlp" else {}
    trained, task = _trained(source, network, **widths)
    found = refine(trained, in_standard_units(task), Odf2nnaConfig(**config), note=notes.append)  # type: ignore[arg-type]
    return found, trained, task


@pytest.mark.parametrize("transfer", ["slice", "fold", "fold_sequential"])
@pytest.mark.parametrize(("source", "network"), [("wine", "mlp"), ("diabetes", "mlp"), ("digits", "small_cnn")])
def test_screened_scores_are_those_of_the_networks_built(source: str, network: str, transfer: str) -> None:
    found, _, task = _refined(source, network, [], transfer=transfer, candidates=4)
    assert len(found.screened) > 4
    scaled = in_standard_units(task)
    for cut, built in zip(found.chosen, found.networks, strict=True):
        assert sum(parameter.numel() for parameter in built.parameters()) == cut.parameters
        assert evaluate(built, scaled.validation, scaled) == pytest.approx(cut.score, abs=1e-5)


def test_the_front_is_spread_and_always_as_long_as_asked() -> None:
    found, _, _ = _refined("wine", "mlp", [], candidates=3)
    sizes = [cut.parameters for cut in found.chosen]
    assert len(sizes) == 3
    assert sizes == sorted(set(sizes))
    everything, _, _ = _refined("wine", "mlp", [], candidates=50)
    assert [cut.epsilon for cut in everything.chosen] == [cut.epsilon for cut in everything.screened]


def test_a_share_out_of_reach_and_an_emptied_layer_are_told() -> None:
    notes: list[str] = []
    _refined("wine", "mlp", notes, keep_share=0.001)
    assert any("out of reach" in note for note in notes)
    notes.clear()
    found, _, _ = _refined("wine", "mlp", notes, epsilon=1e6, preset="literal")
    assert found.chosen[0].widths == [1, 1]
    assert any("would empty hidden1_relu; unit" in note for note in notes)


def test_one_candidate_is_the_most_accurate_cut() -> None:
    found, _, _ = _refined("wine", "mlp", [], candidates=1)
    assert found.chosen[0].score == max(cut.score for cut in found.screened)


def test_an_uneven_cut_is_told_whatever_the_preset() -> None:
    trained, task = _trained("wine", "mlp", widths=[40, 40])
    with torch.no_grad():
        trained.nodes["classifier"].weight[:, 0] *= 1e4  # type: ignore[index, operator, union-attr]
    notes: list[str] = []
    refine(trained, task, Odf2nnaConfig(preset="recommended", epsilon=0.1), note=notes.append)
    assert any("one epsilon does not fit both; use preset 'ranked'" in note for note in notes)


def test_constant_targets_of_validation_score_0_as_the_ruler_says() -> None:
    trained, task = _trained("diabetes", "mlp", widths=[24, 16])
    scaled = in_standard_units(task)
    constant = Split(task.validation.inputs, torch.full_like(task.validation.targets, 0.25))
    found = refine(trained, replace(scaled, validation=constant), Odf2nnaConfig(), note=lambda _: None)  # type: ignore[type-var]
    assert {cut.score for cut in found.screened} == {0.0}


def test_the_original_is_left_alone() -> None:
    trained, task = _trained("iris", "mlp", widths=[12, 9])
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    refine(trained, task, Odf2nnaConfig(merge_correlation=0.95, merge_always_active=True), note=lambda _: None)
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in before.items())
    assert trained.training


def test_refined_networks_from_scratch_have_the_same_widths_and_other_weights() -> None:
    kept, _, _ = _refined("wine", "mlp", [], keep_share=0.3)
    fresh, _, _ = _refined("wine", "mlp", [], keep_share=0.3, transfer="none")
    assert kept.networks[0].architecture == fresh.networks[0].architecture
    assert not torch.equal(*(one.networks[0].nodes["hidden1"].weight for one in (kept, fresh)))  # type: ignore[arg-type]


def test_merging_units_that_follow_another_linearly_changes_no_output() -> None:
    task = a_task("wine", "mlp", widths=[6, 4], epochs=1)
    network = task.network().double()
    first = network.nodes["hidden1"]
    with torch.no_grad():
        first.weight[3] = 2 * first.weight[1]  # twice the output of unit 1
        first.bias[3] = 2 * first.bias[1]
        first.weight[4] = 0  # a constant, which follows nobody
        first.bias[4] = 0.5
    head = find_head(network.architecture)
    assert head is not None
    network.float()
    covariances = head_covariances(network, head, task)
    weights, biases, merged = merge_correlated(*head_weights(network, head), covariances, above=0.9999)
    assert merged[0].tolist()[1] != merged[0].tolist()[3], "one of the two goes"
    assert int(merged[0].sum()) == 1
    inputs, _ = next(iter(plain_batches(task.train, batch_size=200, normalization=task.normalization)))
    before = network(inputs)
    with torch.no_grad():
        for name, weight, bias in zip(head.layers, weights, biases, strict=True):
            network.nodes[name].weight.copy_(weight)
            network.nodes[name].bias.copy_(bias)
    assert torch.allclose(network(inputs), before, atol=1e-5)


def test_a_layer_that_is_always_active_becomes_one_with_the_next() -> None:
    task = a_task("iris", "mlp", widths=[8, 30, 5], epochs=1)
    network = task.network().eval()
    with torch.no_grad():
        network.nodes["hidden2"].bias.fill_(50.0)
    head = find_head(network.architecture)
    assert head is not None
    merged, gone = merge_affine_layers(network, head, [False, True, False])
    assert gone == ["hidden2"]
    inputs, _ = next(iter(plain_batches(task.train, batch_size=200, normalization=task.normalization)))
    assert torch.allclose(merged(inputs), network(inputs), atol=1e-4)
    shallower = find_head(merged.architecture)
    assert shallower is not None
    assert shallower.widths == (4, 8, 5, 3)


def test_a_bottleneck_stays_though_it_is_always_active() -> None:
    network = a_task("iris", "mlp", widths=[8, 2, 9], epochs=1).network()
    head = find_head(network.architecture)
    assert head is not None
    unchanged, gone = merge_affine_layers(network, head, [False, True, False])
    assert unchanged is network, "two units between eight and nine are fewer parameters than the product"
    assert gone == []
