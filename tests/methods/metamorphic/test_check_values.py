"""Values that the specification of metamorphic networks works out, in float64, to 1e-6."""

import math

import pytest
import torch
from torch import Tensor

from methods.metamorphic.coordinates import encode, normalise, perturb, raw_coordinates
from methods.metamorphic.fusion import fuse_batch_norm
from methods.metamorphic.generator import CoordinateMLPs
from methods.metamorphic.losses import magnitude, reconstruction
from methods.metamorphic.smoothing import network_total_variation, shortest_path_order, total_variation

BLOCK = [(48, 64, 3, 3), (48,), (64, 48, 3, 3), (64,)]
NOISE = [0.30, -0.20, 0.45, -0.40, 0.10, -0.50]


def _near(found: Tensor, wanted: list[float]) -> None:
    torch.testing.assert_close(found.double(), torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-6)


def test_coordinates_of_one_block() -> None:
    raw = raw_coordinates(BLOCK)
    assert raw.shape == (6256, 6)
    assert raw[3367].tolist() == [2, 5, 7, 4, 64, 48]
    assert raw[3083].tolist() == [1, 11, 0, 4, 48, 1]
    u = normalise(raw, norm=64)
    _near(u[3367], [0.5, 0.078125, 0.145833, 0.0625, 1.0, 0.75])
    _near(u[3083], [0.25, 0.229167, 0, 0.0625, 0.75, 0.015625])


def test_coordinates_with_noise_in_both_variants() -> None:
    raw = raw_coordinates(BLOCK)[3367:3368]
    noise = torch.tensor([NOISE], dtype=torch.float64)
    met = perturb(raw, noise, norm=64)
    _near(met.u[0], [0.638889, 0.074883, 0.156809, 0.05625, 1.001562, 0.742344])
    assert (met.divisor.item(), met.tensor_id.item()) == (48, 2)
    neumeta = perturb(raw, noise, norm=64, variant="neumeta")
    _near(neumeta.u[0], [0.638889, 0.074883, 0.156842, 0.05625, 1.001562, 0.742188])
    assert (neumeta.divisor.item(), neumeta.tensor_id.item()) == (47.5, 2)
    noise[0, 0] = -0.30
    assert perturb(raw, noise, norm=64, variant="neumeta").tensor_id.item() == 1
    assert perturb(raw, noise, norm=64).tensor_id.item() == 2


def _code(layout: str = "a") -> Tensor:
    raw = raw_coordinates(BLOCK)[3367:3368]
    return encode(normalise(raw, norm=64), num_frequencies=2, layout=layout)[0]


def test_encoding_in_both_layouts() -> None:
    _near(
        _code()[6:],
        [
            *(1, 0, 0.242980, 0.970031, 0.442289, 0.896873, 0.195090, 0.980785, 0, -1, 0.707107, -0.707107),
            *(0, -1, 0.471397, 0.881921, 0.793353, 0.608761, 0.382683, 0.923880, 0, 1, -1, 0),
        ],
    )
    _near(
        _code("b")[6:18],
        [1, 0.242980, 0.442289, 0.195090, 0, 0.707107, 0, 0.970031, 0.896873, 0.980785, -1, -0.707107],
    )


@pytest.mark.parametrize(
    ("activation", "wanted", "first_tap"),
    [
        (
            "relu",
            [-0.099108, -0.068628, -0.020610, 0.032349, 0.076489, 0.100635, 0.099100, 0.072977, 0.029531],
            -0.00206476,
        ),
        (
            "elu",
            [0.404432, 0.534173, 0.397946, 0.069805, -0.284770, -0.489434, -0.442260, -0.165064, 0.206763],
            0.00842567,
        ),
    ],
)
def test_forward_pass_of_one_network(activation: str, wanted: list[float], first_tap: float) -> None:
    mlps = CoordinateMLPs(num_tensors=1, num_frequencies=2, hidden=4, layers=3, activation=activation).double()

    def weight(q: int, rows: int, columns: int) -> Tensor:
        r = torch.arange(1, rows + 1, dtype=torch.float64)[:, None]
        c = torch.arange(1, columns + 1, dtype=torch.float64)
        return 0.3 * torch.sin(0.7 * r + 0.4 * c + 0.9 * q)

    def bias(q: int, rows: int) -> Tensor:
        return 0.1 * torch.cos(0.5 * torch.arange(1, rows + 1, dtype=torch.float64) + q)

    with torch.no_grad():
        mlps.first_weight[0], mlps.first_bias[0] = weight(0, 4, 30), bias(0, 4)
        for q in (1, 2):
            mlps.residual_weight[q - 1, 0], mlps.residual_bias[q - 1, 0] = weight(q, 4, 4), bias(q, 4)
        mlps.last_weight[0], mlps.last_bias[0] = weight(3, 9, 4), bias(3, 9)
        mlps.scale.fill_(0.1)
        found = mlps(_code()[None, None], [0])[0, 0]
    _near(found, wanted)
    assert found[0].item() / 48 == pytest.approx(first_tap, abs=1e-8)


@pytest.mark.parametrize(
    ("frequencies", "hidden", "layers", "outputs", "count"),
    [
        (16, 256, 4, 9, 250_636),
        (32, 256, 8, 9, 562_960),
        (32, 512, 8, 9, 2_043_408),
        (32, 512, 8, 1, 2_039_304),
    ],
)
def test_parameters_of_the_published_sizes(
    frequencies: int, hidden: int, layers: int, outputs: int, count: int
) -> None:
    with torch.device("meta"):
        mlps = CoordinateMLPs(num_tensors=3, num_frequencies=frequencies, hidden=hidden, layers=layers, outputs=outputs)
    assert mlps.parameter_count() == count


def test_fusion_of_batch_normalisation() -> None:
    o, i, a, b = torch.meshgrid(*[torch.arange(size, dtype=torch.float64) for size in (2, 2, 3, 3)], indexing="ij")
    weight = torch.sin(1 + o + 2 * i + 3 * a + 5 * b)
    statistics = [
        torch.tensor(values, dtype=torch.float64) for values in ([1.1, 0.8], [0.05, -0.1], [0.2, -0.3], [0.5, 1.7])
    ]
    fused, bias = fuse_batch_norm(weight, None, *statistics)
    _near(torch.stack([fused[0, 0, 0, 0], fused[1, 1, 2, 2], fused.sum()]), [1.309009, 0.560156, 2.423006])
    _near(bias, [-0.261124, 0.084071])


def test_total_variation_of_three_tensors() -> None:
    vector = torch.arange(6, dtype=torch.float64).square() % 5
    r, c = torch.meshgrid(torch.arange(3, dtype=torch.float64), torch.arange(4, dtype=torch.float64), indexing="ij")
    matrix = torch.sin(r + 1) * torch.cos(2 * c + 1)
    o, i, a, b = torch.meshgrid(*[torch.arange(size, dtype=torch.float64) for size in (3, 2, 2, 2)], indexing="ij")
    kernel = torch.cos(o + 2 * i + 3 * a + 4 * b)
    _near(torch.stack([total_variation(t) for t in (vector, matrix, kernel)]), [8, 8.341142, 22.788376])
    assert network_total_variation([vector, matrix, kernel]).item() == pytest.approx(13.043173, abs=1e-6)


def test_losses_of_two_tensors() -> None:
    target = [torch.tensor([0.5, -1, 0.25]), torch.tensor([[2, 0], [-0.5, 1]])]
    given = [torch.tensor([0.4, -0.8, 0.5]), torch.tensor([[1.5, 0.1], [-0.5, 0.7]])]
    assert reconstruction(given, target).item() == pytest.approx(0.0625, abs=1e-6)
    assert reconstruction(given, target, weighted=True).item() == pytest.approx(0.046979, abs=1e-6)
    assert magnitude(given).item() == pytest.approx(2.756746, abs=1e-6)


def test_the_shortest_path_through_six_points() -> None:
    points = torch.tensor([(0.9, 0.2), (0.1, 0.8), (0.5, 0.5), (0.3, 0.6), (0.75, 0.1), (0.0, 1.0)])
    order = shortest_path_order(points)
    assert order == [0, 4, 2, 3, 1, 5]
    steps = points[order].double().diff(dim=0).abs().sum(dim=1)
    assert math.isclose(float(steps.sum()), 1.9, abs_tol=1e-6)
