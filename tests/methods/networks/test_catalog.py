"""What the catalog promises: names and arguments are checked without torch, sizes are those of the papers."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from typing import Any

import pytest

from methods.networks.architecture import Architecture
from methods.networks.catalog import check_input, check_network, design_network, network_names
from methods.networks.ties import convolution_sites


def test_catalog_loads_no_torch() -> None:
    code = "import sys, methods.networks.catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def sizes(architecture: Architecture) -> tuple[int, int, int, int]:
    """Weights of convolutions and linear layers, other parameters, statistics, multiply-accumulates."""
    weights = others = statistics = macs = 0
    for node in architecture.nodes:
        settings = node.settings
        if node.op in ("conv2d", "linear"):
            outputs = settings["out_channels" if node.op == "conv2d" else "out_features"]
            reads = settings["in_features"] if node.op == "linear" else settings["in_channels"] // settings["groups"]
            reads *= math.prod(node.pair("kernel_size")) if node.op == "conv2d" else 1
            weights += outputs * reads
            others += outputs * settings["bias"]
            macs += math.prod(architecture.shapes[node.name]) * reads
        elif node.op == "batch_norm":
            others += 2 * settings["features"]
            statistics += 2 * settings["features"]
    return weights, others, statistics, macs


@pytest.mark.parametrize(
    ("classes", "size", "weights", "others", "million_macs"),
    [(10, 32, 1_855_584, 4_938, 275.6), (100, 32, 1_867_104, 5_028, 275.6), (200, 64, 1_879_904, 5_128, 1102.5)],
)
def test_doubled_resnet32_has_the_sizes_of_the_hypersparse_authors(
    classes: int, size: int, weights: int, others: int, million_macs: float
) -> None:
    found = sizes(design_network("resnet32_double", input_shape=(3, size, size), num_outputs=classes))
    assert found[:3] == (weights, others, 4_928)
    assert round(found[3] / 1e6, 1) == million_macs


@pytest.mark.parametrize(
    ("classes", "size", "weights", "others", "million_macs"),
    [(10, 32, 20_024_000, 16_522, 398.1), (100, 32, 20_070_080, 16_612, 398.2), (200, 64, 20_121_280, 16_712, 1592.6)],
)
def test_vgg19_has_the_sizes_of_the_hypersparse_authors(
    classes: int, size: int, weights: int, others: int, million_macs: float
) -> None:
    architecture = design_network("vgg19_bn", input_shape=(3, size, size), num_outputs=classes)
    found = sizes(architecture)
    assert found[:3] == (weights, others, 11_008)
    assert round(found[3] / 1e6, 1) == million_macs
    assert architecture.shapes["stage5_4_relu"] == (512, size // 16, size // 16), "what the mean is taken over"
    assert sum(node.op in ("conv2d", "linear") for node in architecture.nodes) == 17, "19 less two linear layers"


@pytest.mark.parametrize(
    ("name", "parameters", "parameters_of_100", "million_macs", "layers", "units"),
    [
        ("vgg16", 33_646_666, 34_015_396, 332.1, 15, 12_416),
        # By hand: 14,723,136 below the head, then 513 * 512 twice and 513 for each class; 332,111,872 MACs less those
        # of the wide head, 512 * 4096 + 4096 * 4096 + 4096 * 10, plus 2 * 512 * 512 + 512 * 10.
        ("vgg16_512", 15_253_578, 15_299_748, 313.7, 15, 5_248),
        ("resnet18", 11_173_962, 11_220_132, 555.4, 17, 3_904),
        ("mobilenet", 3_217_226, 3_309_476, 46.4, 27, 10_944),
        # By hand: 76 * 6, 151 * 16, 401 * 120, 121 * 84, 85 for each class; 75 * 6 * 28 * 28, 150 * 16 * 10 * 10 and
        # 400 * 120 + 120 * 84 + 84 * 10 MACs.
        ("lenet5", 62_006, 69_656, 0.7, 4, 226),
    ],
)
def test_networks_of_activation_driven_modularity_have_their_published_sizes(
    name: str, parameters: int, parameters_of_100: int, million_macs: float, layers: int, units: int
) -> None:
    architecture = design_network(name, input_shape=(3, 32, 32), num_outputs=10)
    weights, others, _, macs = sizes(architecture)
    assert weights + others == parameters
    assert round(macs / 1e6, 1) == million_macs
    assert sum(sizes(design_network(name, input_shape=(3, 32, 32), num_outputs=100))[:2]) == parameters_of_100
    sites = [architecture.shapes[node.name][0] for node in architecture.nodes if node.op == "relu"]
    assert (len(sites), sum(sites)) == (layers, units)


def test_vgg16_reads_every_position_that_its_last_pooling_leaves() -> None:
    for size, features in [(32, 512), (63, 512), (64, 2048), (224, 25_088)]:
        shapes = design_network("vgg16", input_shape=(3, size, size), num_outputs=10).shapes
        assert shapes["flatten"] == (features,)


DECOMPOSED = {
    "simcnn_cnnsplitter": (4224, 15_245_130, 313_725_952),
    "simcnn_gradsplitter": (4224, 33_646_666, 332_111_872),
    "rescnn_cnnsplitter": (4288, 16_010_122, 431_166_464),
    "rescnn_gradsplitter": (4288, 16_018_698, 431_166_464),
    "incecnn_gradsplitter": (3200, 12_637_898, 1_016_605_312),
}
"""Kernels, parameters and multiply-accumulates for ten classes and 32x32 pixels, as the papers have them."""


@pytest.mark.parametrize("name", DECOMPOSED)
def test_networks_of_the_papers_on_decomposition_have_their_published_sizes(name: str) -> None:
    architecture = design_network(name, input_shape=(3, 32, 32), num_outputs=10)
    weights, others, _, macs = sizes(architecture)
    widths = [architecture.shapes[node.name][0] for node in architecture.nodes if node.op == "relu"]
    kernels = sum(widths[index] for index in convolution_sites(architecture))
    assert (kernels, weights + others, macs) == DECOMPOSED[name]


@pytest.mark.parametrize(
    ("name", "before", "after", "probability"),
    [
        ("simcnn_cnnsplitter", ["flatten", "hidden1_relu"], ["hidden1", "hidden2"], 0.5),
        ("simcnn_gradsplitter", ["flatten", "hidden1_relu"], ["hidden1", "hidden2"], 0.5),
        ("rescnn_cnnsplitter", ["flatten"], ["classifier"], 0.4),
        ("rescnn_gradsplitter", ["flatten"], ["classifier"], 0.5),
        ("incecnn_gradsplitter", ["pool"], ["classifier"], 0.4),
    ],
)
def test_dropout_stands_where_the_authors_have_it(
    name: str, before: list[str], after: list[str], probability: float
) -> None:
    nodes = design_network(name, input_shape=(3, 32, 32), num_outputs=10).nodes
    found = [node for node in nodes if node.op == "dropout"]
    assert [node.inputs for node in found] == [(source,) for source in before]
    assert [node.settings["probability"] for node in found] == [probability] * len(before)
    readers = {node.name: node.inputs for node in nodes}
    assert [readers[name] for name in after] == [(node.name,) for node in found]


def test_rescnn_adds_the_pooled_output_of_one_relu_to_that_of_another() -> None:
    architecture = design_network("rescnn_gradsplitter", input_shape=(3, 32, 32), num_outputs=10)
    nodes = {node.name: node for node in architecture.nodes}
    for total, own, pool, early in [(3, 3, 1, 1), (7, 7, 3, 5), (11, 11, 5, 9)]:
        assert nodes[f"sum{total}"].inputs == (f"conv{own}_relu", f"pool{pool}")
        assert nodes[f"pool{pool}"].inputs == (f"conv{early}_relu",)
    assert nodes["conv4"].inputs == ("sum3",), "no ReLU after the sum"
    assert architecture.shapes["sum11"] == (512, 1, 1)


def test_incecnn_joins_three_branches_of_one_source() -> None:
    architecture = design_network("incecnn_gradsplitter", input_shape=(3, 32, 32), num_outputs=10)
    nodes = {node.name: node for node in architecture.nodes}
    assert [architecture.shapes[f"block{block}"] for block in (1, 2, 3)] == [(576, 16, 16), (1088, 8, 8), (1088, 4, 4)]
    for block in (1, 2, 3):
        assert nodes[f"block{block}"].inputs == tuple(f"block{block}_{kernel}x{kernel}_relu" for kernel in (1, 3, 5))
        for kernel in (1, 3, 5):
            assert nodes[f"block{block}_{kernel}x{kernel}"].inputs == (f"pool{block}",)


def test_widths_of_decomposed_networks_can_be_chosen_one_by_one() -> None:
    chosen = {
        "simcnn_cnnsplitter": {"stages": [2, 3, 4, 5, 6], "hidden": [7, 8]},
        "rescnn_gradsplitter": {"stages": [2, 3, 4, 5]},
        "incecnn_gradsplitter": {"stem": [2, 3, 4], "branches": list(range(1, 10))},
    }
    wanted = {
        "simcnn_cnnsplitter": [2, 2, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6, 7, 8],
        "rescnn_gradsplitter": [2, 3, 3, 3, 4, 5, 5, 5, 5, 5, 5, 5],
        "incecnn_gradsplitter": [2, 3, 4, *range(1, 10)],
    }
    for name, arguments in chosen.items():
        architecture = design_network(name, input_shape=(3, 32, 32), num_outputs=10, arguments=arguments)
        widths = [architecture.shapes[node.name][0] for node in architecture.nodes if node.op == "relu"]
        assert widths == wanted[name]


@pytest.mark.parametrize(
    ("name", "pool"), [("simcnn_gradsplitter", 5), ("rescnn_cnnsplitter", 5), ("incecnn_gradsplitter", 3)]
)
def test_images_that_decomposed_networks_halve_away_are_refused_by_name(name: str, pool: int) -> None:
    too_small = 2**pool - 1
    message = rf"'pool{pool}' \(max_pool\): images of height 1 are too small for a window of 2; use larger"
    with pytest.raises(ValueError, match=message):
        design_network(name, input_shape=(3, too_small, 64), num_outputs=10)
    design_network(name, input_shape=(3, too_small + 1, 64), num_outputs=10)


DIGESTS = {
    "small_cnn": "2421d9a530280f6c",
    "mlp": "b60bec7bca25e2c0",
    "resnet20": "112fb49c50dc3e9d",
    "resnet32": "380b43fd3fb8e60e",
    "resnet56": "ed2b00194a23d138",
    "resnet32_double": "033f8854b721fa8d",
    "vgg19_bn": "be7ee9f8c3437167",
    "vgg16": "ee6e8d30339d45ed",
    "vgg16_512": "82e7a9cf6cf23bf4",
    "simcnn_cnnsplitter": "ee2b0e0ef87efd7b",
    "simcnn_gradsplitter": "bacb69b074063b74",
    "rescnn_cnnsplitter": "a82cefd4a544d4df",
    "rescnn_gradsplitter": "9939897688d97a05",
    "incecnn_gradsplitter": "1e9645c630f82a06",
}
"""Of architectures for CIFAR-10 as stored results and artefacts hold them: the name of a node never changes."""


@pytest.mark.parametrize("name", DIGESTS)
def test_architectures_stay_as_stored_results_know_them(name: str) -> None:
    architecture = design_network(name, input_shape=(3, 32, 32), num_outputs=10)
    assert hashlib.sha256(json.dumps(architecture.to_json()).encode()).hexdigest()[:16] == DIGESTS[name]


def test_resnets_have_their_depth() -> None:
    for name, depth, shortcuts in [("resnet18", 18, 3), ("resnet20", 20, 2), ("resnet32", 32, 2), ("resnet56", 56, 2)]:
        nodes = design_network(name, input_shape=(3, 32, 32), num_outputs=10).nodes
        layers = [node for node in nodes if node.op in ("conv2d", "linear") and "shortcut" not in node.name]
        assert len(layers) == depth
        assert sum("shortcut" in node.name and node.op == "conv2d" for node in nodes) == shortcuts


@pytest.mark.parametrize("name", network_names())
def test_width_scales_every_inner_layer_and_never_to_nothing(name: str) -> None:
    def outputs(width: float) -> list[Any]:
        nodes = design_network(name, input_shape=(1, 32, 32), num_outputs=3, width=width).nodes
        return [node.settings.get("out_channels", node.settings.get("out_features", 0)) for node in nodes[:-1]]

    full = outputs(1.0)
    assert outputs(0.5) == [count // 2 for count in full]
    assert outputs(1e-9) == [min(count, 1) for count in full]
    assert outputs(2.0) == [2 * count for count in full]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet21", {}, "unknown network 'resnet21'; known: small_cnn, mlp, lenet5, resnet18, resnet20"),
        ("resnet20", {"depth": 8}, "network 'resnet20' has no argument 'depth'; it takes none."),
        ("mlp", {"width": [3]}, "network 'mlp' has no argument 'width'; it takes: widths. Did you mean 'widths'?"),
        ("mlp", {"widths": []}, "network 'mlp': widths must be a list of whole numbers from 1, not []"),
        ("mlp", {"widths": [8, 0]}, "widths must be a list of whole numbers from 1, not [8, 0]"),
        ("mlp", {"widths": 8}, "widths must be a list of whole numbers from 1, not 8"),
        (
            "simcnn_gradsplitter",
            {"stages": [8, 8, 8]},
            "network 'simcnn_gradsplitter': stages must be a list of 5 whole numbers from 1, not [8, 8, 8]",
        ),
        (
            "incecnn_gradsplitter",
            {"branches": [8, 8, 8, 8, 8, 8]},
            "branches must be a list of 9 whole numbers from 1, not [8, 8, 8, 8, 8, 8]",
        ),
        ("rescnn_cnnsplitter", {"hidden": [8]}, "has no argument 'hidden'; it takes: stages."),
        ("small_cnn", {"hidden": True}, "hidden must be a whole number from 1, not True"),
    ],
)
def test_wrong_names_and_arguments_say_how_to_mend_them(name: str, arguments: dict[str, Any], message: str) -> None:
    (fault,) = check_network(name, arguments)
    assert message in fault
    with pytest.raises(ValueError, match="network"):
        design_network(name, input_shape=(1, 8, 8), num_outputs=2, arguments=arguments)


def test_all_faults_are_shown_at_once() -> None:
    assert len(check_network("small_cnn", {"hidden": 0, "channels": "many", "depth": 3})) == 3
    assert check_network("small_cnn", {"hidden": 8, "channels": [4, 4, 4]}) == []


def test_convolutional_networks_refuse_tables_and_tiny_images() -> None:
    (fault,) = check_input("resnet20", (4,))
    assert fault == "network 'resnet20' needs images, and the inputs are 4 numbers each; use 'mlp'"
    assert check_input("mlp", (4,)) == []
    with pytest.raises(ValueError, match="needs images"):
        design_network("small_cnn", input_shape=(4,), num_outputs=2)
    with pytest.raises(ValueError, match=r"'pool2' \(max_pool\): images of height 1 are too small for a window of 2"):
        design_network("small_cnn", input_shape=(1, 3, 3), num_outputs=2)
    with pytest.raises(ValueError, match="width must be above 0"):
        design_network("mlp", input_shape=(4,), num_outputs=2, width=0.0)
