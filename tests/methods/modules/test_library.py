"""A library hands out the right units, and networks that compute what the masked whole computes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from methods.modules.library import ModuleLibrary
from methods.modules.side_by_side import SideBySide, as_network
from methods.networks.architecture import Architecture, Node
from methods.networks.build import build_network
from methods.networks.graph import Network
from tests.methods.modules.libraries import beside, seeded_heads
from tests.methods.networks.samples import random_inputs, random_keep

NAMES = ("cat", "dog", "frog", "ship")


def a_library(*, seed: int = 0) -> ModuleLibrary:
    network = build_network("small_cnn", input_shape=(1, 8, 8), num_outputs=4, seed=seed).double().eval()
    keeps = [random_keep(network, seed=seed + index) for index in range(4)]
    masks = tuple(torch.stack([keep[site.name] for keep in keeps]) for site in network.sites)
    return ModuleLibrary(network, NAMES, masks)


def test_a_composition_computes_what_the_masked_whole_computes_in_the_order_of_the_classes() -> None:
    library = a_library()
    x = random_inputs(library.network, seed=0, dtype=torch.float64)
    for classes in (["dog"], ["ship", "cat"], [3, 1, 0], list(NAMES)):
        keep, columns = library.keep(classes), list(library.indices(classes))
        assert columns == sorted(columns)
        with torch.no_grad():
            wanted = library.network.run(x, keep=keep).logits[:, columns]
            composed = library.compose(classes)
            assert torch.allclose(composed(x), wanted, atol=1e-12, rtol=0)
        assert not composed.training


def test_the_units_of_a_composition_are_the_union_of_its_modules() -> None:
    library = a_library()
    for mask_KU, kept, cat, frog in zip(
        library.masks, library.keep(["frog", "cat"]), library.keep(["cat"]), library.keep(["frog"]), strict=True
    ):
        assert torch.equal(kept, cat | frog)
        assert torch.equal(cat, mask_KU[0])


def test_all_units_kept_give_the_whole_network_s_logits_bit_for_bit() -> None:
    library = a_library()
    whole = replace(library, masks=tuple(torch.ones_like(mask) for mask in library.masks))
    x = random_inputs(library.network, seed=1, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(whole.compose(NAMES)(x), library.network(x))


def test_compositions_share_no_memory_with_the_library() -> None:
    library = a_library()
    composed = library.compose(NAMES)
    with torch.no_grad():
        for parameter in composed.parameters():
            parameter.zero_()
    assert all(bool(parameter.any()) for parameter in library.network.parameters() if parameter.dim() > 1)


@pytest.mark.parametrize(
    ("classes", "fault"),
    [
        ([], "at least one class; there are: cat, dog"),
        (["cat", "cat"], "class 'cat' is named twice"),
        (["cat", 0], "class 'cat' is named twice"),
        (["kat"], "unknown class 'kat'.*Did you mean 'cat'"),
        ([4], "no class 4; classes are numbered 0 to 3"),
        ([-1], "no class -1"),
    ],
)
def test_classes_that_make_no_composition_are_refused(classes: list[str | int], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        a_library().compose(classes)


def test_a_network_without_relu_has_no_units_to_share_out() -> None:
    nodes = (Node("input", "input"), Node("out", "linear", ("input",), {"in_features": 3, "out_features": 2}))
    with pytest.raises(ValueError, match="no ReLU"):
        ModuleLibrary(Network(Architecture(nodes, (3,))), ("cat", "dog"), ())


def test_masks_that_do_not_fit_the_network_are_refused() -> None:
    library = a_library()
    wrong = {
        "masks for 2 sites": {"masks": library.masks[:2]},
        "3 classes for a network with 4 logits": {"class_names": NAMES[:3]},
        "same name": {"class_names": ("cat", "dog", "cat", "ship")},
        "conv1_relu.*torch.float32": {"masks": tuple(mask.float() for mask in library.masks)},
        "conv1_relu.*not bool": {"masks": tuple(mask[:, :-1] for mask in library.masks)},
    }
    for fault, fields in wrong.items():
        with pytest.raises(ValueError, match=fault):
            replace(library, **fields)


@pytest.mark.parametrize("heads", [True, False])
def test_a_composition_side_by_side_gives_each_class_the_score_of_its_module(heads: bool) -> None:
    library = beside(a_library(), heads=heads)
    if library.heads is not None:
        library.heads.double()
    x = random_inputs(library.network, seed=0, dtype=torch.float64)
    with torch.no_grad():
        alone = torch.cat([as_network(library.compose([name]))(x) for name in NAMES], dim=1)
        for classes in (["dog", "cat"], [3, 1, 0], list(NAMES)):
            columns = list(library.indices(classes))
            composed = library.compose(classes)
            assert isinstance(composed, SideBySide)
            assert torch.allclose(composed(x), alone[:, columns], atol=1e-12, rtol=0)
            assert torch.allclose(composed.unrolled()(x), alone[:, columns], atol=1e-12, rtol=0)
            assert not composed.training
        for index in range(4):
            logits = library.network.run(x, keep=library.keep([index])).logits
            wanted = logits[:, index] if library.heads is None else library.heads.head(index).before_sigmoid(logits)
            assert torch.allclose(alone[:, index], wanted, atol=1e-12, rtol=0)


def test_one_module_side_by_side_is_a_plain_network() -> None:
    assert isinstance(beside(a_library(), heads=False).compose(["frog"]), Network)


def test_composing_side_by_side_leaves_the_library_alone() -> None:
    library = beside(a_library(), heads=False)
    library.network.train()
    composed = library.compose(NAMES)
    with torch.no_grad():
        for parameter in composed.parameters():
            parameter.zero_()
    assert library.network.training
    assert all(bool(parameter.any()) for parameter in library.network.parameters() if parameter.dim() > 1)


def test_heads_that_do_not_fit_are_refused() -> None:
    library = a_library()
    with pytest.raises(ValueError, match="only modules side by side have heads"):
        replace(library, heads=seeded_heads(4, 4))
    for heads in (seeded_heads(3, 4), seeded_heads(4, 3)):
        with pytest.raises(ValueError, match="give one for each class, on all logits"):
            replace(library, heads=heads, composition="side_by_side")
