"""What the JSON form promises: it comes back as it was, and nonsense is refused with the node at fault."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from methods.networks.architecture import Architecture, Node
from methods.networks.catalog import design_network, network_names
from tests.methods.networks.samples import HAND_BUILT, drawn_by_chance


@pytest.mark.parametrize("name", [*network_names(), *HAND_BUILT])
def test_architecture_survives_json(name: str) -> None:
    if name in HAND_BUILT:
        architecture = HAND_BUILT[name]()
    else:
        architecture = design_network(name, input_shape=(3, 32, 32), num_outputs=7)
    read = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
    assert read == architecture
    assert read.shapes == architecture.shapes


def test_drawn_architectures_survive_json() -> None:
    for seed in range(20):
        architecture = drawn_by_chance(seed)
        assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture


def test_shapes_follow_from_the_graph() -> None:
    shapes = HAND_BUILT["inception"]().shapes
    assert shapes["left"] == (4, 6, 6)
    assert shapes["joined"] == (15, 6, 6)
    assert shapes["shrunk"] == (15, 3, 3)
    assert shapes["flat"] == (135,)
    assert shapes["out"] == (5,)


def entry(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry for entry in document["nodes"] if entry["name"] == name)
    return found


@pytest.mark.parametrize(
    ("node", "change", "message"),
    [
        ("r1", {"op": "gelu"}, r"'r1': unknown op 'gelu'; known: input, conv2d"),
        ("r1", {"inputs": ["n7"]}, r"'r1': input 'n7' is not an earlier node"),
        ("r1", {"inputs": []}, r"'r1' \(relu\): takes one input, not 0"),
        ("r1", {"name": "n1"}, r"'n1': names are unique"),
        ("r1", {"name": "r.1"}, r"'r.1': names are unique, of letters"),
        ("r1", {"op": "input", "inputs": []}, r"'r1': the first node, and no other"),
        ("out", {"inputs": ["hidden"]}, r"'hidden_relu': no later node reads it"),
        ("joined", {"inputs": ["left_relu", "flat"]}, r"'flat' is not an earlier node"),
        ("joined", {"op": "add"}, r"'joined' \(add\): needs two or more inputs .* of one shape"),
        ("flat", {"op": "relu"}, r"'hidden' \(linear\): needs a vector, .*; put flatten or global_avg_pool before it"),
    ],
)
def test_damaged_graph_is_refused_with_the_node(node: str, change: dict[str, Any], message: str) -> None:
    document = HAND_BUILT["inception"]().to_json()
    entry(document, node).update(change)
    with pytest.raises(ValueError, match=message):
        Architecture.from_json(document)


@pytest.mark.parametrize(
    ("node", "change", "message"),
    [
        ("c1", {"in_channels": 3}, r"'c1' \(conv2d\): in_channels is 3 but its input has 2 channels"),
        ("c1", {"out_channels": 0}, r"'c1' \(conv2d\): setting 'out_channels' cannot be 0"),
        ("c1", {"groups": 4}, r"'c1' \(conv2d\): 4 groups divide"),
        ("c1", {"dilation": 2}, r"'c1' \(conv2d\): setting 'dilation' cannot be 2"),
        ("c1", {"kernel_size": 9}, r"'c1' \(conv2d\): images of height 6 are too small for a window of 9; use larger"),
        ("c1", {"kernel_size": [3, 3, 3]}, r"'kernel_size' cannot be \[3, 3, 3\]"),
        ("c1", {"bias": "yes"}, r"'bias' cannot be 'yes'"),
        ("n1", {"features": 5}, r"'n1' \(batch_norm\): features is 5 but its input has 6 channels"),
        ("hidden", {"in_features": 1}, r"'hidden' \(linear\): in_features is 1 but its input has 135"),
        ("c1", {"probability": 0.5}, r"'c1' \(conv2d\): setting 'probability' cannot be 0.5"),
        ("shrunk", {"padding": 2}, r"'shrunk' \(max_pool\): padding 2 is more than half the window of 3"),
    ],
)
def test_wrong_setting_is_refused_with_the_node(node: str, change: dict[str, Any], message: str) -> None:
    document = copy.deepcopy(HAND_BUILT["inception"]().to_json())
    entry(document, node)["settings"].update(change)
    with pytest.raises(ValueError, match=message):
        Architecture.from_json(document)


@pytest.mark.parametrize("probability", [0.0, 1.0, 0, -0.5, True, "half", float("nan")])
def test_dropout_of_nothing_or_everything_is_refused(probability: object) -> None:
    document = HAND_BUILT["tied"]().to_json()
    entry(document, "head_dropout")["settings"]["probability"] = probability
    with pytest.raises(ValueError, match=r"'head_dropout' \(dropout\): setting 'probability' cannot be"):
        Architecture.from_json(document)


def test_logits_are_not_dropped() -> None:
    nodes = (Node("input", "input"), Node("d", "dropout", ("input",), {"probability": 0.5}))
    with pytest.raises(ValueError, match=r"'d': the last node gives the logits, so it cannot be dropout; leave it out"):
        Architecture(nodes, (3,))


def test_missing_setting_and_wrong_index_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'a' \(linear\): setting 'out_features' is missing"):
        Architecture((Node("input", "input"), Node("a", "linear", ("input",), {"in_features": 2})), (2,))
    with pytest.raises(ValueError, match=r"'a' \(select\): index 2 is beyond the 2 channels"):
        Architecture((Node("input", "input"), Node("a", "select", ("input",), {"indices": [0, 2]})), (2,))


@pytest.mark.parametrize("document", [None, [], {}, {"format": 2}, {"format": 1}, {"format": 1, "nodes": [{}]}])
def test_foreign_document_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match=r"not an architecture|damaged architecture"):
        Architecture.from_json(document)


def test_images_must_end_in_a_vector() -> None:
    with pytest.raises(ValueError, match=r"'r': the last node must give a vector of logits"):
        Architecture((Node("input", "input"), Node("r", "relu", ("input",))), (1, 2, 2))
