import pytest
import torch

from methods.contract import Normalization
from methods.measure import count_macs, count_parameters
from methods.measure.quality import classification_quality
from methods.modules.patching import calibration_range, patched, patched_scores, replacing_layer, unpatched
from methods.modules.picks import ModulePick, module_reading
from methods.networks.graph import Network
from tests.methods.modules.libraries import beside, drawn_library
from tests.methods.networks.samples import sample_network

SAMPLE = torch.arange(6, dtype=torch.float64)
WEAK = 2 * torch.sin(SAMPLE[:, None] + 1.5 * torch.arange(3))
MODULE = 5 * torch.cos(1.1 * SAMPLE) + 1
LABELS = torch.tensor([2, 0, 0, 2, 1, 2])


def test_a_patched_network_has_the_values_worked_out() -> None:
    found = calibration_range(2 + 3 * torch.sin(2 * torch.arange(9, dtype=torch.float64)))
    assert found == pytest.approx((-0.270407, 4.971822), abs=5e-7)
    scores = patched_scores(WEAK, MODULE, target=2, calibration=found)
    assert scores[0].tolist() == pytest.approx([0.103325, 0.759657, 1.196134], abs=5e-7)
    assert scores[3].tolist() == pytest.approx([0.650197, 0.069406, -0.699510], abs=5e-7)
    before, after = WEAK.argmax(dim=1), scores.argmax(dim=1)
    assert before.tolist() == [1, 0, 0, 0, 2, 2]
    assert after.tolist() == [2, 2, 0, 0, 1, 2]
    for predicted, expected in ((before, [0.5, 1 / 3, 0.4]), (after, [2 / 3] * 3)):
        quality = classification_quality(predicted, LABELS, class_names=("a", "b", "target")).per_class["target"]
        assert [quality["precision"], quality["recall"], quality["f1"]] == pytest.approx(expected)


def test_the_weak_network_is_left_alone_but_for_the_target() -> None:
    scores = patched_scores(WEAK, MODULE, target=0, calibration=(0.0, 2.0))
    assert torch.equal(scores[:, 1:], torch.softmax(WEAK, dim=1)[:, 1:])
    assert torch.equal(scores[:, 0], MODULE / 2)


def test_what_cannot_be_patched_is_refused() -> None:
    with pytest.raises(ValueError, match="without two different ones"):
        calibration_range(torch.ones(3))
    with pytest.raises(ValueError, match="no class 3; the weak network has 0 to 2"):
        patched_scores(WEAK, MODULE, target=3, calibration=(0.0, 1.0))
    with pytest.raises(ValueError, match="give \\(samples, classes\\) and \\(samples,\\)"):
        patched_scores(WEAK, MODULE[:2], target=0, calibration=(0.0, 1.0))


GIVEN, OTHER = Normalization(mean=(0.4,), std=(0.2,)), Normalization(mean=(0.1,), std=(0.5,))


def _weak_and_module(way: str) -> tuple[Network, Network]:
    library = drawn_library(sample_network("small_cnn", seed=1), seed=1)
    if way != "union":
        library = beside(library, heads=way == "heads")
    module = module_reading(ModulePick(library, library.class_names[3], OTHER), GIVEN)
    return sample_network("resnet20", seed=2).eval(), module.eval()


@pytest.mark.parametrize("way", ["union", "side_by_side", "heads"])
def test_the_network_computes_the_scores_of_the_formula(way: str) -> None:
    weak, module = _weak_and_module(way)
    x = torch.randn(7, *weak.architecture.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        score = module(x)[:, 0].sigmoid() if way == "heads" else module(x)[:, 0]
        found = (0.2, 1.7)
        layer = replacing_layer(5, target=4, calibration=found, squashed=way == "heads")
        scores = patched(weak, module, layer).eval()(x)
        expected = patched_scores(weak(x), score, target=4, calibration=found)
    torch.testing.assert_close(scores, layer.scores(weak(x), module(x)[:, 0]))
    # The width of the range is rounded to float16.
    torch.testing.assert_close(scores, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("low", "high"), [(0.9876, 0.99957), (0.9971, 0.9998), (0.9991, 0.99993), (-41.3, -40.9)])
def test_a_narrow_range_survives_the_stored_form(low: float, high: float) -> None:
    layer = replacing_layer(5, target=1, calibration=(low, high), squashed=False)
    probabilities = torch.softmax(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    read = torch.cat([probabilities, torch.tensor([[low], [(low + high) / 2], [high]])], dim=1)
    scores = torch.nn.functional.linear(read, layer.weight.half().float(), layer.bias.half().float())
    assert scores[:, 1].tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-3)
    others = [0, 2, 3, 4]
    assert torch.equal(scores[:, others], probabilities[:, others])


def test_a_patch_costs_the_module_and_one_layer() -> None:
    weak, module = _weak_and_module("union")
    shape = weak.architecture.input_shape
    network = patched(weak, module, replacing_layer(5, target=0, squashed=False))
    assert count_parameters(network) == count_parameters(weak) + count_parameters(module) + 5 * 7
    assert count_macs(network, shape) == count_macs(weak, shape) + count_macs(module, shape) + 5 * 6


@pytest.mark.parametrize("way", ["union", "heads"])
def test_a_patch_comes_off_bit_for_bit(way: str) -> None:
    weak, module = _weak_and_module(way)
    network = patched(weak, module, replacing_layer(5, target=2, squashed=way == "heads"))
    restored = unpatched(network)
    assert restored.architecture == weak.architecture
    state = restored.state_dict()
    assert state.keys() == weak.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in weak.state_dict().items())
    with pytest.raises(ValueError, match="was not patched"):
        unpatched(weak)


def test_parts_that_do_not_fit_are_refused() -> None:
    weak, module = _weak_and_module("union")
    with pytest.raises(ValueError, match=r"layer of shape \(4, 5\) for a weak network of 5 classes"):
        patched(weak, module, replacing_layer(4, target=0, squashed=False))
    with pytest.raises(ValueError, match="a module of 5 outputs"):
        patched(weak, weak, replacing_layer(5, target=0, squashed=False))
    with pytest.raises(ValueError, match="no class 5"):
        replacing_layer(5, target=5, squashed=False)
    with pytest.raises(ValueError, match="inputs of shape"):
        patched(sample_network("vgg16", seed=0), module, replacing_layer(5, target=0, squashed=False))
