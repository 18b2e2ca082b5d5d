"""Every format gives back the network it was made from, on every kind of layer there is."""

from __future__ import annotations

import dataclasses
import io
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from methods import artefact
from methods.contract import Normalization
from methods.data.normalise import normalise
from methods.export import FORMATS, Deployed, ExportMismatch, OnnxMissing, format_of, verify
from methods.export.onnx_model import read_onnx, write_onnx
from methods.export.verify import random_samples
from methods.networks.architecture import OPS, Architecture, Node
from methods.networks.graph import Network
from methods.surgery import deploy, extract
from tests.methods.networks.samples import HAND_BUILT, linear, random_inputs, sample_network

SAMPLES = (
    "resnet20",
    "small_cnn",
    "mlp",
    "lenet5",
    "resnet18",
    "vgg16",
    "mobilenet",
    *HAND_BUILT,
    "chance1",
    "chance2",
)


def deployed(name: str, *, normalised: bool = True) -> Deployed:
    data = artefact.encode(deploy(sample_network(name)))
    network = artefact.decode(data)
    channels = network.architecture.input_shape[0]
    normalization = Normalization(
        mean=tuple(0.4 + 0.1 * channel for channel in range(channels)),
        std=tuple(0.2 + 0.1 * channel for channel in range(channels)),
    )
    return Deployed(network, data, normalization if normalised else None)


def _skip_without_packages(kind: str) -> None:
    if kind == "onnx":
        pytest.importorskip("onnx")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_read_back_computes_the_same(name: str, kind: str) -> None:
    _skip_without_packages(kind)
    one = deployed(name)
    assert verify(FORMATS[kind].write(one), FORMATS[kind], one) < 1e-5


@pytest.mark.parametrize("kind", FORMATS)
def test_without_normalization_inputs_come_normalised(kind: str) -> None:
    _skip_without_packages(kind)
    one = deployed("small_cnn", normalised=False)
    assert not FORMATS[kind].takes_raw_inputs(one)
    run = FORMATS[kind].read(FORMATS[kind].write(one))
    x = random_inputs(one.network, seed=1)
    with torch.no_grad():
        torch.testing.assert_close(run(x), one.network(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_raw_bytes_scaled_to_one_give_what_evaluation_gives(kind: str) -> None:
    _skip_without_packages(kind)
    one = deployed("inception")
    assert one.normalization is not None
    images = torch.randint(0, 256, (5, *one.network.architecture.input_shape), dtype=torch.uint8)
    run = FORMATS[kind].read(FORMATS[kind].write(one))
    with torch.no_grad():
        expected = one.network(normalise(images, one.normalization))
        torch.testing.assert_close(run(images.float() / 255), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_a_single_mean_serves_all_channels(kind: str) -> None:
    _skip_without_packages(kind)
    one = dataclasses.replace(deployed("mobile"), normalization=Normalization((0.5,), (0.25,)))
    assert verify(FORMATS[kind].write(one), FORMATS[kind], one) < 1e-5


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_a_torch_program_takes_batches_of_any_size(samples: int) -> None:
    one = deployed("resnet20", normalised=False)
    program = torch.export.load(io.BytesIO(FORMATS["torch"].write(one))).module()
    x = random_inputs(one.network, seed=2, samples=samples)
    assert torch.equal(program(x), one.network(x))


@pytest.mark.parametrize("name", SAMPLES)
def test_an_onnx_model_runs_in_a_runtime_that_knows_nothing_of_this_package(name: str) -> None:
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    one = deployed(name)
    assert one.normalization is not None
    session = onnxruntime.InferenceSession(FORMATS["onnx"].write(one))
    for samples in (1, 4):
        raw = random_samples(one)[:samples]
        (logits,) = session.run(["logits"], {"input": raw.numpy()})
        with torch.no_grad():
            expected = one.network(normalise(raw, one.normalization)).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=1e-4)


def test_the_samples_hold_every_kind_of_layer() -> None:
    # Folding leaves normalisation only where it cannot be folded and no dropout, and cutting adds `select`.
    found = {node.op for name in SAMPLES for node in deployed(name).network.architecture.nodes}
    assert found == set(OPS) - {"dropout"}


def test_a_network_that_still_has_dropout_becomes_an_onnx_model_that_hands_its_inputs_on() -> None:
    pytest.importorskip("onnx")
    network = sample_network("tied")
    x = random_inputs(network, seed=0)
    with torch.no_grad():
        torch.testing.assert_close(read_onnx(write_onnx(network, None))(x), network(x), atol=1e-5, rtol=1e-5)


def test_a_channel_of_zeros_stays_so_in_onnx_where_its_source_is_not_finite() -> None:
    pytest.importorskip("onnx")
    nodes = (
        Node("input", "input"),
        Node("some", "select", ("input",), {"indices": [0, -1]}),
        linear("out", "some", (2, 1)),
    )
    network = Network(Architecture(nodes, (2,))).eval()
    with torch.no_grad():
        network.nodes["out"].weight.fill_(1.0)
    one = Deployed(network, b"", None)
    run = FORMATS["onnx"].read(FORMATS["onnx"].write(one))
    # The channel of zeros is read from the first one; times zero it would be no number.
    assert run(torch.tensor([[float("inf"), 1.0]])).tolist() == [[float("inf")]]


@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_equal_networks_give_equal_bytes(kind: str) -> None:
    _skip_without_packages(kind)
    assert FORMATS[kind].write(deployed("inception")) == FORMATS[kind].write(deployed("inception"))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_of_another_network_is_a_mismatch(kind: str) -> None:
    _skip_without_packages(kind)
    one = deployed("small_cnn")
    other = dataclasses.replace(one, network=_changed(one.network))
    data = FORMATS[kind].write(dataclasses.replace(other, artefact=artefact.encode(other.network)))
    with pytest.raises(ExportMismatch, match=f"format {kind}: read back, its outputs differ .* by up to [0-9]"):
        verify(data, FORMATS[kind], one)


def test_outputs_that_are_no_numbers_are_a_mismatch() -> None:
    one = deployed("small_cnn")
    broken = _changed(one.network, value=float("nan"))
    with pytest.raises(ExportMismatch, match="up to nan"):
        verify(artefact.save_network(broken), FORMATS["safetensors"], one)


def test_outputs_of_another_shape_are_a_mismatch() -> None:
    one = deployed("mlp")
    data = artefact.save_network(extract(one.network, {}, outputs=[0, 1]))
    with pytest.raises(ExportMismatch, match=r"shape \(8, 2\), the network \(8, 5\)"):
        verify(data, FORMATS["safetensors"], one)


@pytest.mark.parametrize("use", [FORMATS["onnx"].require, lambda: FORMATS["onnx"].write(deployed("mlp"))])
def test_without_onnx_the_command_that_installs_it_is_named(
    use: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name == "onnx" or name.startswith("onnx.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(OnnxMissing, match=r'pip install "paredown\[onnx\]"'):
        use()


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [("a.onnx", "onnx"), ("a.pt2", "torch"), ("a.safetensors", "safetensors"), ("a.safetensors.zst", "artefact")],
)
def test_the_suffix_of_a_file_names_its_format(file_name: str, expected: str) -> None:
    found = format_of(file_name)
    assert found is not None
    assert found.name == expected
    assert format_of("a.bin") is None


@torch.no_grad()
def _changed(network: Network, *, value: float = 3.0) -> Network:
    """The network with other biases in its last layer."""
    changed = artefact.load_network(artefact.save_network(network)).eval()
    list(changed.parameters())[-1].fill_(value)
    return changed
