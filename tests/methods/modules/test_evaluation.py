"""Accuracies of all compositions: those of networks built one by one, at a fraction of the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from methods.contract import Normalization, Split
from methods.measure import predict
from methods.measure.subtasks import choose_subsets, restricted_accuracies, restricted_accuracy
from methods.modules.evaluation import composed_accuracies
from methods.modules.library import ModuleLibrary
from methods.modules.side_by_side import as_network
from methods.networks.graph import Network, Step
from tests.methods.modules.libraries import beside, drawn_library
from tests.methods.networks.samples import HAND_BUILT, random_inputs, sample_network

PLAIN = Normalization(mean=(0.1,), std=(0.9,))
NETWORKS = ["small_cnn", "resnet20", "mlp", *HAND_BUILT, *[f"chance{seed}" for seed in range(6)]]


def samples_for(network: Network, *, count: int = 60, seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(network.architecture.num_outputs, (count,), generator=generator)
    return Split(random_inputs(network, seed=seed, samples=count), targets)


def accuracies(library: ModuleLibrary, subsets: Tensor, split: Split, *, batch_size: int = 16) -> Tensor:
    return composed_accuracies(library, subsets, split, normalization=PLAIN, device="cpu", batch_size=batch_size)


def rebuilt_accuracies(library: ModuleLibrary, subsets: Tensor, split: Split) -> Tensor:
    """As a user gets them: a network for each subset, run on the samples of its classes."""
    found = []
    for subset in subsets:
        classes = subset.nonzero().flatten()
        wanted = torch.isin(split.targets, classes)
        own = Split(split.inputs[wanted], torch.searchsorted(classes, split.targets[wanted]))
        logits = predict(as_network(library.compose(classes.tolist())), own, normalization=PLAIN, device="cpu")
        found.append(restricted_accuracy(logits, own.targets, range(len(classes))))
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("kept", [0.3, 0.8])
@pytest.mark.parametrize("name", NETWORKS)
def test_accuracies_are_those_of_rebuilt_networks(name: str, kept: float) -> None:
    network = sample_network(name)
    library = drawn_library(network, seed=1, kept=kept)
    split = samples_for(network)
    num_classes = network.architecture.num_outputs
    subsets = choose_subsets(num_classes, sizes=range(1, num_classes + 1))
    found = accuracies(library, subsets, split)
    assert found.dtype == torch.float64
    assert torch.equal(found, rebuilt_accuracies(library, subsets, split))


@pytest.mark.parametrize("heads", [True, False])
@pytest.mark.parametrize("name", ["small_cnn", "resnet20", "mlp", "inception"])
def test_accuracies_of_modules_side_by_side_are_those_of_rebuilt_networks(name: str, heads: bool) -> None:
    network = sample_network(name)
    library = beside(drawn_library(network, seed=1, kept=0.5), heads=heads)
    split = samples_for(network)
    subsets = choose_subsets(5, sizes=range(1, 6))
    found = accuracies(library, subsets, split)
    assert found.dtype == torch.float64
    assert torch.allclose(found, rebuilt_accuracies(library, subsets, split))
    if not heads:
        assert not torch.equal(found, accuracies(replace(library, composition="union"), subsets, split))


def test_masks_matter() -> None:
    # Else the test above would also pass for a walk that drops nothing.
    network = sample_network("resnet20")
    split = samples_for(network)
    subsets = choose_subsets(5)
    logits = predict(network, split, normalization=PLAIN, device="cpu")
    masked = accuracies(drawn_library(network, seed=1, kept=0.3), subsets, split)
    assert not torch.equal(masked, restricted_accuracies(logits, split.targets, subsets))


def test_a_library_that_keeps_everything_restricts_the_full_network() -> None:
    network = sample_network("resnet20")
    split = samples_for(network)
    subsets = choose_subsets(5, sizes=range(1, 6))
    logits = predict(network, split, normalization=PLAIN, device="cpu")
    found = accuracies(drawn_library(network, seed=0, kept=1.1), subsets, split)
    assert torch.equal(found, restricted_accuracies(logits, split.targets, subsets))


@pytest.mark.parametrize("batch_size", [1, 7, 60, 1000])
def test_batches_may_be_uneven(batch_size: int) -> None:
    library = drawn_library(sample_network("mobile"), seed=2)
    split = samples_for(library.network)
    subsets = choose_subsets(4)
    assert torch.equal(accuracies(library, subsets, split, batch_size=batch_size), accuracies(library, subsets, split))


def test_first_batches_shrink_where_subsets_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    library = drawn_library(sample_network("mobile"), seed=2)
    split = samples_for(library.network)
    subsets = choose_subsets(4)
    whole = accuracies(library, subsets, split)
    monkeypatch.setattr("methods.modules.evaluation._PAIR_BYTES", 2000)
    assert torch.equal(accuracies(library, subsets, split), whole)


def test_the_order_of_subsets_and_samples_does_not_matter() -> None:
    library = drawn_library(sample_network("small_cnn"), seed=3)
    split = samples_for(library.network)
    subsets = choose_subsets(5)
    found = accuracies(library, subsets, split)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(subsets), generator=generator)
    assert torch.equal(accuracies(library, subsets[order], split), found[order])
    mixed = torch.randperm(len(split), generator=generator)
    shuffled = Split(split.inputs[mixed], split.targets[mixed])
    assert torch.equal(accuracies(library, subsets, shuffled), found)
    twice = torch.cat([subsets, subsets[:3]])
    assert torch.equal(accuracies(library, twice, split), torch.cat([found, found[:3]]))


def test_a_subset_without_samples_has_no_accuracy() -> None:
    library = drawn_library(sample_network("mlp"), seed=0)
    split = samples_for(library.network)
    present = split.targets < 2
    found = accuracies(library, torch.eye(5).bool(), Split(split.inputs[present], split.targets[present]))
    assert found[:2].tolist() == [1.0, 1.0]
    assert found[2:].isnan().all()


@pytest.fixture
def rows_run(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Rows that each node has worked on, by its place."""
    counts: dict[int, int] = {}
    run: Callable[[Step, list[Tensor | None]], Tensor] = Step.run

    def counting(step: Step, values: list[Tensor | None]) -> Tensor:
        value = run(step, values)
        counts[step.target] = counts.get(step.target, 0) + len(value)
        return value

    monkeypatch.setattr(Step, "run", counting)
    return counts


def test_nodes_before_the_first_difference_run_once_per_sample(rows_run: dict[int, int]) -> None:
    network = sample_network("small_cnn")
    library = drawn_library(network, seed=0, kept=0.5)
    library = replace(library, masks=(torch.ones_like(library.masks[0]), *library.masks[1:]))
    split = samples_for(network)
    accuracies(library, choose_subsets(5), split)
    places = {node.name: place for place, node in enumerate(network.architecture.nodes)}
    assert rows_run[places["conv1"]] == rows_run[places["conv2_relu"]] == len(split)
    # A sample is in 15 of the 26 subsets; those that agree on what it lights up go on together.
    assert len(split) < rows_run[places["hidden"]] < 15 * len(split)
    assert rows_run[places["hidden"]] <= rows_run[places["classifier"]] < 15 * len(split)


def test_masks_that_keep_everything_cost_nothing(rows_run: dict[int, int]) -> None:
    network = sample_network("resnet20")
    split = samples_for(network)
    accuracies(drawn_library(network, seed=0, kept=1.1), choose_subsets(5), split)
    assert set(rows_run.values()) == {len(split)}


def test_dropping_units_that_are_zero_anyway_costs_nothing(rows_run: dict[int, int]) -> None:
    network = sample_network("mlp")
    with torch.no_grad():
        network.nodes["hidden1"].bias[::2] = -1000.0
    library = drawn_library(network, seed=0, kept=1.1)
    library.masks[0][:, ::2] = torch.eye(5, len(library.masks[0][0, ::2])).bool()
    split = samples_for(network)
    accuracies(library, choose_subsets(5), split)
    assert set(rows_run.values()) == {len(split)}


def test_samples_of_classes_in_no_subset_are_left_out(rows_run: dict[int, int]) -> None:
    network = sample_network("mlp")
    split = samples_for(network)
    only = torch.tensor([[True, False, True, False, False]])
    found = accuracies(drawn_library(network, seed=0, kept=1.1), only, split)
    assert set(rows_run.values()) == {int(((split.targets == 0) | (split.targets == 2)).sum())}
    assert not found.isnan().any()


def test_the_network_keeps_its_mode_and_its_weights() -> None:
    network = sample_network("small_cnn").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    accuracies(drawn_library(network, seed=0), choose_subsets(5), samples_for(network))
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_what_does_not_fit_is_refused() -> None:
    library = drawn_library(sample_network("mlp"), seed=0)
    split = samples_for(library.network)
    with pytest.raises(ValueError, match=r"give bool \(subsets, 5\)"):
        accuracies(library, choose_subsets(4), split)
    with pytest.raises(ValueError, match="no samples; give at least one"):
        accuracies(library, choose_subsets(5), Split(split.inputs[:0], split.targets[:0]))
    with pytest.raises(ValueError, match="labels reach from"):
        accuracies(library, choose_subsets(5), Split(split.inputs, split.targets + 3))
    with pytest.raises(ValueError, match="class indices"):
        accuracies(library, choose_subsets(5), Split(split.inputs, split.targets.float()))
    with pytest.raises(ValueError, match="batch_size is 0"):
        accuracies(library, choose_subsets(5), split, batch_size=0)
