from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from methods.contract import Normalization, Split
from methods.data.normalise import normalise
from methods.modules.heads import ModuleHeads
from methods.modules.library import ModuleLibrary
from methods.modules.picks import ModulePick
from methods.modules.reuse import best_modules, compose_across, module_f1
from methods.networks.architecture import Architecture, Node
from methods.networks.folding import fold_batch_norm
from methods.networks.graph import Network
from methods.surgery import deploy
from tests.methods.modules.libraries import beside, drawn_library
from tests.methods.networks.samples import sample_network

FIRST = Normalization(mean=(0.4,), std=(0.2,))
SECOND = Normalization(mean=(0.1,), std=(0.5,))


def _library(name: str, seed: int, *, heads: bool) -> ModuleLibrary:
    library = drawn_library(sample_network(name, seed=seed), seed=seed)
    return beside(library, heads=heads)


def _raw() -> torch.Tensor:
    return torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("heads", [True, False])
def test_each_score_is_that_of_its_library_on_inputs_normalised_its_own_way(heads: bool) -> None:
    one = _library("small_cnn", 0, heads=heads)
    # Without heads scores have the scale of their network.
    other = _library("resnet20", 1, heads=True) if heads else one
    names = one.class_names
    picks = [ModulePick(one, names[3], FIRST), ModulePick(other, names[0], SECOND), ModulePick(one, names[1], FIRST)]
    network = compose_across(picks)
    scores = network(normalise(_raw(), FIRST))
    for place, (library, name, normalization) in enumerate(
        [(one, names[3], FIRST), (other, names[0], SECOND), (one, names[1], FIRST)]
    ):
        alone = library.compose([name])(normalise(_raw(), normalization))[:, 0]
        torch.testing.assert_close(scores[:, place], alone, rtol=1e-4, atol=1e-4)
    # The conversion has no convolution before it, so deploying leaves it where zeros pad behind it.
    assert any(node.op == "batch_norm" for node in fold_batch_norm(network).architecture.nodes)
    torch.testing.assert_close(deploy(network)(normalise(_raw(), FIRST)), scores, rtol=1e-3, atol=1e-3)


def test_modules_that_read_other_shapes_are_refused() -> None:
    one = _library("small_cnn", 0, heads=True)
    wide = drawn_library(sample_network("vgg19_bn"), seed=0)
    other = beside(wide, heads=True)
    picks = [ModulePick(one, one.class_names[0], FIRST), ModulePick(other, other.class_names[1], FIRST)]
    with pytest.raises(ValueError, match=r"shape \(1, 8, 8\), that of 'class 1' \(1, 16, 16\).*image_shape"):
        compose_across(picks)


def test_modules_made_to_be_united_and_no_modules_are_refused() -> None:
    united = drawn_library(sample_network("small_cnn"), seed=0)
    with pytest.raises(ValueError, match="says nothing beside other networks' scores; use modules of gradsplitter"):
        compose_across([ModulePick(united, united.class_names[0], FIRST)])
    with pytest.raises(ValueError, match="pick at least one"):
        compose_across([])


def test_scores_of_unlike_scales_are_refused() -> None:
    bare, other, headed = (
        _library("small_cnn", seed, heads=heads) for seed, heads in ((0, False), (1, False), (2, True))
    )
    for second in (other, headed):
        picks = [ModulePick(bare, bare.class_names[0], FIRST), ModulePick(second, second.class_names[1], FIRST)]
        with pytest.raises(ValueError, match="has no head, so its score is a logit of its own network's scale"):
            compose_across(picks)


@pytest.mark.parametrize("heads", [True, False])
def test_f1_is_counted_from_each_modules_own_decision(heads: bool) -> None:
    library = _library("small_cnn", 0, heads=heads)
    raw = (255 * _raw()).to(torch.uint8)
    # The targets number the classes another way, and class 4 has no sample.
    split = Split(raw, torch.tensor([10, 11, 12, 13, 10, 11]))
    found = module_f1(library, split, labels=[13, 12, 11, 10, 14], normalization=FIRST, device="cpu")
    assert math.isnan(found[4])
    scores = torch.stack([library.compose([name])(normalise(raw, FIRST))[:, 0] for name in library.class_names], dim=1)
    for module, label in enumerate([13, 12, 11, 10]):
        decided = scores[:, module] > 0 if heads else scores.argmax(dim=1) == module
        true = split.targets == label
        hits = int((decided & true).sum())
        expected = 2 * hits / (int(decided.sum()) + int(true.sum()))
        assert found[module] == pytest.approx(expected)


def _readable_library(*, heads: bool) -> ModuleLibrary:
    """Logits are the two inputs where these are positive; a head subtracts 1.5 from the logit of its class."""
    nodes = (
        Node("x", "input"),
        Node("hidden", "linear", ("x",), {"in_features": 2, "out_features": 2}),
        Node("units", "relu", ("hidden",)),
        Node("logits", "linear", ("units",), {"in_features": 2, "out_features": 2}),
    )
    network = Network(Architecture(nodes, (2,))).eval()
    stack = ModuleHeads(2, 2)
    with torch.no_grad():
        for name in ("hidden", "logits"):
            network.get_parameter(f"nodes.{name}.weight").copy_(torch.eye(2))
        stack.hidden_weight[:, 0] = torch.eye(2)
        stack.score_weight[:, 0] = 1.0
        stack.score_bias.fill_(-1.5)
    masks = (torch.ones(2, 2, dtype=torch.bool),)
    return ModuleLibrary(network, ("a", "b"), masks, heads=stack if heads else None, composition="side_by_side")


@pytest.mark.parametrize(("heads", "expected"), [(False, [4 / 6, 2 / 4]), (True, [4 / 5, 0.0])])
def test_f1_of_five_samples_worked_out_by_hand(heads: bool, expected: list[float]) -> None:
    # Without heads samples 0, 2, 4 go to a and 1, 3 to b; with heads a says yes to 0 and 2, b to 1, which is of a.
    split = Split(
        torch.tensor([[3.0, 1.0], [1.0, 3.0], [2.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), torch.tensor([0, 0, 0, 1, 1])
    )
    plain = Normalization(mean=(0.0,), std=(1.0,))
    found = module_f1(_readable_library(heads=heads), split, labels=[0, 1], normalization=plain, device="cpu")
    assert found == pytest.approx(expected)


def test_putting_modules_to_use_trains_nothing_and_shares_no_weight() -> None:
    library = _library("small_cnn", 0, heads=True)
    before = {name: value.clone() for name, value in library.network.state_dict().items()}
    network = compose_across([ModulePick(library, name, FIRST) for name in library.class_names[:2]])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    split = Split((255 * _raw()).to(torch.uint8), torch.zeros(6, dtype=torch.int64))
    module_f1(library, split, labels=range(len(library.class_names)), normalization=FIRST, device="cpu")
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in library.network.state_dict().items())
    assert all(parameter.grad is None for parameter in library.network.parameters())


def test_labels_that_are_not_one_for_each_class_are_refused() -> None:
    library = _library("small_cnn", 0, heads=True)
    split = Split((255 * _raw()).to(torch.uint8), torch.zeros(6, dtype=torch.int64))
    for labels in ([0, 1], [0, 1, 2, 3, 3]):
        with pytest.raises(ValueError, match="for 5 classes; give one of its own for each"):
            module_f1(library, split, labels=labels, normalization=FIRST, device="cpu")


def test_the_best_module_is_taken_and_the_first_of_equals() -> None:
    nan = math.nan
    assert best_modules([[0.5, 0.9, nan], [0.6, 0.9, 0.1], [0.55, 0.2, nan]]) == [1, 0, 1]
    with pytest.raises(ValueError, match="no library has an F1 for class 1"):
        best_modules([[0.5, nan], [0.6, nan]])
    with pytest.raises(ValueError, match=r"\[1, 2\] classes; give each library's F1 in one order"):
        best_modules([[0.5], [0.6, 0.7]])


def test_the_same_pick_from_an_equal_normalisation_needs_no_conversion() -> None:
    one = _library("small_cnn", 0, heads=True)
    picks = [ModulePick(one, name, replace(FIRST)) for name in one.class_names[:2]]
    assert not any("normalise" in node.name for node in compose_across(picks).architecture.nodes)
