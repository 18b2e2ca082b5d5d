"""Users' own modules: the same function as a graph of layers, or a reason why not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.contract import SilentMonitor
from methods.dense import Dense
from methods.magnitude.config import MagnitudeConfig
from methods.magnitude.method import Magnitude
from methods.networks import catalog
from methods.networks.architecture import Architecture, Shape
from methods.networks.catalog import check_network, design_network, network_names, register_network
from methods.networks.tracing import NotTraceable, traced
from methods.odf2nna.config import Odf2nnaConfig
from methods.odf2nna.method import Odf2nna
from methods.surgery import deploy, extract
from methods.training.config import DenseConfig
from tests.methods.small_tasks import a_task


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.wide = nn.Conv2d(6, 4, (1, 3), padding=(0, 1))
        self.drop = nn.Dropout(0.3)
        self.out = nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        y = torch.relu(self.second(x))
        y = F.max_pool2d(self.depthwise(y) + x, 2)
        z = torch.cat([y, self.wide(y).relu()], 1)
        z = F.adaptive_avg_pool2d(z, 1)
        return self.out(self.drop(torch.flatten(z, 1)))


def _sequential() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8, eps=1e-3),
        nn.ReLU(inplace=True),
        nn.AvgPool2d(2),
        nn.Identity(),
        nn.Flatten(),
        nn.Dropout(0.0),
        nn.Linear(32, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Linear(16, 10),
    )


def _perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 10))


@pytest.mark.parametrize("make", [Residual, _sequential, _perceptron])
def test_the_network_computes_what_the_module_does_and_can_be_cut(make: Any) -> None:
    torch.manual_seed(0)
    module = make()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean = torch.rand(layer.num_features)
            layer.running_var = 0.5 + torch.rand(layer.num_features)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    network = traced(module, (1, 8, 8))
    x = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(x), module.eval()(x), atol=1e-6, rtol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in module.parameters())
    keep = {site.name: torch.arange(site.units) % 2 == 0 for site in network.sites}
    assert keep
    with torch.no_grad():
        torch.testing.assert_close(
            extract(network, keep).eval()(x), network.run(x, keep=keep).logits, atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(deploy(network)(x), network(x), atol=1e-5, rtol=1e-4)


def _broken(**changes: Any) -> nn.Module:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = changes.get("conv", nn.Conv2d(1, 4, 3, padding=1))
            self.out = nn.Linear(4, 2)
            self.extra = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return self.out(changes.get("between", lambda _, y: y.relu().mean((2, 3)))(self, self.conv(x)))

    return Broken()


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (_broken(), r"mean at 'mean': has no layer here"),
        (_broken(between=lambda _, y: y.view(y.size(0), -1)), r"size at 'size': write flatten\(x, 1\)"),
        (_broken(between=lambda m, y: y * m.extra), "reads the tensor 'extra' by itself"),
        (_broken(between=lambda _, y: y if y.sum() > 0 else -y), "without conditions or loops"),
        (_broken(between=lambda _, y: F.relu(y + 1).flatten(1)), "'add' takes a number"),
        (_broken(between=lambda _, y: torch.cat([y, y], 2)), "joins along axis 2; only channels"),
        (_broken(between=lambda _, y: F.dropout(y)), "use the layer nn.Dropout"),
        (_broken(between=lambda _, y: y.flatten()), "flatten from axis 1"),
        (_broken(conv=nn.Conv2d(1, 4, 3, dilation=2)), r"Broken.conv \(Conv2d\): only zero padding"),
        (_broken(conv=nn.Conv2d(1, 4, 3, padding_mode="circular", padding=1)), "only zero padding"),
        (_broken(conv=nn.ConvTranspose2d(1, 4, 3)), r"Broken.conv \(ConvTranspose2d\): has no layer here"),
        (nn.Sequential(nn.Conv2d(4, 8, 3, groups=2)), "2 groups; only 1, or each channel by itself"),
        (nn.Sequential(nn.BatchNorm2d(1, affine=False)), "needs scale, shift"),
        (nn.Sequential(nn.MaxPool2d(2, ceil_mode=True)), "ceil_mode = True; only False"),
        (nn.Sequential(nn.Conv2d(1, 4, 3)), "must give a vector of logits"),
    ],
)
def test_what_a_graph_of_layers_cannot_hold_is_refused_by_name(module: nn.Module, said: str) -> None:
    with pytest.raises(NotTraceable, match=said):
        traced(module, (1, 8, 8))


def test_a_layer_that_is_used_twice_is_refused() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(torch.relu(self.layer(x)))

    with pytest.raises(NotTraceable, match=r"Shared.layer \(Linear\): is used twice"):
        traced(Shared(), (4,))


def _own(input_shape: Shape, num_outputs: int) -> Architecture:
    hidden = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU())
    return traced(nn.Sequential(*hidden, nn.Linear(16, num_outputs)), input_shape).architecture


def test_methods_run_on_a_registered_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_registered", {})
    register_network("own_net", _own)
    assert "own_net" in network_names()
    assert check_network("own_net", {"widths": [3]})[0].startswith("network 'own_net' has no argument 'widths'")
    task = a_task("digits", "own_net", epochs=6, fraction=0.3, validation_share=0.2)
    dense = Dense(DenseConfig()).fit(task, {}, SilentMonitor()).variants[0].network
    for method in (Magnitude(MagnitudeConfig()), Odf2nna(Odf2nnaConfig())):
        outcome = method.fit(task, {"dense": dense}, SilentMonitor())
        assert outcome.variants
    with pytest.raises(ValueError, match="there already"):
        register_network("own_net", _own)
    with pytest.raises(ValueError, match="has one width"):
        design_network("own_net", input_shape=(1, 8, 8), num_outputs=10, width=0.5)


def test_a_function_that_gives_no_architecture_is_told_what_to_return(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_registered", {"raw": lambda _shape, _outputs: nn.Linear(4, 2)})
    with pytest.raises(ValueError, match=r"gave a Linear; return `traced\(module, input_shape\).architecture`"):
        design_network("raw", input_shape=(4,), num_outputs=2)
