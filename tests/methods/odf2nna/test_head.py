"""The dense head is found, read and made smaller wherever it is."""

from __future__ import annotations

import pytest
import torch

from methods.networks.catalog import design_network
from methods.networks.dense_head import find_head
from methods.odf2nna.head import head_inputs, head_weights, with_head
from methods.odf2nna.rebuild import rebuild
from methods.odf2nna.statistics import head_statistics
from methods.training.batches import plain_batches
from tests.methods.small_tasks import a_task


def test_heads_of_the_catalog() -> None:
    mlp = find_head(design_network("mlp", input_shape=(4,), num_outputs=3, arguments={"widths": [8, 5]}))
    assert mlp is not None
    assert mlp.layers == ("hidden1", "hidden2", "classifier")
    assert mlp.sites == ("hidden1_relu", "hidden2_relu")
    assert mlp.widths == (4, 8, 5, 3)
    cnn = find_head(design_network("small_cnn", input_shape=(1, 8, 8), num_outputs=10))
    assert cnn is not None
    assert cnn.widths == (128, 64, 10)
    assert find_head(design_network("resnet20", input_shape=(3, 32, 32), num_outputs=10)) is None
    behind_dropout = find_head(design_network("simcnn_cnnsplitter", input_shape=(3, 32, 32), num_outputs=10))
    assert behind_dropout is not None
    assert behind_dropout.layers == ("hidden2", "classifier"), "dropout between two layers ends the chain"


@pytest.mark.parametrize(("source", "network"), [("iris", "mlp"), ("digits", "small_cnn")])
def test_a_smaller_head_computes_what_the_pure_function_says(source: str, network: str) -> None:
    task = a_task(source, network, epochs=1)
    whole = task.network().eval()
    head = find_head(whole.architecture)
    assert head is not None
    generator = torch.Generator().manual_seed(0)
    keep = [torch.rand(width, generator=generator) < 0.4 for width in head.widths[1:-1]]
    weights, biases = head_weights(whole, head)
    inputs, _ = next(iter(plain_batches(task.validation, batch_size=64, normalization=task.normalization)))
    features = head_inputs(whole, head, inputs)
    expected_weights, expected_biases = rebuild(weights, biases, keep, transfer="fold", inputs=features)

    shifted = [biases[0] + 0.25, *biases[1:]]
    smaller = with_head(whole, head, keep, shifted)
    new_head = find_head(smaller.architecture)
    assert new_head is not None
    assert new_head.widths == (head.widths[0], *(int(k.sum()) for k in keep), head.widths[-1])
    found_weights, found_biases = head_weights(smaller, new_head)
    assert all(torch.equal(one, other) for one, other in zip(found_weights, expected_weights, strict=True))
    assert torch.equal(found_biases[0], expected_biases[0] + 0.25)
    assert torch.equal(head_weights(whole, head)[1][0], biases[0]), "the given network was changed"


def test_statistics_are_those_of_all_activations_at_once() -> None:
    task = a_task("wine", "mlp", widths=[16, 8], epochs=1)
    network = task.network()
    head = find_head(network.architecture)
    assert head is not None
    inputs, targets = next(iter(plain_batches(task.train, batch_size=10_000, normalization=task.normalization)))
    hidden = network.eval().run(inputs, record=True).activations["hidden2_relu"].double()
    found = head_statistics(network, head, task, statistic="std", balanced=False)
    assert torch.allclose(found.mean[1], hidden.mean(dim=0))
    assert torch.allclose(found.variability[1], hidden.std(dim=0, correction=0))
    spans = head_statistics(network, head, task, statistic="range", balanced=False).variability[1]
    assert torch.equal(spans, hidden.max(dim=0).values - hidden.min(dim=0).values)
    balanced = head_statistics(network, head, task, statistic="std", balanced=True)
    parts = [hidden[targets == label] for label in range(3)]
    alike = torch.stack([part.mean(dim=0) for part in parts]).mean(dim=0)
    spread = torch.stack([(part - alike).square().mean(dim=0) for part in parts]).mean(dim=0).sqrt()
    assert torch.allclose(balanced.variability[1], spread)
    assert torch.allclose(balanced.mean[1], hidden.mean(dim=0)), "folding wants the mean over all rows"
