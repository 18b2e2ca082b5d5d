"""The method as a study uses it: budgets, controls, regression, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from methods.contract import Outcome, Prerequisite, SilentMonitor, UnsupportedTask
from methods.dense import Dense
from methods.odf2nna.config import Odf2nnaConfig
from methods.odf2nna.method import Odf2nna
from methods.tasks import PreparedTask
from methods.training.config import DenseConfig
from methods.training.loop import evaluate
from tests.methods.small_tasks import Lost, Recorder, a_task, same_weights


@pytest.fixture(scope="module")
def wine() -> PreparedTask:
    return a_task("wine", "mlp", widths=[24, 16], epochs=12, validation_share=0.2)


def _fit(task: PreparedTask, monitor: SilentMonitor | None = None, **config: Any) -> Outcome:
    method = Odf2nna(Odf2nnaConfig(**config))
    method.check(task.info)
    given = {
        needed.method: Dense(DenseConfig(**needed.config)).fit(task, {}, SilentMonitor()).variants[0].network
        for needed in method.prerequisites()
    }
    return method.fit(task, given, monitor or SilentMonitor())


def test_a_kept_share_gives_one_network_of_at_most_that_size(wine: PreparedTask) -> None:
    outcome = _fit(wine, keep_share=0.3)
    (variant,) = outcome.variants
    assert variant.label == "refined"
    total = sum(parameter.numel() for parameter in wine.network().parameters())
    kept = sum(parameter.numel() for parameter in variant.network.parameters())
    assert kept <= 0.3 * total
    assert variant.settings["keep_share"] == pytest.approx(kept / total)
    assert outcome.epochs == 12


def test_without_a_size_the_front_is_delivered_smallest_first(wine: PreparedTask) -> None:
    outcome = _fit(wine, stages=True)
    assert [variant.label for variant in outcome.variants] == [
        *("cut-1", "cut-2", "cut-3"),
        *("refined-1", "refined-2", "refined-3"),
    ]
    shares = [variant.settings["keep_share"] for variant in outcome.variants]
    assert shares[:3] == shares[3:] == sorted(shares[:3])
    assert len(outcome.facts["layers"][0]["usefulness"]) == 24
    assert {figure.name for figure in outcome.figures} == {"usefulness", "tolerance"}
    # What was cut is delivered as it was, whatever retraining did afterwards.
    screened = {cut["epsilon"]: cut["score_before_retraining"] for cut in outcome.facts["screened"]}
    for variant in outcome.variants[:3]:
        found = evaluate(variant.network, wine.validation, wine)
        assert found == pytest.approx(screened[variant.settings["epsilon"]], abs=1e-6)


def test_starting_from_the_study_s_dense_network_spends_the_retraining_alone(wine: PreparedTask) -> None:
    method = Odf2nna(Odf2nnaConfig(start="dense", learning_rate=2e-3))
    recipe = {"optimizer": "adam", "learning_rate": 2e-3, "weight_decay": 0.0, "milestones": []}
    assert method.prerequisites() == (Prerequisite("dense", recipe),)
    assert _fit(wine, start="dense", keep_share=0.3).epochs == 2


def test_from_scratch_with_the_full_budget(wine: PreparedTask) -> None:
    outcome = _fit(wine, start="dense", keep_share=0.3, transfer="none", scratch_epochs="full")
    assert outcome.epochs == 12 + 2, "as many as the weights of a refined network have seen"


@pytest.mark.parametrize("units", ["random", "outgoing_norm", "mean_activation"])
def test_controls_have_the_widths_of_the_useful_units(wine: PreparedTask, units: str) -> None:
    useful, control = (_fit(wine, keep_share=0.3, units=rule) for rule in ("useful", units))
    assert useful.variants[0].settings["widths"] == control.variants[0].settings["widths"]
    assert not same_weights(useful.variants[0].network, control.variants[0].network)


@pytest.mark.parametrize("preset", ["literal", "recommended", "ranked"])
def test_regression_is_delivered_in_raw_units(preset: str) -> None:
    task = a_task("diabetes", "mlp", widths=[32, 32], epochs=24, validation_share=0.2)
    outcome = _fit(task, keep_share=0.4, preset=preset)
    assert evaluate(outcome.variants[0].network, task.validation, task) > 0.1


def test_retraining_resumes_with_the_same_original(wine: PreparedTask) -> None:
    straight = _fit(wine, Recorder())
    lost = Recorder(break_at=12)
    with pytest.raises(Lost):
        _fit(wine, lost)
    assert lost.resume()["phase"] == "retrain"  # type: ignore[index]
    resumed = _fit(wine, Recorder(stored=lost.stored))
    pairs = zip(straight.variants, resumed.variants, strict=True)
    assert all(same_weights(one.network, other.network) for one, other in pairs)
    assert resumed.facts == straight.facts


def test_the_smaller_networks_of_a_resumed_run_are_those_of_one_never_stopped() -> None:
    task = a_task("digits", "small_cnn", epochs=6, fraction=0.2, validation_share=0.2)
    straight = _fit(task, Recorder(), keep_share=0.5, stages=True)
    lost = Recorder(break_at=6)
    with pytest.raises(Lost):
        _fit(task, lost, keep_share=0.5, stages=True)
    resumed = _fit(task, Recorder(stored=lost.stored), keep_share=0.5, stages=True)
    for one, other in zip(straight.variants, resumed.variants, strict=True):
        assert same_weights(one.network, other.network), one.label
    assert straight.facts == resumed.facts


@pytest.mark.parametrize("preset", ["literal", "recommended", "ranked"])
@pytest.mark.parametrize("size", [{"keep_share": 1.0}, {"epsilon": 0.0}], ids=["share", "epsilon"])
def test_nothing_but_constant_units_goes_when_everything_may_stay(
    wine: PreparedTask, preset: str, size: dict[str, float]
) -> None:
    outcome = _fit(wine, preset=preset, **size)
    for layer in outcome.facts["layers"]:
        assert layer["kept"] == [sum(value > 1e-12 for value in layer["usefulness"])]


def test_rounded_widths_keep_to_the_share(wine: PreparedTask) -> None:
    (variant,) = _fit(wine, keep_share=0.5, round_to=8).variants
    assert all(width % 8 == 0 for width in variant.settings["widths"])
    assert variant.settings["keep_share"] <= 0.5


def test_a_merged_layer_is_gone_from_what_the_variant_says(wine: PreparedTask) -> None:
    method = Odf2nna(Odf2nnaConfig(start="dense", keep_share=0.9, merge_always_active=True))
    dense = wine.network()
    with torch.no_grad():
        dense.nodes["hidden2"].bias.fill_(100.0)  # type: ignore[union-attr, operator]
    (variant,) = method.fit(wine, {"dense": dense}, SilentMonitor()).variants
    assert len(variant.settings["widths"]) == 1
    count, total = (sum(p.numel() for p in network.parameters()) for network in (variant.network, dense))
    assert variant.settings["keep_share"] == pytest.approx(count / total)


def test_other_options_deliver_networks_that_work(wine: PreparedTask) -> None:
    outcome = _fit(
        wine, keep_share=0.4, round_to=4, merge_correlation=0.95, merge_always_active=True, balance_classes=True
    )
    assert all(width % 4 == 0 for width in outcome.variants[0].settings["widths"])
    assert evaluate(outcome.variants[0].network, wine.validation, wine) > 0.5


def test_a_network_without_dense_head_is_refused_with_what_would_do(wine: PreparedTask) -> None:
    images = a_task("digits", "resnet20", epochs=2)
    with pytest.raises(UnsupportedTask, match=r"'resnet20' has no hidden dense layer .* small_cnn.* hypersparse"):
        Odf2nna(Odf2nnaConfig()).check(images.info)
    with pytest.raises(UnsupportedTask, match="needs classes"):
        Odf2nna(Odf2nnaConfig(balance_classes=True)).check(replace(wine.info, kind="regression"))


def test_a_budget_without_room_is_refused(wine: PreparedTask) -> None:
    with pytest.raises(UnsupportedTask, match="leaves none to train before cutting"):
        _fit(replace(wine, epochs=1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epsilon": 0.3, "keep_share": 0.2}, "epsilon and keep_share both say how much to cut"),
        ({"epsilon": -0.1}, "greater than or equal to 0"),
        ({"keep_share": 0.0}, "greater than 0"),
        ({"retrain_share": 0.0}, "greater than 0"),
        ({"epsilons": (0.3, 0.1)}, "must ascend"),
        ({"scratch_epochs": "full"}, "needs transfer 'none' and start 'dense'"),
        ({"balance_classes": True, "statistic": "range"}, "needs statistic 'std'"),
    ],
)
def test_configurations_that_contradict_themselves_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Odf2nnaConfig(**fields)
