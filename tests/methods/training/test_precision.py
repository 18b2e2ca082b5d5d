from __future__ import annotations

from dataclasses import replace

import torch

from methods.training.precision import autocast, resolve_precision, task_precision
from tests.methods.small_tasks import a_task


def test_what_was_asked_for_is_taken() -> None:
    assert resolve_precision("float32", "cpu") == torch.float32
    assert resolve_precision("bfloat16", "cpu") == torch.bfloat16


def test_auto_is_one_of_the_two_and_float32_where_nothing_is_known_of_the_device() -> None:
    assert resolve_precision("auto", "cpu") in (torch.float32, torch.bfloat16)
    assert resolve_precision("auto", "meta") == torch.float32


def test_tables_stay_in_float32_unless_asked_otherwise() -> None:
    table = a_task("iris", "mlp", epochs=1)
    assert task_precision(table) == torch.float32
    assert task_precision(replace(table, precision="bfloat16")) == torch.bfloat16


def test_autocast_runs_products_in_bfloat16_and_leaves_weights_in_float32() -> None:
    layer = torch.nn.Linear(4, 2)
    with autocast("cpu", torch.bfloat16):
        assert layer(torch.ones(1, 4)).dtype == torch.bfloat16
    with autocast("cpu", torch.float32):
        assert layer(torch.ones(1, 4)).dtype == torch.float32
    assert layer.weight.dtype == torch.float32
