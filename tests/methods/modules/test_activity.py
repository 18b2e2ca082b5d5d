"""Which units fire, for single samples."""

from __future__ import annotations

import torch

from methods.data.normalise import normalise
from methods.modules.activity import active_units, fires
from tests.methods.small_tasks import a_task


def test_a_channel_fires_where_any_position_does_or_more_than_a_share() -> None:
    maps = torch.tensor([[[[0.0, 0.0], [0.0, 0.0]], [[0.0, 2.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 1.0]]]])
    assert fires(maps).tolist() == [[False, True, True]]
    assert fires(maps, spatial_share=0.25).tolist() == [[False, False, True]]
    assert fires(maps, spatial_share=0.75).tolist() == [[False, False, False]]
    assert fires(torch.tensor([[0.0, 1e-30]]), spatial_share=0.9).tolist() == [[False, True]]


def test_units_of_a_split_are_those_of_single_samples() -> None:
    task = a_task("digits", "small_cnn", epochs=1, fraction=0.3, validation_share=0.5)
    network = task.network()
    found = active_units(network, task.validation, task)
    assert [tuple(one.shape) for one in found] == [(len(task.validation), site.units) for site in network.sites]
    network.eval()
    for index in (0, 130, len(task.validation) - 1):
        x = normalise(task.validation.inputs[index : index + 1], task.normalization)
        with torch.no_grad():
            alone = network.run(x, record=True).activations
        for (name, activation), one in zip(alone.items(), found, strict=True):
            wrong = fires(activation)[0] != one[index]
            assert int(wrong.sum()) <= 1, f"{name}: rounding in a batch may turn a unit that is all but zero"
    assert not network.training
