"""An exported file read back and held against the network it was made from."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.data.normalise import normalise
from methods.export.formats import Deployed, Format

NUM_SAMPLES = 8
_TOLERANCE = 1e-4
"""Of the largest logit, or of 1 if all are smaller; another order of summation costs about 1e-6 in float32."""


class ExportMismatch(ValueError):
    """An exported file does not compute what the network does."""


def verify(data: bytes, kind: Format, deployed: Deployed) -> float:
    """Read a file's bytes back and compare its logits with the network's on 8 random samples.

    The samples are seeded: images uniform on the 0-1 scale, features normal around their mean. A batch of one is
    tried as well.

    Returns:
        The largest absolute difference.

    Raises:
        ExportMismatch: It is too large to be rounding, or the outputs have another shape.
        OnnxMissing: The format needs a package that is not installed.
    """
    raw = random_samples(deployed)
    normalised = raw if deployed.normalization is None else normalise(raw, deployed.normalization)
    given = raw if kind.takes_raw_inputs(deployed) else normalised
    run = kind.read(data)
    with torch.no_grad():
        return max(
            _difference(run(given[:samples]), deployed.network(normalised[:samples]), kind.name)
            for samples in (NUM_SAMPLES, 1)
        )


def random_samples(deployed: Deployed) -> Tensor:
    """Seeded raw samples that look like the task's: float32 (8, ...)."""
    shape = deployed.network.architecture.input_shape
    generator = torch.Generator().manual_seed(0)
    if deployed.normalization is None:
        return torch.randn(NUM_SAMPLES, *shape, generator=generator)
    if len(shape) == 3:
        return torch.rand(NUM_SAMPLES, *shape, generator=generator)
    mean, std = (torch.tensor(values) for values in (deployed.normalization.mean, deployed.normalization.std))
    return mean + std * torch.randn(NUM_SAMPLES, *shape, generator=generator)


def _difference(found: Tensor, expected: Tensor, kind: str) -> float:
    if found.shape != expected.shape:
        raise ExportMismatch(
            f"format {kind}: read back, it gives outputs of shape {tuple(found.shape)}, "
            f"the network {tuple(expected.shape)}"
        )
    largest = float((found - expected).abs().max())
    # Written so that a difference that is not a number fails too.
    if not largest <= _TOLERANCE * max(1.0, float(expected.abs().max())):
        raise ExportMismatch(f"format {kind}: read back, its outputs differ from the network's by up to {largest:.2g}")
    return largest
