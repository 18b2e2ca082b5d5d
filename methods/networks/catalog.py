"""The networks a study can name, with their arguments. Imports no torch, so that a study is checked quickly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from methods.networks.architecture import Architecture, Shape
from methods.networks.incecnn import incecnn
from methods.networks.initialisation import Initialisation
from methods.networks.lenet import lenet
from methods.networks.mobilenet import mobilenet
from methods.networks.rescnn import rescnn
from methods.networks.resnet import resnet
from methods.networks.small import mlp, small_cnn
from methods.networks.vgg import vgg
from methods.registry import did_you_mean


@dataclass(frozen=True)
class _Entry:
    design: Callable[..., Architecture]
    images_only: bool
    widths: Mapping[str, int | tuple[int, ...]]
    """Numbers of units by argument, at width 1."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    adjustable: bool = False
    """Whether a study may give the arguments in `widths`."""
    fixed_lengths: bool = False
    """Whether lists that a study gives must be as long as those in `widths`."""
    initialisation: Initialisation = field(default_factory=Initialisation)


_FRAMEWORK = Initialisation(conv="framework", hidden="framework", classifier="framework")


def _cifar_resnet(depth: int, *stages: int) -> _Entry:
    spreads = Initialisation(classifier=0.01)
    return _Entry(resnet, True, {"stages": stages}, fixed={"depth": depth}, initialisation=spreads)


def _vgg16(*hidden: int) -> _Entry:
    widths = {"stages": (64, 128, 256, 512, 512), "hidden": hidden}
    spreads = Initialisation(hidden=0.01, classifier=0.01)
    return _Entry(vgg, True, widths, fixed={"depths": (2, 2, 3, 3, 3)}, initialisation=spreads)


def _simcnn(*hidden: int, normalised: bool) -> _Entry:
    # Convolutions as the authors draw them; they leave the linear layers to PyTorch.
    return _Entry(
        vgg,
        True,
        {"stages": (64, 128, 256, 512, 512), "hidden": hidden},
        fixed={"depths": (2, 2, 3, 3, 3), "normalised": normalised, "dropout": 0.5},
        adjustable=True,
        fixed_lengths=True,
        initialisation=Initialisation(hidden="framework", classifier="framework"),
    )


def _rescnn(*, normalised: bool, dropout: float) -> _Entry:
    return _Entry(
        rescnn,
        True,
        {"stages": (64, 128, 256, 512)},
        fixed={"normalised": normalised, "dropout": dropout},
        adjustable=True,
        fixed_lengths=True,
        initialisation=_FRAMEWORK,
    )


_CATALOG = {
    "small_cnn": _Entry(small_cnn, True, {"channels": (16, 32), "hidden": 64}, adjustable=True),
    "mlp": _Entry(mlp, False, {"widths": (256, 256)}, adjustable=True),
    "lenet5": _Entry(
        lenet,
        True,
        {"channels": (6, 16), "hidden": (120, 84)},
        initialisation=_FRAMEWORK,
    ),
    "resnet18": _Entry(
        resnet,
        True,
        {"stages": (64, 128, 256, 512)},
        fixed={"depth": 18},
        initialisation=Initialisation(classifier="framework"),
    ),
    "resnet20": _cifar_resnet(20, 16, 32, 64),
    "resnet32": _cifar_resnet(32, 16, 32, 64),
    "resnet56": _cifar_resnet(56, 16, 32, 64),
    "resnet32_double": _cifar_resnet(32, 32, 64, 128),
    "vgg16": _vgg16(4096, 4096),
    # The width of the hidden layers in Modularizing-while-Training (Qi et al., ICSE 2024), without its dropout.
    "vgg16_512": _vgg16(512, 512),
    "vgg19_bn": _Entry(
        vgg,
        True,
        {"stages": (64, 128, 256, 512, 512)},
        fixed={"depths": (2, 2, 4, 4, 4)},
        initialisation=Initialisation(conv="he", classifier=0.01),
    ),
    "mobilenet": _Entry(
        mobilenet,
        True,
        {"stem": 32, "blocks": (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)},
        fixed={"strides": (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)},
        initialisation=Initialisation(classifier=0.01),
    ),
    # The networks of the papers on decomposition, of which two exist in two forms. Their authors leave the initial
    # weights of ResCNN and InceCNN to PyTorch. Without normalisation that is a slow start: a ResCNN of a quarter of the
    # width, on 4,000 images of CIFAR-10, came to the loss of its eighth epoch within three by `he_fan_out`.
    "simcnn_cnnsplitter": _simcnn(512, 512, normalised=False),
    "simcnn_gradsplitter": _simcnn(4096, 4096, normalised=True),
    "rescnn_cnnsplitter": _rescnn(normalised=False, dropout=0.4),
    "rescnn_gradsplitter": _rescnn(normalised=True, dropout=0.5),
    "incecnn_gradsplitter": _Entry(
        incecnn,
        True,
        {"stem": (64, 128, 256), "branches": (256, 256, 64, 512, 512, 64, 512, 512, 64)},
        fixed={"dropout": 0.4},
        adjustable=True,
        fixed_lengths=True,
        initialisation=_FRAMEWORK,
    ),
}


NETWORK_GROUP = "paredown.networks"
Design = Callable[[Shape, int], Architecture]
"""From an input shape and a number of outputs to an architecture; `methods.networks.tracing` makes one of a module."""

_registered: dict[str, Design] = {}


def register_network(name: str, design: Design) -> None:
    """Make a network known to this process, for notebooks and tests.

    A study on several processes needs it in all of them: give it an entry point in the group `paredown.networks`.
    Results are kept by its name: give a network that changes another one.

    Raises:
        ValueError: The name is taken.
    """
    if name in (*_CATALOG, *_of_packages(), *_registered):
        raise ValueError(f"network '{name}' is there already; choose another name")
    _registered[name] = design


def network_names() -> tuple[str, ...]:
    """Those that come with the project, in the order of the documentation, then users' own."""
    return (*_CATALOG, *sorted({*_of_packages(), *_registered}))


@cache
def _of_packages() -> dict[str, EntryPoint]:
    """Networks of installed packages; a package cannot replace one of ours."""
    return {point.name: point for point in entry_points(group=NETWORK_GROUP) if point.name not in _CATALOG}


def _entry(name: str) -> _Entry:
    """Whatever is known of a network; a user's own has no arguments, and one width."""
    if name in _CATALOG:
        return _CATALOG[name]

    def design(input_shape: Shape, num_outputs: int) -> Architecture:
        own = _registered[name] if name in _registered else _of_packages()[name].load()
        made = own(input_shape, num_outputs)
        if not isinstance(made, Architecture):
            raise ValueError(
                f"network '{name}': its function gave a {type(made).__name__}; return "
                "`traced(module, input_shape).architecture` of methods.networks.tracing"
            )
        return made

    return _Entry(design, False, {})


def check_network(name: str, arguments: Mapping[str, Any]) -> list[str]:
    """What is wrong with a network's name or arguments, each with how to mend it; empty when all is fine."""
    known = network_names()
    if name not in known:
        return [f"unknown network {name!r}; known: {', '.join(known)}.{did_you_mean(name, known)}"]
    entry = _entry(name)
    known = tuple(entry.widths) if entry.adjustable else ()
    faults = []
    for key, value in arguments.items():
        if key not in known:
            takes = f"it takes: {', '.join(known)}" if known else "it takes none"
            faults.append(f"network {name!r} has no argument {key!r}; {takes}.{did_you_mean(key, known)}")
        elif isinstance(usual := entry.widths[key], tuple):
            fits = isinstance(value, list | tuple) and bool(value) and all(map(_is_width, value))
            if not fits or (entry.fixed_lengths and len(value) != len(usual)):
                some = f"{len(usual)} " if entry.fixed_lengths else ""
                faults.append(f"network {name!r}: {key} must be a list of {some}whole numbers from 1, not {value!r}")
        elif not _is_width(value):
            faults.append(f"network {name!r}: {key} must be a whole number from 1, not {value!r}")
    return faults


def check_input(name: str, input_shape: Shape) -> list[str]:
    """Why a known network cannot work on inputs of this shape; empty when it can."""
    if _entry(name).images_only and len(input_shape) != 3:
        return [f"network {name!r} needs images, and the inputs are {input_shape[0]} numbers each; use 'mlp'"]
    return []


def design_network(
    name: str,
    *,
    input_shape: Shape,
    num_outputs: int,
    width: float = 1.0,
    arguments: Mapping[str, Any] | None = None,
) -> Architecture:
    """The architecture of a named network.

    Args:
        input_shape: (C, H, W), or (D,) for tables.
        width: Scales the number of units of every inner layer, rounded, at least 1.
        arguments: As in a study, e.g. `{"widths": [64, 64]}`.

    Raises:
        ValueError: An unknown name, wrong arguments, inputs of the wrong kind or images that are too small.
    """
    arguments = arguments or {}
    faults = check_network(name, arguments) or check_input(name, input_shape)
    if not width > 0:
        faults.append(f"width must be above 0, not {width}")
    if faults:
        raise ValueError("; ".join(faults))
    entry = _entry(name)
    if width != 1 and name not in _CATALOG:
        raise ValueError(
            f"network '{name}' is a user's own and has one width; set `inner_width` where a method takes it"
        )
    widths = {key: _scaled(arguments.get(key, value), width) for key, value in entry.widths.items()}
    return entry.design(tuple(input_shape), num_outputs, **widths, **entry.fixed)


def initialisation_of(name: str) -> Initialisation:
    """How the initial weights of a network are drawn."""
    return _entry(name).initialisation


def _is_width(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _scaled(units: Any, width: float) -> Any:
    if isinstance(units, int):
        return max(1, int(units * width + 0.5))
    return [_scaled(count, width) for count in units]
