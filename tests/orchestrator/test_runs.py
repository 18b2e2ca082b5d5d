"""The address of a result: what enters a run's key, what stays out, and that keys once given never move."""

from __future__ import annotations

from typing import Any

import pytest

from methods import registry
from methods.dense import Dense
from methods.magnitude.config import MagnitudeConfig
from methods.task_spec import DataSpec, NetworkSpec, SkewSpec, TaskSpec
from orchestrator.runs import Run

TASK = TaskSpec(data=DataSpec(source="digits"), network=NetworkSpec(name="small_cnn"), epochs=3)
TABLE = TaskSpec(
    data=DataSpec(source="iris"),
    network=NetworkSpec(name="mlp", arguments={"widths": [16]}),
    epochs=12,
    batch_size=32,
    fraction=0.5,
    split_seed=3,
    precision="float32",
)


def _run(**changes: Any) -> Run:
    fields: dict[str, Any] = {"task_name": "digits", "task": TASK, "data_fingerprint": "a" * 64, "method": "magnitude"}
    return Run(**(fields | {"seed": 0} | changes))


def test_keys_of_released_runs_never_move() -> None:
    # A change here makes every stored result unreachable: raise the version of the method concerned instead.
    assert _run(method="dense").key == "f2a70ef5ec3ece7012ce"
    assert _run(seed=7, config={"pruning_rate": 0.95}).key == "2a5a100125308cdd88f5"
    assert _run(method="hypersparse", task=TABLE, data_fingerprint="b" * 64).key == "ba4f321d262172dee977"


@pytest.mark.parametrize(
    "same",
    [
        {"task_name": "another name"},
        {"task": TASK.model_copy(update={"batch_size": 64, "precision": "auto"})},
        {"task": TASK.model_copy(update={"data": DataSpec(source="digits", max_undecodable=0.0)})},
        {"task": TASK.model_copy(update={"data": DataSpec(source="digits", target=None, numeric=(), drop=())})},
        {"task": TASK.model_copy(update={"data": DataSpec(source="digits", classes=(), image_shape=None, parts=())})},
        {"task": TASK.model_copy(update={"class_weights": "none"})},
        {"task": TASK.model_copy(update={"skew": None})},
        {"config": {}},
    ],
    ids=[
        "name for people",
        "defaults of the task",
        "defaults of the data",
        "defaults of tables",
        "all classes as they are",
        "no weights",
        "no skew",
        "no changed field",
    ],
)
def test_what_changes_no_result_changes_no_key(same: dict[str, Any]) -> None:
    assert _run(**same).key == _run().key


def test_the_path_of_the_data_stays_out() -> None:
    def key(path: str) -> str:
        data = DataSpec(source="image_folder", path=path)
        return _run(task=TASK.model_copy(update={"data": data})).key

    assert key("/data/here") == key("/mnt/there")


def test_paths_inside_a_mixture_stay_out_and_all_else_of_its_parts_counts() -> None:
    def key(path: str, **fields: Any) -> str:
        parts = (DataSpec(source="digits"), DataSpec(source="image_folder", path=path, **fields))
        return _run(task=TASK.model_copy(update={"data": DataSpec(source="mixture", parts=parts)})).key

    assert key("/data/here") == key("/mnt/there")
    assert key("/data/here") != key("/data/here", classes=("cat",))


def test_a_run_on_a_skewed_mixture_keeps_its_key_in_the_store() -> None:
    data = DataSpec(source="mixture", parts=(DataSpec(source="digits", image_shape=(3, 8, 8)), DataSpec(source="x")))
    run = _run(task=TASK.model_copy(update={"data": data, "skew": SkewSpec(seed=1)}))
    assert Run.model_validate_json(run.model_dump_json()).key == run.key == "3c0ff1e521fb65f4e82f"


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"method": "scratch"},
        {"config": {"pruning_rate": 0.95}},
        {"data_fingerprint": "c" * 64},
        {"version": 2},
        *({"task": TASK.model_copy(update=field)} for field in ({"epochs": 4}, {"fraction": 0.5}, {"split_seed": 1})),
        {"task": TASK.model_copy(update={"network": NetworkSpec(name="small_cnn", arguments={"widths": [8]})})},
        {"task": TASK.model_copy(update={"class_weights": "balanced"})},
        {"task": TASK.model_copy(update={"skew": SkewSpec(seed=0)})},
    ],
    ids=[
        "seed",
        "method",
        "setting",
        "samples",
        "version",
        "epochs",
        "fraction",
        "split",
        "network",
        "weights",
        "skew",
    ],
)
def test_what_changes_a_result_changes_the_key(other: dict[str, Any]) -> None:
    assert _run(**other).key != _run().key


def test_a_field_at_its_default_stays_out_so_new_fields_leave_old_results_reachable() -> None:
    assert MagnitudeConfig(pruning_rate=0.9, momentum=0.9).changed() == {}
    assert _run().of("magnitude", {"pruning_rate": 0.9, "finetune_share": 0.5}).config == {"finetune_share": 0.5}


def test_a_stored_run_keeps_its_key_when_its_method_has_a_new_version(monkeypatch: pytest.MonkeyPatch) -> None:
    class Next(Dense):
        name = "next"

    monkeypatch.setitem(registry._registered, "next", Next)
    run = _run(method="next")
    stored = run.model_dump_json()
    monkeypatch.setattr(Next, "version", 2)
    assert Run.model_validate_json(stored).key == run.key != _run(method="next").key
    monkeypatch.delitem(registry._registered, "next")
    assert Run.model_validate_json(stored).key == run.key


def test_a_prerequisite_has_the_version_of_its_own_method(monkeypatch: pytest.MonkeyPatch) -> None:
    class Next(Dense):
        name = "next"
        version = 5

    monkeypatch.setitem(registry._registered, "next", Next)
    assert _run(method="next").of("dense", {}) == _run(method="dense")
    assert _run().of("next", {}).version == 5


def test_a_changed_copy_has_a_key_of_its_own() -> None:
    run = _run()
    assert run.replaced(seed=1).key == _run(seed=1).key != run.key
    assert run.replaced(seed=1).version == run.version
