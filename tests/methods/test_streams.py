"""Streams give back the tensors that they were made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.streams import StreamError, decode_gaps, encode_gaps, fill_from_streams, to_streams


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 3), st.integers(250, 260), st.integers(0, 5000)), max_size=60))
def test_gaps_of_any_length_survive(gaps: list[int]) -> None:
    positions = np.cumsum(np.array([0, *gaps], dtype=np.int64) + 1)[1:] - 2 if gaps else np.empty(0, dtype=np.int64)
    assert np.array_equal(decode_gaps(encode_gaps(positions)), positions)


def test_gap_bytes_are_those_of_the_documented_format() -> None:
    positions = np.array([0, 1, 256, 512, 1278])
    # Zeros in front of each: 0, 0, 254, 255 and 765 = 3 * 255 + 0.
    assert encode_gaps(positions).tolist() == [0, 0, 254, 255, 0, 255, 255, 255, 0]


def test_each_tensor_takes_the_form_that_costs_fewest_bytes() -> None:
    state = {
        "dense": torch.ones(6),
        "sparse": torch.tensor([0.0, 0.0, 0.0, 0.0, 2.0, 0.0]),
        "huge": torch.tensor([1e6]),
        "count": torch.tensor(3),
    }
    streams, forms = to_streams(state)
    assert forms == ["half", 1, "float", "integer"]
    assert streams["gaps"].tolist() == [4]
    filled = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    fill_from_streams(filled, streams, forms)
    assert all(torch.equal(filled[name], tensor) for name, tensor in state.items())
    with pytest.raises(StreamError, match="list of forms"):
        fill_from_streams(filled, streams, forms[:-1])
