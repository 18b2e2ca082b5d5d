from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from methods.cnn_decomposition import splitting
from methods.cnn_decomposition.gradsplitter import schedule
from methods.cnn_decomposition.gradsplitter_config import GradSplitterConfig
from methods.cnn_decomposition.layers import kernel_retention, maskable_layers, site_masks
from methods.cnn_decomposition.masks import KernelMasks
from methods.cnn_decomposition.splitting import Splitting, split_network
from methods.contract import TrainingDiverged
from methods.measure.predict import predict
from methods.networks.graph import Network
from methods.networks.stacked import run_stacked
from methods.surgery import extract
from methods.tasks import PreparedTask
from methods.training.config import TrainingConfig
from methods.training.loop import train
from tests.methods.networks import samples
from tests.methods.small_tasks import Lost, Recorder, a_task, same_weights

FAST = GradSplitterConfig(learning_rate=0.05, objective="sigmoid_cross_entropy")
"""A mask is at zero after 20 steps; an epoch of these tasks has 9."""


@pytest.fixture(scope="module")
def task() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=20, fraction=0.4, validation_share=0.2, precision="float32")


@pytest.fixture(scope="module")
def source(task: PreparedTask) -> Network:
    return train(task.network(), task, config=TrainingConfig(), epochs=15, monitor=Recorder()).eval()


def _split(
    source: Network,
    task: PreparedTask,
    *,
    monitor: Recorder | None = None,
    head_epochs: int = 2,
    cycles: int = 2,
    config: GradSplitterConfig = FAST,
) -> Splitting:
    epochs = schedule(head_epochs, cycles, learning_rate=config.learning_rate, size_weight=config.size_weight)
    return split_network(source, task, config=config, epochs=epochs, monitor=monitor or Recorder())


def _same(one: Splitting, other: Splitting) -> bool:
    heads = zip(one.heads.parameters(), other.heads.parameters(), strict=True)
    kept = zip(one.kept, other.kept, strict=True)
    return all(torch.equal(a, b) for a, b in [*heads, *kept]) and one.history.accuracies == other.history.accuracies


def test_modules_get_smaller_and_still_tell_classes_apart(source: Network, task: PreparedTask) -> None:
    found = _split(source, task, cycles=4)
    assert found.history.retentions[0] == 1.0
    assert found.history.retentions[-1] < 0.8
    assert found.history.accuracies[found.epoch] > found.reference - 0.1
    layers = maskable_layers(source.architecture)
    retention = float(kernel_retention(layers, found.kept).mean())
    assert retention == pytest.approx(found.history.retentions[found.epoch])
    assert found.history.sizes[-1] < found.history.sizes[0]


def test_the_selected_modules_have_the_accuracy_that_was_recorded(source: Network, task: PreparedTask) -> None:
    found = _split(source, task)
    masks = site_masks(source.architecture, maskable_layers(source.architecture), found.kept)
    logits = [
        predict(
            extract(source, [mask_MU[module] for mask_MU in masks]),
            task.validation,
            normalization=task.normalization,
            device="cpu",
        )
        for module in range(10)
    ]
    predicted = found.heads(torch.stack(logits)).argmax(dim=1)
    accuracy = float((predicted == task.validation.targets).double().mean())
    assert accuracy == pytest.approx(found.history.accuracies[found.epoch], abs=1.5 / len(task.validation))


def test_heads_trained_on_a_table_equal_heads_trained_on_images(
    source: Network, task: PreparedTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_table = _split(source, task)
    monkeypatch.setattr(splitting, "_TABLE_BYTES", 0)
    direct = _split(source, task)
    for table_heads, direct_heads in zip(with_table.history._heads, direct.history._heads, strict=True):
        torch.testing.assert_close(table_heads, direct_heads, rtol=1e-3, atol=1e-4)
    assert with_table.history.retentions == pytest.approx(direct.history.retentions, abs=0.01)


def test_heads_on_a_table_are_those_of_the_loop_over_batches(source: Network, task: PreparedTask) -> None:
    """While masks are all on, the table holds the logits of the trained network, the same for every module."""
    found = _split(source, task, head_epochs=3, cycles=0)
    logits = predict(source, task.train, normalization=task.normalization, device="cpu")
    scores = found.heads(logits.expand(10, -1, -1))
    assert float((scores.argmax(dim=1) == task.train.targets).double().mean()) > 0.8
    assert found.history.retentions == [1.0] * 3


@pytest.mark.parametrize("name", ["inception", "mobile", "resnet20"])
def test_with_all_masks_on_every_module_returns_the_trained_networks_logits(name: str) -> None:
    network = samples.sample_network(name)
    x = samples.random_inputs(network, seed=0)
    masks = KernelMasks(maskable_layers(network.architecture), num_modules=4)
    stacked = run_stacked(network, x, masks.gates())
    for logits in stacked:
        torch.testing.assert_close(logits, network(x), rtol=1e-5, atol=1e-5)


def test_only_heads_change_while_masks_are_frozen(source: Network, task: PreparedTask) -> None:
    found = _split(source, task, head_epochs=3, cycles=0)
    assert all(bool(kept.all()) for kept in found.kept)
    first, last = found.history._heads[0], found.history._heads[-1]
    assert not torch.equal(first, last)


def test_the_trained_network_is_left_alone(source: Network, task: PreparedTask) -> None:
    before = task.network()
    before.load_state_dict(source.state_dict())
    _split(source, task)
    assert same_weights(source, before)


@pytest.mark.parametrize("report", [1, 4, 9, 13])
def test_resuming_equals_never_having_stopped(source: Network, task: PreparedTask, report: int) -> None:
    straight = _split(source, task)
    broken = Recorder(break_at=report)
    with pytest.raises(Lost):
        _split(source, task, monitor=broken)
    assert _same(straight, _split(source, task, monitor=Recorder(stored=broken.stored)))


def test_a_layer_that_loses_all_kernels_keeps_the_first_and_says_so_once(source: Network, task: PreparedTask) -> None:
    monitor = Recorder()
    # The share of kernels outweighs everything, so every mask goes down.
    heavy = GradSplitterConfig(learning_rate=0.2, size_weight=1000.0)
    found = _split(source, task, monitor=monitor, config=heavy)
    assert all(kept[:, 0].all() and int(kept.sum()) == 10 for kept in found.history.kept_at(-1, **_shape(source)))
    assert len(monitor.notes) == 1
    assert "lost every kernel of layer" in monitor.notes[0]
    assert "keeps kernel 0" in monitor.notes[0]


def _shape(source: Network) -> dict[str, object]:
    return {"widths": [layer.kernels for layer in maskable_layers(source.architecture)], "num_modules": 10}


def test_it_reports_what_would_be_delivered_now(source: Network, task: PreparedTask) -> None:
    monitor = Recorder()
    found = _split(source, task, monitor=monitor)
    assert [round(report[0] * 16) for report in monitor.reports] == list(range(1, 17))
    assert monitor.reports[-1][1:] == (found.history.accuracies[found.epoch], found.history.sizes[found.epoch])
    assert set(monitor.curves[3]) == {
        "train_loss",
        "learning_rate",
        "val_accuracy",
        "kernel_retention",
        "size",
    }


def test_both_objectives_train_and_differ(source: Network, task: PreparedTask) -> None:
    in_logits = FAST.model_copy(update={"objective": "logit_cross_entropy"})
    found = _split(source, task, config=in_logits)
    assert found.history.accuracies[-1] > 0.7
    assert not _same(found, _split(source, task))


def test_a_loss_that_is_not_finite_ends_the_run(source: Network, task: PreparedTask) -> None:
    broken = Network(source.architecture)
    broken.load_state_dict(source.state_dict())
    with torch.no_grad():
        broken.nodes["classifier"].weight.fill_(torch.nan)  # type: ignore[operator, union-attr]
    with pytest.raises(TrainingDiverged, match="epoch 0: the loss became nan"):
        _split(broken.eval(), task)


def test_weights_of_classes_are_heeded(source: Network, task: PreparedTask) -> None:
    weighed = replace(task, class_weights=torch.tensor([5.0] + [5 / 9] * 9))
    assert not _same(_split(source, task), _split(source, weighed))
