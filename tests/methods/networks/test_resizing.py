from __future__ import annotations

import pytest

from methods.networks.catalog import design_network
from methods.networks.resizing import with_units


def test_other_units_reach_every_layer_around_them() -> None:
    small = with_units(
        design_network("small_cnn", input_shape=(1, 8, 8), num_outputs=10), {"conv2_relu": 5, "hidden_relu": 7}
    )
    assert small.shapes["conv1_relu"] == (16, 8, 8)
    assert small.shapes["norm2"] == (5, 4, 4)
    assert small.shapes["flatten"] == (20,)
    assert small.shapes["hidden"] == (7,)
    assert small.num_outputs == 10


def test_the_architecture_s_own_units_change_nothing() -> None:
    architecture = design_network("resnet20", input_shape=(3, 32, 32), num_outputs=10)
    assert with_units(architecture, {"stage1_block1_a_relu": 16}).to_json() == architecture.to_json()


def test_what_cannot_be_resized_is_refused() -> None:
    architecture = design_network("resnet20", input_shape=(3, 32, 32), num_outputs=10)
    with pytest.raises(ValueError, match="no site 'nothing'"):
        with_units(architecture, {"nothing": 3})
    with pytest.raises(ValueError, match=r"reads 'stage1_block1_sum' \(add\)"):
        with_units(architecture, {"stage1_block1_relu": 3})
