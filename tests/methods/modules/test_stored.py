"""The stored form of a module library: exact, and bound to the network it was cut from."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.artefact import load_network, save_network
from methods.blob import compress, decompress, pack, unpack
from methods.modules.library import ModuleLibrary
from methods.modules.stored import LibraryError, load_library, save_library
from methods.networks.build import build_network
from methods.networks.graph import Network
from methods.surgery import deploy
from tests.methods.modules.libraries import beside, drawn_library
from tests.methods.networks.samples import sample_network


@pytest.fixture(scope="module")
def library() -> ModuleLibrary:
    return drawn_library(sample_network("resnet20"), seed=0)


def same(one: ModuleLibrary, other: ModuleLibrary) -> bool:
    return (
        one.class_names == other.class_names
        and one.settings == other.settings
        and one.composition == other.composition
        and all(torch.equal(a, b) for a, b in zip(one.masks, other.masks, strict=True))
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), kept=st.floats(0, 1), name=st.sampled_from(["mlp", "mobile", "inception"]))
def test_a_stored_library_is_the_same(seed: int, kept: float, name: str) -> None:
    library = drawn_library(sample_network(name), seed=seed, kept=kept)
    loaded = load_library(save_library(library), library.network)
    assert same(loaded, library)
    assert loaded.network is library.network
    assert all(mask.dtype == torch.bool and mask.device.type == "cpu" for mask in loaded.masks)


@pytest.mark.parametrize("heads", [True, False])
def test_a_stored_library_of_modules_side_by_side_is_the_same(heads: bool) -> None:
    library = beside(drawn_library(sample_network("small_cnn"), seed=1), heads=heads)
    data = save_library(library)
    loaded = load_library(data, library.network)
    assert same(loaded, library)
    assert (loaded.heads is None) == (not heads)
    if library.heads is not None and loaded.heads is not None:
        assert_equal = zip(loaded.heads.parameters(), library.heads.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in assert_equal)
    assert save_library(loaded) == data


def test_libraries_by_union_are_stored_as_by_earlier_versions(library: ModuleLibrary) -> None:
    tensors, head = unpack(decompress(save_library(library)))
    assert list(tensors) == ["keep"]
    assert head["format"] == "paredown-modules-1"
    assert set(head) == {"format", "classes", "settings", "architecture", "weights"}
    assert same(load_library(compress(pack(tensors, head), level=3), library.network), library)


def test_modules_side_by_side_that_contradict_themselves_are_refused() -> None:
    library = beside(drawn_library(sample_network("small_cnn"), seed=1), heads=True)
    tensors, head = unpack(decompress(save_library(library)))
    for name in ("heads.score_bias", "heads.hidden_weight"):
        kept = {key: tensor for key, tensor in tensors.items() if key != name}
        with pytest.raises(LibraryError, match="its heads do not fit"):
            load_library(compress(pack(kept, head), level=3), library.network)
    with pytest.raises(LibraryError, match="its composition is 'woven'"):
        load_library(compress(pack(tensors, head | {"composition": "woven"}), level=3), library.network)
    with pytest.raises(LibraryError, match="only modules side by side have heads"):
        load_library(compress(pack(tensors, head | {"format": "paredown-modules-1"}), level=3), library.network)


def test_a_library_goes_with_the_network_as_the_store_keeps_it(library: ModuleLibrary) -> None:
    network = load_network(save_network(library.network))
    assert same(load_library(save_library(library), network), library)


def test_equal_libraries_give_equal_bytes(library: ModuleLibrary) -> None:
    other = replace(library, settings=dict(reversed(library.settings.items())))
    assert list(other.settings) != list(library.settings)
    assert save_library(other) == save_library(library)


def test_no_weights_are_stored() -> None:
    network = build_network("mlp", input_shape=(784,), num_outputs=10, seed=0, arguments={"widths": [512, 512]})
    # 10 classes of 1,024 units are 1,280 bytes; the architecture enters as a digest.
    assert len(save_library(drawn_library(network, seed=0))) < 2_000


@pytest.mark.parametrize("form", ["channels last", "float64", "training mode"])
def test_a_library_fits_its_network_in_any_form(library: ModuleLibrary, form: str) -> None:
    other = copy.deepcopy(library.network)
    if form == "channels last":
        other = other.to(memory_format=torch.channels_last)
        assert not other.nodes["stage1_block1_a_conv"].weight.is_contiguous()
    elif form == "float64":
        other = other.double()
    else:
        other = other.train()
    assert save_library(replace(library, network=other)) == save_library(library)
    assert same(load_library(save_library(library), other), library)


@pytest.mark.parametrize("cut", [0, 3, 40, -5, -1])
def test_a_truncated_library_is_refused(library: ModuleLibrary, cut: int) -> None:
    with pytest.raises(LibraryError, match="store the library again"):
        load_library(save_library(library)[:cut], library.network)


def test_damage_in_any_place_is_found(library: ModuleLibrary) -> None:
    data = save_library(library)
    for place in range(0, len(data), 7):
        damaged = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
        with pytest.raises(LibraryError):
            load_library(damaged, library.network)


def test_foreign_bytes_are_refused(library: ModuleLibrary) -> None:
    for foreign in (b"", b"a text", save_network(library.network), compress(b"a text", level=3)):
        with pytest.raises(LibraryError, match="no readable module library"):
            load_library(foreign, library.network)
    with pytest.raises(LibraryError, match="format 'other'"):
        load_library(compress(pack({}, {"format": "other"}), level=3), library.network)


def test_a_network_of_another_architecture_is_refused(library: ModuleLibrary) -> None:
    for other in (sample_network("small_cnn"), deploy(library.network)):
        with pytest.raises(LibraryError, match=r"another architecture; give the whole network of the same run"):
            load_library(save_library(library), other)


def changed(network: Network, name: str) -> Network:
    other = copy.deepcopy(network)
    with torch.no_grad():
        tensor = other.state_dict()[name]
        tensor.view(-1)[0] = tensor.view(-1)[0] + 1
    return other


@pytest.mark.parametrize("name", ["classifier.bias", "stem_norm.running_var", "stage2_block1_a_conv.weight"])
def test_a_network_of_other_weights_is_refused(library: ModuleLibrary, name: str) -> None:
    with pytest.raises(LibraryError, match=r"other weights; give the whole network of the same run"):
        load_library(save_library(library), changed(library.network, f"nodes.{name}"))


def test_a_library_that_contradicts_itself_is_refused(library: ModuleLibrary) -> None:
    tensors, head = unpack(decompress(save_library(library)))

    def load(changed_head: dict[str, object], keep: torch.Tensor | None = None) -> None:
        held = tensors if keep is None else {"keep": keep}
        load_library(compress(pack(held, head | changed_head), level=3), library.network)

    load({})
    with pytest.raises(LibraryError, match="keep-sets"):
        load({}, tensors["keep"][:-1].clone())
    with pytest.raises(LibraryError, match="keep-sets"):
        load({"classes": head["classes"][:-1]})
    with pytest.raises(LibraryError, match="class names are 3"):
        load({"classes": 3})
    with pytest.raises(LibraryError, match="two classes have the same name"):
        load({"classes": ["twice"] * len(head["classes"])})
    with pytest.raises(LibraryError, match="settings are"):
        load({"settings": [1]})
