from __future__ import annotations

from typing import Any

import pytest
import torch

from methods.training.checkpoints import CheckpointError, pack, unpack


def test_a_state_comes_back_with_its_nesting_and_every_bit() -> None:
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    state: dict[str, Any] = {
        "network": {"nodes.conv1.weight": weight.to(memory_format=torch.channels_last), "count": torch.tensor(7)},
        "momentum": [torch.zeros(0), torch.ones(2, dtype=torch.bfloat16)],
        "masks": [weight > 0],
        "generator": torch.Generator().manual_seed(1).get_state(),
        "epoch": 3,
        "facts": {"share": 0.1, "name": "ä", "none": None, "stopped": True, "deep": [[1, 2], []]},
    }
    back = unpack(pack(state))
    assert list(back) == list(state)
    assert back["epoch"] == 3
    assert back["facts"] == state["facts"]
    assert torch.equal(back["network"]["nodes.conv1.weight"], weight)
    assert back["network"]["count"].shape == ()
    assert [tensor.dtype for tensor in back["momentum"]] == [torch.float32, torch.bfloat16]
    assert torch.equal(back["masks"][0], weight > 0)
    assert torch.equal(back["generator"], state["generator"])


def test_tensors_that_share_memory_are_stored_each_on_its_own() -> None:
    flat = torch.arange(6.0, requires_grad=True)
    back = unpack(pack({"views": [flat[:4].view(2, 2), flat[2:], flat]}))
    assert [view.tolist() for view in back["views"]] == [[[0, 1], [2, 3]], [2, 3, 4, 5], [0, 1, 2, 3, 4, 5]]


def test_tuples_come_back_as_lists() -> None:
    assert unpack(pack({"window": (1, (2, 3))})) == {"window": [1, [2, 3]]}


@pytest.mark.parametrize(
    ("state", "place"),
    [({"a": [{"b": {1, 2}}]}, r"state\.a\[0\]\.b: set"), ({"a": {3: 1}}, "key 3"), ({"$tensor": 1}, r"\$tensor")],
)
def test_what_cannot_be_stored_is_named_with_its_place(state: dict[str, object], place: str) -> None:
    with pytest.raises(TypeError, match=place):
        pack(state)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_bytes_are_refused(keep: int) -> None:
    data = pack({"weights": torch.ones(100)})
    with pytest.raises(CheckpointError, match="no checkpoint"):
        unpack(data[:keep])


def test_foreign_bytes_are_refused() -> None:
    from safetensors.torch import save

    for data in (b"PK\x03\x04 not a checkpoint at all", save({"weight": torch.ones(2)})):
        with pytest.raises(CheckpointError):
            unpack(data)
