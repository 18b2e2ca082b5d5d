import pytest
import torch
from torch import Tensor, nn

from methods.networks.architecture import Architecture, Node
from methods.networks.build import initialise
from methods.networks.graph import Network
from methods.networks.stacked import run_stacked
from tests.methods.networks import samples

COPIES, BATCH = 3, 5


def _network(architecture: Architecture) -> Network:
    return samples.disturbed(Network(architecture), seed=0).double().eval()


def _masks(network: Network, names: list[str], *, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    units = {site.name: site.units for site in network.sites}
    return {name: (torch.rand(COPIES, units[name], generator=generator) > 0.4).double() for name in names}


def _inputs(network: Network) -> Tensor:
    shape = (BATCH, *network.architecture.input_shape)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _looped(network: Network, x: Tensor, masks: dict[str, Tensor]) -> Tensor:
    """One copy after the other, with masks that carry gradients: what a straightforward implementation does."""
    outputs = []
    for copy in range(COPIES):
        values = {network.architecture.nodes[0].name: x}
        for node, step in zip(network.architecture.nodes[1:], network.steps, strict=True):
            value = step.function(*[values[name] for name in node.inputs])
            if node.name in masks:
                value = value * masks[node.name][copy].reshape(1, -1, *[1] * (value.dim() - 2))
            values[node.name] = value
        outputs.append(values[network.architecture.nodes[-1].name])
    return torch.stack(outputs)


@pytest.mark.parametrize("name", ["inception", "mobile", "preactivated", "resnet20", "small_cnn", "vgg16"])
@pytest.mark.parametrize("first", [0, 1], ids=["from the first site", "from the second"])
def test_a_stacked_pass_equals_the_loop_over_copies_in_outputs_and_gradients(name: str, first: int) -> None:
    network = samples.sample_network(name).double().eval()
    names = [site.name for site in network.sites][first:]
    x = _inputs(network)
    weights = torch.randn(COPIES, BATCH, network.architecture.num_outputs, dtype=torch.float64)
    found = []
    for run in (run_stacked, _looped):
        masks = {name: mask.clone().requires_grad_() for name, mask in _masks(network, names).items()}
        inputs = x.clone().requires_grad_()
        logits = run(network, inputs, masks)
        (logits * weights).sum().backward()
        found.append([logits, inputs.grad, *(mask.grad for mask in masks.values())])
    for stacked, looped in zip(*found, strict=True):
        torch.testing.assert_close(stacked, looped, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), ([3, 2], [2, 1]), (2, 3)])
def test_pooling_before_the_mask_has_the_gradients_of_pooling_after_it(kernel: object, stride: object) -> None:
    """Under a mask of 0 a window is all zeros, of which pooling takes the first value."""
    nodes = (
        Node("input", "input"),
        samples.conv("c1", "input", (2, 6), bias=True),
        samples.relu("r1", "c1"),
        Node("pool", "max_pool", ("r1",), {"kernel_size": kernel, "stride": stride}),
        samples.conv("c2", "pool", (6, 4), bias=True),
        samples.relu("r2", "c2"),
        Node("pool2", "max_pool", ("r2",), {"kernel_size": 2, "stride": 1}),
        Node("flat", "global_avg_pool", ("pool2",)),
        samples.linear("out", "flat", (4, 3)),
    )
    network = Network(Architecture(nodes, (2, 9, 8)))
    initialise(network, seed=0)
    network.double()
    found = []
    for run in (run_stacked, _looped):
        masks = {name: mask.clone().requires_grad_() for name, mask in _masks(network, ["r1", "r2"]).items()}
        inputs = _inputs(network).requires_grad_()
        logits = run(network, inputs, masks)
        logits.square().sum().backward()
        found.append([logits, inputs.grad, *(mask.grad for mask in masks.values())])
    assert (found[0][2][_masks(network, ["r1"])["r1"] == 0] != 0).any(), "masks of 0 have gradients"
    for stacked, looped in zip(*found, strict=True):
        torch.testing.assert_close(stacked, looped, rtol=1e-10, atol=1e-12)


def test_masks_of_ones_and_zeros_equal_keep_sets() -> None:
    network = _network(samples.inception())
    masks = _masks(network, [site.name for site in network.sites])
    x = _inputs(network)
    stacked = run_stacked(network, x, masks)
    for copy in range(COPIES):
        kept = network.run(x, keep={name: mask[copy] > 0 for name, mask in masks.items()}).logits
        torch.testing.assert_close(stacked[copy], kept, rtol=1e-10, atol=1e-12)


def test_a_site_of_neurons_can_be_masked_and_the_network_end_in_a_mask_free_part() -> None:
    nodes = (
        Node("input", "input"),
        samples.linear("first", "input", (4, 6)),
        samples.relu("r", "first"),
        samples.linear("out", "r", (6, 3)),
    )
    network = _network(Architecture(nodes, (4,)))
    masks = _masks(network, ["r"])
    torch.testing.assert_close(
        run_stacked(network, _inputs(network), masks), _looped(network, _inputs(network), masks), rtol=1e-10, atol=1e-12
    )


def test_a_masked_site_may_end_the_network() -> None:
    nodes = (Node("input", "input"), samples.linear("l", "input", (4, 3)), samples.relu("r", "l"))
    network = Network(Architecture(nodes, (4,)))
    initialise(network, seed=0)
    network.double()
    masks = _masks(network, ["r"])
    x = _inputs(network)
    torch.testing.assert_close(run_stacked(network, x, masks), _looped(network, x, masks), rtol=1e-10, atol=1e-12)


def test_gradients_of_the_fused_function_are_those_of_finite_differences() -> None:
    network = _network(samples.inception())
    network.requires_grad_(False)
    names = [site.name for site in network.sites][:2]
    masks = [mask.requires_grad_() for mask in _masks(network, names).values()]
    x = _inputs(network).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda inputs, *given: run_stacked(network, inputs, dict(zip(names, given, strict=True))), (x, *masks)
    )


def test_masks_that_fit_nothing_are_refused() -> None:
    network = _network(samples.inception())
    x = _inputs(network)
    with pytest.raises(ValueError, match="no site 'nowhere'; the network's sites are r1"):
        run_stacked(network, x, {"nowhere": torch.ones(2, 6)})
    with pytest.raises(ValueError, match="at least one mask"):
        run_stacked(network, x, {})
    with pytest.raises(ValueError, match=r"copies; give at least one mask, and the same number"):
        run_stacked(network, x, {"r1": torch.ones(2, 6), "left_relu": torch.ones(3, 4)})
    with pytest.raises(ValueError, match="the site has 6 units"):
        run_stacked(network, x, {"r1": torch.ones(2, 5)})


def test_weights_and_statistics_are_left_alone() -> None:
    network = _network(samples.mobile())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    masks = _masks(network, [network.sites[0].name])
    run_stacked(network, _inputs(network), masks)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert isinstance(network, nn.Module)
