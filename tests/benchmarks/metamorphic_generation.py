"""Generating weights: all tensors in few batched products against one network, one frequency and one row at a time.

    python -m tests.benchmarks.metamorphic_generation [--part generation|step|coordinates] [--size large] [--hidden 512]
        [--threads 1]

The reference does what the public code of the papers does: coordinates from Python loops, one small operation for each
frequency and coordinate, one network after the other. Both sides compute the same values and gradients, to 1e-5 of
their size, which is checked first. `generation`: the 92 tensors of a ResNet-56 at full width, forward and backward,
with the number of operator calls. `step`: a training step of Neural Metamorphosis, which generates the last block of a
ResNet-20 at one width: generation, cross-entropy on a batch, both losses, backward. `coordinates`: raw rows alone.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from methods.metamorphic.coordinates import raw_coordinates
from methods.metamorphic.generation import Encoding, Shape, generate
from methods.metamorphic.generator import CoordinateMLPs
from methods.morphing.losses import magnitude, reconstruction
from methods.morphing.parts import morphing_parts
from methods.morphing.tensors import as_layers, own_tensors, tensor_shapes
from methods.networks.build import build_network
from methods.networks.folding import fold_batch_norm
from methods.networks.functional import run_with

SIZES = {"small": (16, 256, 4), "medium": (32, 256, 8), "large": (32, 512, 8)}
"""Frequencies, hidden units, layers: the papers' settings."""


def reference_coordinates(shapes: Sequence[Shape]) -> list[list[list[float]]]:
    """Rows [l, o, i, L, O, I] of each tensor by loops."""
    tensors = []
    for index, shape in enumerate(shapes):
        outputs, inputs = shape[0], shape[1] if len(shape) > 1 else 1
        sizes = (len(shapes), outputs, inputs)
        rows = [[float(value) for value in (index, o, i, *sizes)] for o in range(outputs) for i in range(inputs)]
        tensors.append(rows)
    return tensors


def reference_generate(
    networks: CoordinateMLPs, shapes: Sequence[Shape], *, encoding: Encoding, noise: Sequence[Tensor]
) -> list[Tensor]:
    """The tensors at one width, each by itself; `noise` is uniform in [0, 1), rows of each tensor."""
    made = []
    for index, (shape, rows) in enumerate(zip(shapes, reference_coordinates(shapes), strict=True)):
        raw = torch.tensor(rows, dtype=torch.float64)
        shifted = raw + (encoding.noise * (noise[index] - 0.5)).clamp(-0.49, 0.49)
        columns = [shifted[:, j] / shifted[:, j + 3] for j in range(3)]
        columns += [shifted[:, j + 3] / encoding.norm for j in range(3)]
        code = list(columns)
        for frequency in range(encoding.num_frequencies):
            for column in columns:
                angle = torch.fmod(column * 2.0**frequency, 2.0) * math.pi
                code += [torch.sin(angle), torch.cos(angle)]
        z = F.elu(F.linear(torch.stack(code, dim=1).float(), networks.first_weight[index], networks.first_bias[index]))
        for weight, bias, scale in zip(networks.residual_weight, networks.residual_bias, networks.scale, strict=True):
            z = z + scale[index] * F.elu(F.linear(z, weight[index], bias[index]))
        values = F.linear(z, networks.last_weight[index], networks.last_bias[index]) / float(raw[0, 5])
        taps = math.prod(shape[2:])
        start = 0 if taps == 1 else values.shape[1] // 2 - taps // 2
        made.append(values[:, start : start + taps].reshape(shape))
    return made


def shared_noise(shapes: Sequence[Shape], *, seed: int) -> list[Tensor]:
    """What `generate` draws for these shapes from a generator with that seed, by tensor."""
    counts = [math.prod(shape[:2]) for shape in shapes]
    groups: dict[int, list[int]] = {}
    for index, count in enumerate(counts):
        groups.setdefault(count, []).append(index)
    order = [index for members in groups.values() for index in members]
    drawn = torch.rand(sum(counts), 6, generator=torch.Generator().manual_seed(seed)).double()
    pieces = torch.split(drawn, [counts[index] for index in order])
    return [pieces[order.index(index)] for index in range(len(shapes))]


def new_networks(shapes: Sequence[Shape], size: tuple[int, int, int], *, seed: int = 0) -> CoordinateMLPs:
    """Freshly initialised, one for each tensor."""
    frequencies, hidden, layers = size
    networks = CoordinateMLPs(num_tensors=len(shapes), num_frequencies=frequencies, hidden=hidden, layers=layers)
    networks.initialise(torch.Generator().manual_seed(seed))
    return networks


class _Calls(TorchDispatchMode):
    """Counts operator calls, those of the backward pass included."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += 1
        return func(*args, **(kwargs or {}))


def _compare(name: str, ours: Callable[[], object], reference: Callable[[], object], *, repeats: int) -> None:
    ours(), reference()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for function, seconds in zip((ours, reference), times, strict=True):
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
    best, other = (sorted(seconds)[len(seconds) // 2] for seconds in times)
    print(f"{name}: {1e3 * best:.1f} ms against {1e3 * other:.1f} ms, {other / best:.1f}x (median of {repeats})")


def _count(function: Callable[[], object]) -> int:
    with _Calls() as calls:
        function()
    return calls.count


def require_equal(networks: CoordinateMLPs, ours: Callable[[], Tensor], reference: Callable[[], Tensor]) -> None:
    """Stop unless both losses and all gradients agree to 1e-5 of their size."""
    found = []
    for function in (ours, reference):
        networks.zero_grad()
        loss = function()
        loss.backward()
        found.append([loss.detach(), *(parameter.grad.clone() for parameter in networks.parameters())])
    for a, b in zip(*found, strict=True):
        difference, scale = float((a - b).abs().max()), float(b.abs().max())
        if not difference <= 1e-5 * scale:  # holds for NaN too
            raise SystemExit(f"the two sides differ: {difference:.2e} at a size of {scale:.2e}")


def _generation(size: tuple[int, int, int], repeats: int) -> None:
    network = fold_batch_norm(build_network("resnet56", input_shape=(3, 32, 32), num_outputs=100, seed=0))
    shapes = tensor_shapes(morphing_parts(network.architecture), 1.0)
    networks = new_networks(shapes, size)
    encoding = Encoding(num_frequencies=size[0], norm=64.0)
    noise = shared_noise(shapes, seed=1)

    def summed(tensors: Sequence[Tensor]) -> Tensor:
        return torch.stack([tensor.square().sum() for tensor in tensors]).sum()

    def ours() -> Tensor:
        return summed(generate(networks, [shapes], encoding=encoding, generator=torch.Generator().manual_seed(1))[0])

    def reference() -> Tensor:
        return summed(reference_generate(networks, shapes, encoding=encoding, noise=noise))

    require_equal(networks, ours, reference)
    rows = sum(math.prod(shape[:2]) for shape in shapes)
    print(f"{len(shapes)} tensors, {rows:,} rows, {networks.parameter_count():,} parameters for each tensor")
    with torch.no_grad():
        _compare("generation", ours, reference, repeats=repeats)
    _compare("generation and gradients", lambda: ours().backward(), lambda: reference().backward(), repeats=repeats)
    calls = [_count(lambda function=function: function().backward()) for function in (ours, reference)]
    print(f"operator calls, forward and backward: {calls[0]:,} against {calls[1]:,}, {calls[1] / calls[0]:.1f}x fewer")


def _step(size: tuple[int, int, int], repeats: int, batch: int) -> None:
    network = fold_batch_norm(build_network("resnet20", input_shape=(3, 32, 32), num_outputs=10, seed=0)).eval()
    network.requires_grad_(False)
    parts = morphing_parts(network.architecture, blocks="last")
    shapes, targets = tensor_shapes(parts, 1.0), own_tensors(network, parts)
    networks = new_networks(shapes, size)
    encoding = Encoding(num_frequencies=size[0], norm=64.0)
    noise = shared_noise(shapes, seed=1)
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(batch, 3, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)
    y = torch.randint(10, (batch,), generator=generator)

    def loss(tensors: Sequence[Tensor]) -> Tensor:
        logits = run_with(network, x, as_layers(parts, tensors))
        return F.cross_entropy(logits, y) + 1e-4 * magnitude(tensors) + reconstruction(tensors, targets, weighted=True)

    def ours() -> Tensor:
        return loss(generate(networks, [shapes], encoding=encoding, generator=torch.Generator().manual_seed(1))[0])

    def reference() -> Tensor:
        return loss(reference_generate(networks, shapes, encoding=encoding, noise=noise))

    require_equal(networks, ours, reference)
    _compare(f"step, batch {batch}", lambda: ours().backward(), lambda: reference().backward(), repeats=repeats)
    calls = [_count(lambda function=function: function().backward()) for function in (ours, reference)]
    print(f"operator calls: {calls[0]:,} against {calls[1]:,}")


def _coordinates(repeats: int) -> None:
    network = fold_batch_norm(build_network("resnet56", input_shape=(3, 32, 32), num_outputs=100, seed=0))
    shapes = tensor_shapes(morphing_parts(network.architecture), 1.0)

    def reference() -> Tensor:
        return torch.tensor([row for rows in reference_coordinates(shapes) for row in rows], dtype=torch.float64)

    if not torch.equal(raw_coordinates(shapes), reference()):
        raise SystemExit("the two sides differ")
    _compare("coordinates", lambda: raw_coordinates(shapes), reference, repeats=repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", choices=("generation", "step", "coordinates"), action="append")
    parser.add_argument("--size", choices=tuple(SIZES), default="large")
    parser.add_argument("--hidden", type=int, help="hidden units, where not those of the size")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    frequencies, hidden, layers = SIZES[given.size]
    size = (frequencies, given.hidden or hidden, layers)
    for part in given.part or ("coordinates", "step", "generation"):
        if part == "generation":
            _generation(size, given.repeats)
        elif part == "step":
            _step(size, given.repeats, given.batch)
        else:
            _coordinates(given.repeats)


if __name__ == "__main__":
    main()
