"""Names of methods and where they live. A study file names methods; it never holds an import path.

Looking up a configuration does not load torch; looking up a method does.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from methods.config import MethodConfig
    from methods.contract import Method

ENTRY_POINT_GROUP = "paredown.methods"


@dataclass(frozen=True)
class _Place:
    method: str
    """`module:Class`."""
    config: str | None
    """`module:Class` in a file without torch; None: ask the method's class."""
    version: int | None
    """The method's version, None: ask the method's class."""


_BUILT_IN = {
    "dense": _Place("methods.dense:Dense", "methods.training.config:DenseConfig", 1),
    "magnitude": _Place("methods.magnitude.method:Magnitude", "methods.magnitude.config:MagnitudeConfig", 1),
    "gradual_magnitude": _Place(
        "methods.gradual_magnitude.method:GradualMagnitude",
        "methods.gradual_magnitude.config:GradualMagnitudeConfig",
        1,
    ),
    "snip": _Place("methods.snip.method:Snip", "methods.snip.config:SnipConfig", 1),
    "grasp": _Place("methods.grasp.method:Grasp", "methods.grasp.config:GraspConfig", 1),
    "rigl": _Place("methods.rigl.method:RigL", "methods.rigl.config:RigLConfig", 1),
    "scratch": _Place("methods.scratch.method:Scratch", "methods.scratch.config:ScratchConfig", 1),
    "odf2nna": _Place("methods.odf2nna.method:Odf2nna", "methods.odf2nna.config:Odf2nnaConfig", 1),
    "width_search": _Place(
        "methods.width_search.method:WidthSearch", "methods.width_search.config:WidthSearchConfig", 1
    ),
    "activation_driven": _Place(
        "methods.activation_driven.method:ActivationDriven",
        "methods.activation_driven.config:ActivationDrivenConfig",
        1,
    ),
    "gradsplitter": _Place(
        "methods.cnn_decomposition.gradsplitter_method:GradSplitter",
        "methods.cnn_decomposition.gradsplitter_config:GradSplitterConfig",
        1,
    ),
    "cnnsplitter": _Place(
        "methods.cnn_decomposition.cnnsplitter_method:CnnSplitter",
        "methods.cnn_decomposition.cnnsplitter_config:CnnSplitterConfig",
        1,
    ),
    "metamorphic": _Place("methods.metamorphic.method:Metamorphic", "methods.metamorphic.config:MetamorphicConfig", 1),
    "filter_pruning": _Place(
        "methods.filter_pruning.method:FilterPruning", "methods.filter_pruning.config:FilterPruningConfig", 1
    ),
    "slimmable_gated": _Place(
        "methods.slimmable.gated:SlimmableGated", "methods.slimmable.config:SlimmableGatedConfig", 1
    ),
    "slimmable": _Place("methods.slimmable.method:Slimmable", "methods.slimmable.config:SlimmableConfig", 1),
    "hypersparse": _Place("methods.hypersparse.method:HyperSparse", "methods.hypersparse.config:HyperSparseConfig", 1),
}


class UnknownMethod(LookupError):
    """No method of that name is registered; the message lists those that are."""


_registered: dict[str, type[Method]] = {}


_FAMILIES = {
    "sparse and dense pruning": ("hypersparse", "odf2nna"),
    "activation-driven modules": ("activation_driven",),
    "CNN decomposition": ("gradsplitter", "cnnsplitter"),
    "metamorphic networks": ("metamorphic",),
    "one network for many widths": ("slimmable", "slimmable_gated", "filter_pruning"),
    "references": ("dense", "magnitude", "gradual_magnitude", "snip", "grasp", "rigl", "scratch", "width_search"),
}
FAMILIES = (*_FAMILIES, "users' own")
"""In the order in which they are shown."""


def family_of(name: str) -> str:
    """The family of a method; of one that is not built in `users' own`."""
    return next((family for family, names in _FAMILIES.items() if name in names), FAMILIES[-1])


def register(method: type[Method]) -> None:
    """Make a method known to this process under its `name`: for notebooks and tests.

    A study on several processes needs the method in all of them: give it an entry point in the group
    `paredown.methods`.

    Raises:
        ValueError: The name is taken.
    """
    if method.name in method_names():
        raise ValueError(f"method '{method.name}' is registered already; choose another name")
    _registered[method.name] = method


@cache
def _places() -> dict[str, _Place]:
    """Built-in methods, then those of installed packages; a package cannot replace a built-in one."""
    from_packages = {point.name: _Place(point.value, None, None) for point in entry_points(group=ENTRY_POINT_GROUP)}
    return from_packages | _BUILT_IN


def method_names() -> tuple[str, ...]:
    """All registered names, in alphabetical order."""
    return tuple(sorted({*_places(), *_registered}))


def method_class(name: str) -> type[Method]:
    """The method's class; loads torch.

    Raises:
        UnknownMethod: No such name.
    """
    if name in _registered:
        return _registered[name]
    found: type[Method] = _load(_place(name).method)
    return found


def config_class(name: str) -> type[MethodConfig]:
    """The method's configuration class; loads no torch for built-in methods.

    Raises:
        UnknownMethod: No such name.
    """
    place = _registered.get(name) or _place(name)
    if not isinstance(place, _Place) or place.config is None:
        return method_class(name).Config
    found: type[MethodConfig] = _load(place.config)
    return found


def method_version(name: str) -> int:
    """The version that enters the keys of the method's runs; loads no torch for built-in methods.

    Raises:
        UnknownMethod: No such name.
    """
    place = _registered.get(name) or _place(name)
    return method_class(name).version if place.version is None else place.version


def did_you_mean(name: str, known: tuple[str, ...]) -> str:
    """` Did you mean 'x'?` for a near miss, else an empty string."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def _place(name: str) -> _Place:
    try:
        return _places()[name]
    except KeyError:
        known = method_names()
        raise UnknownMethod(f"unknown method '{name}'; known: {', '.join(known)}.{did_you_mean(name, known)}") from None


def _load(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
