"""Methods by name: those of the package, those of other packages, and those of this process."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any, cast

import pytest

from methods import registry
from methods.contract import Method
from methods.dense import Dense
from methods.registry import UnknownMethod, config_class, method_class, method_names, method_version, register
from methods.training.config import DenseConfig


class Sparser(Dense):
    """A method of a user's own."""

    name = "sparser"
    version = 3


def _as_method(found: Any) -> type[Method]:
    return cast(type[Method], found)


@pytest.fixture(autouse=True)
def _own_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten afterwards."""
    monkeypatch.setattr(registry, "_registered", {})
    registry._places.cache_clear()
    yield
    registry._places.cache_clear()


def _install(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    """As if a package with these entry points was installed."""

    def entry_points(*, group: str) -> list[EntryPoint]:
        return [point for point in points if point.group == group]

    monkeypatch.setattr(registry, "entry_points", entry_points)


@pytest.mark.parametrize("name", method_names())
def test_the_light_entries_of_a_built_in_method_agree_with_its_class(name: str) -> None:
    method = method_class(name)
    assert method.name == name
    assert method.Config is config_class(name)
    assert method.version == method_version(name)


def test_an_unknown_name_lists_the_known_ones_and_guesses_what_was_meant() -> None:
    known = r"known: activation_driven, cnnsplitter, dense, .*Did you mean 'hypersparse'"
    with pytest.raises(UnknownMethod, match=f"unknown method 'hypersprase'; {known}"):
        method_class("hypersprase")
    with pytest.raises(UnknownMethod) as caught:
        config_class("zzz")
    assert "Did you mean" not in str(caught.value)


def test_a_registered_method_is_found_by_its_name() -> None:
    register(_as_method(Sparser))
    assert method_class("sparser") is _as_method(Sparser)
    assert config_class("sparser") is DenseConfig
    assert method_version("sparser") == 3
    assert "sparser" in method_names()
    assert list(method_names()) == sorted(method_names())


def test_a_taken_name_is_refused_whoever_has_it() -> None:
    register(_as_method(Sparser))
    for method in (_as_method(Sparser), _as_method(Dense)):
        with pytest.raises(ValueError, match=f"method '{method.name}' is registered already; choose another name"):
            register(method)


def test_a_method_of_another_package_comes_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, EntryPoint("theirs", f"{__name__}:Sparser", registry.ENTRY_POINT_GROUP))
    assert method_class("theirs") is _as_method(Sparser)
    assert config_class("theirs") is DenseConfig
    assert method_version("theirs") == 3


def test_a_package_cannot_put_itself_in_place_of_a_built_in_method(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, EntryPoint("dense", f"{__name__}:Sparser", registry.ENTRY_POINT_GROUP))
    assert method_class("dense") is _as_method(Dense)


def test_other_groups_of_entry_points_are_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, EntryPoint("theirs", f"{__name__}:Sparser", "another.group"))
    assert "theirs" not in method_names()
