"""The whole method on real digits: what it delivers, what it says, what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from methods.activation_driven import method
from methods.activation_driven.config import ActivationDrivenConfig
from methods.activation_driven.method import ActivationDriven
from methods.activation_driven.modularize import activation_rates, select_units
from methods.activation_driven.recording import RecordingNetwork, modular_loss
from methods.contract import Outcome, SilentMonitor, Split, UnsupportedTask
from methods.data.normalise import normalise
from methods.dense import Dense
from methods.figures import Heatmap, LineChart
from methods.measure import count_parameters, predict
from methods.networks.architecture import Architecture, Node
from methods.tasks import PreparedTask
from methods.training.config import DenseConfig
from methods.training.loop import Loss
from tests.methods.small_tasks import Recorder, a_task, same_weights


@pytest.fixture(scope="module")
def digits() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=6, validation_share=0.2)


@pytest.fixture(scope="module")
def fitted(digits: PreparedTask) -> tuple[Outcome, Recorder]:
    monitor = Recorder()
    return _fit(digits, monitor, gamma=1.0), monitor


def _fit(task: PreparedTask, monitor: SilentMonitor, **fields: float) -> Outcome:
    return ActivationDriven(ActivationDrivenConfig(**fields)).fit(task, {}, monitor)


def test_units_are_those_that_the_rates_of_all_training_samples_choose(
    digits: PreparedTask, fitted: tuple[Outcome, Recorder]
) -> None:
    library = fitted[0].library
    assert library is not None
    with torch.no_grad():
        run = library.network.eval().run(normalise(digits.train.inputs, digits.normalization), record=True)
    rates = activation_rates(list(run.activations.values()), digits.train.targets, num_classes=10)
    for found, wanted in zip(library.masks, select_units(rates, threshold=0.9), strict=True):
        # Rounding in other batches may light or quench a unit of a sample that is at zero but for that.
        assert (found != wanted).float().mean() < 0.01


def test_the_union_still_tells_all_classes_apart_and_is_the_composition_of_all(
    digits: PreparedTask, fitted: tuple[Outcome, Recorder]
) -> None:
    whole, union = fitted[0].variants
    library = fitted[0].library
    assert library is not None
    assert (whole.label, whole.kind, union.label, union.kind) == ("whole", "whole", "union", "whole")
    assert library.network is whole.network
    logits = [
        predict(one, digits.validation, normalization=digits.normalization, device="cpu")
        for one in (union.network, library.compose(library.class_names))
    ]
    assert torch.equal(*logits)
    assert count_parameters(union.network) < count_parameters(whole.network)


def test_module_sizes_are_counted_on_networks_that_are_cut(fitted: tuple[Outcome, Recorder]) -> None:
    library, facts = fitted[0].library, fitted[0].facts
    assert library is not None
    whole = count_parameters(library.network)
    shares = [count_parameters(library.compose([name])) / whole for name in library.class_names]
    assert facts["module_size"] == pytest.approx(sum(shares) / 10)
    assert (facts["smallest_module"], facts["largest_module"]) == pytest.approx((min(shares), max(shares)))


def test_reports_carry_the_size_of_modules_that_a_sample_gives(
    fitted: tuple[Outcome, Recorder],
) -> None:
    outcome, monitor = fitted
    sizes = [size for _, _, size in monitor.reports]
    assert len(sizes) == 6
    # Of a sample without the last digits of a full pass, hence near the final one but not equal to it.
    assert sizes[-1] == pytest.approx(outcome.facts["module_size"], abs=0.05)
    assert sizes[0] > sizes[-1], "compactness shrinks modules"


def test_losses_pull_where_their_weights_say(digits: PreparedTask, fitted: tuple[Outcome, Recorder]) -> None:
    plain = _fit(digits, SilentMonitor(), alpha=0.0, beta=0.0, gamma=0.0).facts
    modular = fitted[0].facts
    for name in ("dispersion_loss", "compactness_loss", "module_size"):
        assert modular[name] < 0.8 * plain[name]
    assert plain["module_size"] > 0.4


def test_each_weight_reaches_its_own_loss(digits: PreparedTask, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = {}

    def listen(task: PreparedTask, network: RecordingNetwork, **weights: float) -> Loss:
        heard.update(weights)
        return modular_loss(task, network, **weights)

    monkeypatch.setattr(method, "modular_loss", listen)
    _fit(replace(digits, epochs=1), SilentMonitor(), alpha=0.1, beta=0.2, gamma=0.3)
    assert heard == {"affinity": 0.1, "dispersion": 0.2, "compactness": 0.3}


@pytest.mark.parametrize(
    ("field", "smaller"), [({"spatial_share": 0.5}, True), ({"minimum_share": 0.5}, False), ({"threshold": 0.5}, False)]
)
def test_settings_of_the_choice_change_the_modules_alone(
    digits: PreparedTask, fitted: tuple[Outcome, Recorder], field: dict[str, float], smaller: bool
) -> None:
    other = _fit(digits, SilentMonitor(), gamma=1.0, **field)
    for one, two in zip(
        other.variants[0].network.parameters(), fitted[0].variants[0].network.parameters(), strict=True
    ):
        assert torch.equal(one, two)
    assert (other.facts["module_size"] < fitted[0].facts["module_size"]) == smaller
    assert other.library is not None
    assert dict(other.library.settings) == {"threshold": 0.9} | field


def test_units_may_be_observed_on_samples_as_they_are(digits: PreparedTask) -> None:
    shifted = replace(digits, augmentation="crop_flip", epochs=2)
    augmented, plain = (_fit(shifted, SilentMonitor(), augmented_rates=on) for on in (True, False))
    assert torch.equal(*(next(iter(one.variants[0].network.parameters())) for one in (augmented, plain)))
    assert augmented.facts["module_size"] != plain.facts["module_size"]


def test_plain_weights_train_the_very_network_that_plain_training_does(digits: PreparedTask) -> None:
    recipe = DenseConfig(learning_rate=0.05, nesterov=True, weight_decay=0.0, schedule="cosine")
    dense = Dense(recipe).fit(digits, {}, SilentMonitor()).variants[0].network
    ours = _fit(digits, SilentMonitor(), alpha=0.0, beta=0.0, gamma=0.0).variants[0].network
    assert same_weights(dense, ours)


def test_a_shorter_share_of_the_epochs_is_what_it_says(digits: PreparedTask) -> None:
    monitor = Recorder()
    assert _fit(digits, monitor, epochs_share=0.5).epochs == 3
    assert list(monitor.curves) == [0, 1, 2]


def test_figures_show_every_site_the_overlap_and_the_threshold(fitted: tuple[Outcome, Recorder]) -> None:
    figures = {figure.name: figure for figure in fitted[0].figures}
    assert list(figures) == [
        "size_by_threshold",
        "module_overlap",
        "rates_conv1_relu",
        "rates_conv2_relu",
        "rates_hidden_relu",
    ]
    curve = figures["size_by_threshold"]
    assert isinstance(curve, LineChart)
    for line in curve.lines:
        assert list(line.y) == sorted(line.y, reverse=True), "the higher the threshold, the smaller the modules"
    chosen = curve.lines[0].x.index(0.9)
    assert curve.lines[0].y[chosen] == pytest.approx(fitted[0].facts["module_size"])
    overlap = figures["module_overlap"]
    assert isinstance(overlap, Heatmap)
    assert all(overlap.values[a][b] == overlap.values[b][a] for a in range(10) for b in range(10))
    rates = figures["rates_hidden_relu"]
    assert isinstance(rates, Heatmap)
    assert len(rates.columns) == 64
    owners = [max(range(10), key=lambda row: rates.values[row][column]) for column in range(64)]
    assert list(rates.columns) == [str(owner) for owner in owners]
    assert owners == sorted(owners), "units lie in the order of the classes that fire them most"


def test_a_regression_is_refused_with_what_would_do() -> None:
    task = a_task("diabetes", "mlp", epochs=2)
    with pytest.raises(UnsupportedTask, match="regression; use hypersparse"):
        ActivationDriven(ActivationDrivenConfig()).check(task.info)


def test_a_network_without_relu_is_refused(digits: PreparedTask) -> None:
    nodes = (
        Node("input", "input"),
        Node("flat", "flatten", ("input",)),
        Node("out", "linear", ("flat",), {"in_features": 64, "out_features": 10}),
    )
    info = replace(digits.info, architecture=Architecture(nodes, (1, 8, 8)), network="linear")
    with pytest.raises(UnsupportedTask, match="network 'linear' has no ReLU"):
        ActivationDriven(ActivationDrivenConfig()).check(info)


def test_a_class_without_training_samples_is_named(digits: PreparedTask) -> None:
    others = digits.train.targets != 7
    task = replace(digits, train=Split(digits.train.inputs[others], digits.train.targets[others]), epochs=1)
    monitor = Recorder()
    with pytest.raises(ValueError, match="digits: class '7' has no training sample"):
        _fit(task, monitor)
    assert not monitor.curves, "it is said before anything is trained"


@pytest.mark.parametrize("field", [{"threshold": 0.0}, {"threshold": 1.1}, {"gamma": -1.0}, {"spatial_share": 1.0}])
def test_settings_out_of_range_are_refused(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        ActivationDrivenConfig(**field)
