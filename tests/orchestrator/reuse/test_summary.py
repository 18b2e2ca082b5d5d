"""What reuse gained, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.report.reuse_words import reuse_lines
from orchestrator.reuse.summary import summarise
from orchestrator.reuse.table import SCHEMA, reuse_table

NAMES = ("precision", "recall", "f1", "others")


def _patch(
    seed: int, name: str, before: float, after: float, control: float | None = None, **more: Any
) -> dict[str, Any]:
    row = dict.fromkeys(SCHEMA.names)
    row |= {"kind": "patch", "seed": seed, "split": "test", "weak": "poor/dense", "strong": "digits/gradsplitter"}
    row |= {"way": "score", "class_name": name, "weak_macs": 100, "macs": 150}
    for kind, value in (("before", before), ("after", after), ("control", control)):
        row |= {f"{kind}_{one}": value for one in NAMES}
    return row | more


def _task(seed: int, accuracy: float, scratch: float) -> dict[str, Any]:
    row = dict.fromkeys(SCHEMA.names)
    row |= {"kind": "new_task", "seed": seed, "split": "test", "weak": "all/dense", "strong": "low/a, high/a"}
    return row | {"accuracy": accuracy, "scratch_accuracy": scratch, "weak_macs": 100, "macs": 300}


def test_gains_are_means_over_classes_with_an_interval_over_seeds() -> None:
    rows = [_patch(0, "a", 0.5, 0.7), _patch(0, "b", 0.5, 0.6), _patch(1, "a", 0.4, 0.7), _patch(1, "b", 0.6, 0.7)]
    found = summarise(rows)
    assert found is not None
    [one] = found.patches
    assert one.gain["f1"].values == pytest.approx((0.15, 0.2))
    assert one.before["others"].values == pytest.approx((0.5, 0.5))
    assert (one.num_classes, one.over_control, one.macs_ratio) == (2, None, 1.5)


def test_what_a_trained_head_is_worth_is_what_it_has_over_its_control() -> None:
    rows = [_patch(0, "a", 0.5, 0.9, 0.8, way="trained_head"), _patch(1, "a", 0.5, 0.8, 0.8, way="trained_head")]
    found = summarise(rows)
    assert found is not None
    [one] = found.patches
    assert one.over_control is not None
    assert one.over_control["f1"].values == pytest.approx((0.1, 0.0))
    assert "over the control F1 +5.0" in reuse_lines(found)[0]


def test_new_tasks_are_paired_by_seed_and_splits_are_kept_apart() -> None:
    rows = [_task(1, 0.9, 0.95), _task(0, 0.8, 0.9), _patch(0, "a", 0.5, 0.6, split="validation")]
    found = summarise(rows)
    assert found is not None
    assert found.patches == ()
    [task] = found.new_tasks
    assert task.difference.values == pytest.approx((-0.1, -0.05))
    assert task.macs_ratio == 3.0
    [line] = reuse_lines(found)
    assert line.startswith("New task all of modules of low/a, high/a: 0.850 ± 0.071 without training")
    assert summarise([]) is None


def test_the_table_has_a_description_for_every_column() -> None:
    table = reuse_table([_patch(0, "a", 0.5, 0.7)])
    assert table.schema.names == SCHEMA.names
    assert all(field.metadata[b"description"] for field in SCHEMA)
