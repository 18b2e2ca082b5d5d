from __future__ import annotations

import pickle

import pytest
import torch

from methods.cnn_decomposition import candidates
from methods.cnn_decomposition.candidates import CandidateRunner
from methods.cnn_decomposition.fitness import composition_accuracy
from methods.cnn_decomposition.layers import MaskedLayer, maskable_layers, site_masks, with_first_kernel
from methods.cnn_decomposition.sensitivity import RATIOS, layer_sensitivity, sensitive_layers
from methods.measure.predict import predict
from methods.networks.graph import Network
from methods.surgery import extract
from methods.tasks import PreparedTask
from methods.training.config import TrainingConfig
from methods.training.loop import train
from tests.methods.small_tasks import Recorder, a_task


@pytest.fixture(scope="module")
def task() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=20, fraction=0.4, validation_share=0.3, precision="float32")


@pytest.fixture(scope="module")
def network(task: PreparedTask) -> Network:
    return train(task.network(), task, config=TrainingConfig(), epochs=10, monitor=Recorder()).eval()


def _random_kept(layers: tuple[MaskedLayer, ...], rows: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return with_first_kernel([torch.rand(rows, layer.kernels, generator=generator) < 0.6 for layer in layers])[0]


@pytest.mark.parametrize("cut_above", [0.0, 1e18], ids=["cut first", "stacked"])
def test_candidates_have_the_logits_of_the_networks_cut_to_them(
    network: Network, task: PreparedTask, cut_above: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_CUT_ABOVE_MACS", cut_above)
    monkeypatch.setattr(candidates, "_STACKED_ROWS", 700)
    layers = maskable_layers(network.architecture)
    kept = _random_kept(layers, 7)
    classes = torch.tensor([0, 3, 9, 9, 1, 2, 5])
    found = CandidateRunner(network, layers, task.validation, task).class_logits(kept, classes)
    assert found.dtype == torch.float16
    masks = site_masks(network.architecture, layers, kept)
    for row, label in enumerate(classes.tolist()):
        module = extract(network, [mask[row] for mask in masks])
        expected = predict(module, task.validation, normalization=task.normalization, device="cpu")[:, label]
        torch.testing.assert_close(found[row].float(), expected, rtol=2e-3, atol=2e-3)


def test_half_precision_keeps_the_ranking_of_compositions(network: Network, task: PreparedTask) -> None:
    """bfloat16 arithmetic and float16 storage against float32 throughout."""
    layers = maskable_layers(network.architecture)
    kept = [mask.repeat_interleave(10, dim=0) for mask in _random_kept(layers, 12)]
    classes = torch.arange(10).repeat(12)
    rough_task = a_task("digits", "small_cnn", epochs=20, fraction=0.4, validation_share=0.3, precision="bfloat16")
    accuracies = []
    for one in (task, rough_task):
        logits = CandidateRunner(network, layers, one.validation, one).class_logits(kept, classes)
        compositions = logits.view(12, 10, -1)
        accuracies.append(torch.tensor([composition_accuracy(c.T, one.validation.targets) for c in compositions]))
    exact, rough = accuracies
    assert (exact - rough).abs().max() <= 2.5 / len(task.validation)
    assert float(torch.corrcoef(torch.stack([exact, rough]))[0, 1]) > 0.99


def test_logits_beyond_half_precision_are_cut_down(network: Network, task: PreparedTask) -> None:
    large = Network(network.architecture)
    large.load_state_dict(network.state_dict())
    large.eval()
    with torch.no_grad():
        list(large.parameters())[-2].mul_(1e6)
    layers = maskable_layers(network.architecture)
    kept = [torch.ones(2, layer.kernels, dtype=torch.bool) for layer in layers]
    found = CandidateRunner(large, layers, task.validation, task).class_logits(kept, torch.tensor([0, 1]))
    assert bool(torch.isfinite(found).all())
    assert float(found.abs().max()) > 5e4


def test_a_runner_in_another_process_gives_the_same(network: Network, task: PreparedTask) -> None:
    layers = maskable_layers(network.architecture)
    kept, classes = _random_kept(layers, 5), torch.arange(5)
    runner = CandidateRunner(network, layers, task.validation, task)
    copied = pickle.loads(pickle.dumps(runner))
    assert torch.equal(runner.class_logits(kept, classes), copied.class_logits(kept, classes))


def test_sensitivity_is_the_accuracy_with_few_kernels_in_one_layer(network: Network, task: PreparedTask) -> None:
    layers = maskable_layers(network.architecture)
    runner = CandidateRunner(network, layers, task.validation, task)
    labels = task.validation.targets
    generator = torch.Generator().manual_seed(1)
    importance = [torch.rand(10, layer.kernels, generator=generator) for layer in layers]
    table = layer_sensitivity(runner, labels, layers, importance)
    assert table.shape == (2, len(RATIOS))
    logits = predict(network, task.validation, normalization=task.normalization, device="cpu")
    assert table[:, -1].tolist() == pytest.approx([composition_accuracy(logits, labels)] * 2, abs=0.01)
    # Layer 1 at ratio 0.5, by hand.
    half = int(0.5 * layers[1].kernels)
    columns = []
    for label in range(10):
        keep = {layers[1].sites[0]: torch.zeros(layers[1].kernels, dtype=torch.bool)}
        keep[layers[1].sites[0]][importance[1][label].argsort(descending=True)[:half]] = True
        columns.append(
            predict(extract(network, keep), task.validation, normalization=task.normalization, device="cpu")[:, label]
        )
    assert float(table[1, 4]) == pytest.approx(composition_accuracy(torch.stack(columns, dim=1), labels), abs=0.01)


def test_layers_that_lose_more_than_the_mean_are_sensitive() -> None:
    table = torch.tensor([[0.2, 0.5, 0.9], [0.8, 0.9, 0.9], [0.1, 0.3, 0.9]])
    assert sensitive_layers(table) == (0, 2)
    assert sensitive_layers(torch.full((3, 4), 0.9)) == ()
