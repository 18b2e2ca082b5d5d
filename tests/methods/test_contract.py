"""Promises that every registered method keeps; a new method is found by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from methods import artefact
from methods.contract import Given, Outcome, SilentMonitor, StoppedEarly
from methods.data.load import load_dataset
from methods.measure import grade, predict
from methods.modules.side_by_side import as_network
from methods.registry import config_class, method_class, method_names, method_version
from methods.task_spec import DataSpec, NetworkSpec, TaskSpec
from methods.tasks import PreparedTask, build_task, prepare
from methods.training.checkpoints import pack, unpack

SPEC = TaskSpec(
    data=DataSpec(source="digits"),
    network=NetworkSpec(name="small_cnn"),
    epochs=12,
    fraction=0.3,
    validation_share=0.2,
)

every_method = pytest.mark.parametrize("name", method_names())


@pytest.fixture(scope="module")
def task() -> PreparedTask:
    dataset = load_dataset(SPEC.data, test_share=SPEC.test_share)
    return build_task(SPEC, prepare(SPEC, dataset), name="digits", seed=3, device="cpu")


class _Interrupted(Exception):
    """Stands for a lost worker."""


class _Recorder(SilentMonitor):
    """Keeps what a method says; breaks off at the given report, as a lost worker or a search would."""

    def __init__(
        self, *, break_at: int | None = None, with_error: type[Exception] = _Interrupted, stored: bytes | None = None
    ) -> None:
        self.reports: list[tuple[float, float, float]] = []
        self.curves: list[tuple[int, Mapping[str, float]]] = []
        self.stored = stored
        self._break_at = break_at
        self._with_error = with_error

    def report(self, progress: float, accuracy: float, size: float) -> None:
        self.reports.append((progress, accuracy, size))
        if len(self.reports) == self._break_at:
            raise self._with_error

    def curve(self, epoch: int, **values: float) -> None:
        self.curves.append((epoch, values))

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        self.stored = pack(state)

    def resume(self) -> dict[str, Any] | None:
        return unpack(self.stored) if self.stored is not None else None


def _fit(name: str, task: PreparedTask, monitor: SilentMonitor) -> Outcome:
    method = method_class(name)(config_class(name)())
    method.check(task.info)
    return method.fit(task, _given(name, task), monitor)


def _given(name: str, task: PreparedTask) -> Given:
    method = method_class(name)(config_class(name)())
    return {
        needed.method: _fit(needed.method, task, SilentMonitor()).variants[0].network
        for needed in method.prerequisites()
    }


def _weights(outcome: Outcome) -> list[torch.Tensor]:
    return [tensor for variant in outcome.variants for tensor in variant.network.state_dict().values()]


class Fitted(dict[str, tuple[Outcome, _Recorder]]):
    """Method -> what it delivered and said, fitted when it is first asked for."""

    def __init__(self, task: PreparedTask) -> None:
        super().__init__()
        self._task = task

    def __missing__(self, name: str) -> tuple[Outcome, _Recorder]:
        monitor = _Recorder()
        self[name] = (_fit(name, self._task, monitor), monitor)
        return self[name]


@pytest.fixture(scope="module")
def fitted(task: PreparedTask) -> Fitted:
    return Fitted(task)


@every_method
def test_same_seed_gives_the_same_weights(name: str, task: PreparedTask, fitted: Fitted) -> None:
    again = _fit(name, task, _Recorder())
    assert all(torch.equal(a, b) for a, b in zip(_weights(fitted[name][0]), _weights(again), strict=True))


@every_method
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_resuming_equals_never_having_stopped(name: str, part: float, task: PreparedTask, fitted: Fitted) -> None:
    straight, heard = fitted[name]
    broken = _Recorder(break_at=max(1, math.ceil(part * len(heard.reports))))
    with pytest.raises(_Interrupted):
        _fit(name, task, broken)
    resumed = _fit(name, task, _Recorder(stored=broken.stored))
    assert all(torch.equal(a, b) for a, b in zip(_weights(straight), _weights(resumed), strict=True))
    assert resumed.epochs == straight.epochs


@every_method
def test_weights_of_classes_reach_every_method(name: str, task: PreparedTask, fitted: Fitted) -> None:
    weights = torch.tensor([5.0] + [5 / 9] * 9)
    weighed = _fit(name, replace(task, class_weights=weights), _Recorder())
    assert any(not torch.equal(a, b) for a, b in zip(_weights(fitted[name][0]), _weights(weighed), strict=True))


@every_method
def test_a_request_to_stop_passes_through(name: str, task: PreparedTask) -> None:
    with pytest.raises(StoppedEarly):
        _fit(name, task, _Recorder(break_at=1, with_error=StoppedEarly))


@every_method
def test_logits_are_finite_and_of_the_task_s_shape(name: str, task: PreparedTask, fitted: Fitted) -> None:
    for variant in fitted[name][0].variants:
        logits = predict(variant.network, task.validation, normalization=task.normalization, device="cpu")
        assert logits.shape == (len(task.validation), task.info.num_outputs)
        assert bool(torch.isfinite(logits).all())


@every_method
def test_it_learns(name: str, fitted: Fitted, task: PreparedTask) -> None:
    best = max(grade(v.network, task, latency=False).validation["accuracy"] for v in fitted[name][0].variants)
    assert best > 0.6, "ten classes: chance is 0.1"


@every_method
def test_the_artefact_reloads_to_equal_logits(name: str, task: PreparedTask, fitted: Fitted) -> None:
    for variant in fitted[name][0].variants:
        grades = grade(variant.network, task, latency=False)
        reloaded = as_network(artefact.decode(grades.artefact))
        deployed, stored = (
            predict(network, task.validation, normalization=task.normalization, device="cpu")
            for network in (grades.deployed, reloaded)
        )
        assert torch.equal(deployed, stored)
        trained = predict(variant.network, task.validation, normalization=task.normalization, device="cpu")
        assert (trained - stored).abs().max() <= 0.02 * trained.abs().max(), "float16 storage moved the logits"


@every_method
def test_epochs_stay_within_the_budget_of_the_task(name: str, task: PreparedTask, fitted: Fitted) -> None:
    outcome, heard = fitted[name]
    assert 0 <= outcome.epochs <= task.epochs
    assert (outcome.epochs > 0) is bool(heard.curves), "only what trains nothing spends nothing"


@every_method
def test_reports_move_forward_and_end_at_one(name: str, fitted: Fitted) -> None:
    progress = [report[0] for report in fitted[name][1].reports]
    assert progress == sorted(set(progress))
    assert progress[-1] == pytest.approx(1.0)
    assert all(0 < p <= 1 and 0 <= accuracy <= 1 and 0 < size <= 1 for p, accuracy, size in fitted[name][1].reports)


@every_method
def test_curves_count_every_epoch_once(name: str, fitted: Fitted) -> None:
    outcome, heard = fitted[name]
    assert [epoch for epoch, _ in heard.curves] == list(range(round(outcome.epochs)))


@every_method
def test_a_configuration_survives_json_and_defaults_stay_out_of_keys(name: str) -> None:
    config = config_class(name)()
    assert config_class(name).model_validate_json(config.model_dump_json()) == config
    assert config.changed() == {}


@every_method
def test_ranges_contain_no_value_that_the_configuration_refuses(name: str) -> None:
    cls = config_class(name)
    for field, space in cls.search_space().items():
        ends = [space.low, space.high] if hasattr(space, "low") else list(space.options)
        whole = cls.model_fields[field].annotation is int
        for value in ends:
            cls(**{field: int(value) if whole else value})


@every_method
def test_registered_name_and_version_are_the_class_s_own(name: str) -> None:
    assert method_class(name).name == name
    assert method_class(name).version == method_version(name)
    assert method_class(name).Config is config_class(name)
