"""The formats a network can be exported to.

A format is a pair of functions: from a deployed network to bytes, and from bytes to something that computes logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from methods import artefact
from methods.contract import Normalization
from methods.export.onnx_model import read_onnx, require_onnx, write_onnx
from methods.export.torch_program import read_program, write_program
from methods.networks.graph import Network


@dataclass(frozen=True)
class Deployed:
    """What there is to export."""

    network: Network
    """Read back from `artefact`: on the CPU, float32, evaluation mode; of modules side by side the plain network that
    runs, which all other formats hold."""
    artefact: bytes
    normalization: Normalization | None
    """None: not known. Then no format can include it."""


@dataclass(frozen=True)
class Format:
    """One kind of file."""

    name: str
    suffix: str
    write: Callable[[Deployed], bytes]
    read: Callable[[bytes], Callable[[Tensor], Tensor]]
    """From a file's bytes to what computes logits (N, num_outputs) from float32 inputs (N, ...)."""
    can_normalise: bool
    """Whether the file normalises its inputs by itself, where the normalisation is known."""
    require: Callable[[], None] = lambda: None
    """Raises when a package that the format needs is missing."""

    def takes_raw_inputs(self, deployed: Deployed) -> bool:
        """Whether inputs of the file are raw samples and not normalised ones."""
        return self.can_normalise and deployed.normalization is not None


FORMATS = {
    made.name: made
    for made in (
        Format(
            name="safetensors",
            suffix=".safetensors",
            write=lambda deployed: artefact.save_network(deployed.network),
            read=lambda data: artefact.load_network(data).eval(),
            can_normalise=False,
        ),
        Format(
            name="artefact",
            suffix=".safetensors.zst",
            write=lambda deployed: deployed.artefact,
            read=artefact.decode,
            can_normalise=False,
        ),
        Format(
            name="torch",
            suffix=".pt2",
            write=lambda deployed: write_program(deployed.network, deployed.normalization),
            read=read_program,
            can_normalise=True,
        ),
        Format(
            name="onnx",
            suffix=".onnx",
            write=lambda deployed: write_onnx(deployed.network, deployed.normalization),
            read=read_onnx,
            can_normalise=True,
            require=require_onnx,
        ),
    )
}
"""By name, the default first."""


def format_of(file_name: str) -> Format | None:
    """The format whose suffix a file's name ends with; None when it is of no format."""
    return next((made for made in FORMATS.values() if file_name.endswith(made.suffix)), None)
