import torch

from methods.modules.heads import ModuleHead, ModuleHeads


def test_a_head_has_the_values_worked_out() -> None:
    head = ModuleHead(4).double()
    row, column = torch.meshgrid(torch.arange(10.0), torch.arange(4.0), indexing="ij")
    steps = torch.arange(10, dtype=torch.float64)
    with torch.no_grad():
        head.hidden.weight.copy_(0.5 * torch.sin(1 + row.double() + 2 * column.double()))
        head.hidden.bias.copy_(0.1 * torch.cos(steps))
        head.score.weight.copy_(0.4 * torch.cos(2 * steps + 1)[None])
        head.score.bias.fill_(-0.05)
        logits = 2 * torch.cos(torch.arange(1, 5, dtype=torch.float64))[None]
        assert abs(head.before_sigmoid(logits).item() + 0.186700) < 5e-7
        assert abs(head(logits).item() - 0.453460) < 5e-7


def test_ten_classes_make_121_parameters_a_head() -> None:
    assert sum(value.numel() for value in ModuleHead(10).parameters()) == 121
    assert sum(value.numel() for value in ModuleHeads(10, 10).parameters()) == 1210


def test_a_stack_equals_its_heads_one_by_one() -> None:
    heads = ModuleHeads(3, 5)
    heads.initialise(torch.Generator().manual_seed(0))
    logits = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(1))
    stacked = heads(logits)
    assert stacked.shape == (7, 3)
    for module in range(3):
        torch.testing.assert_close(stacked[:, module], heads.head(module).before_sigmoid(logits[module]))
    torch.testing.assert_close(heads.picked([2, 0])(logits[[2, 0]]), stacked[:, [2, 0]])


def test_initial_weights_come_from_the_generator_within_the_bounds_of_the_framework() -> None:
    heads, again = ModuleHeads(4, 16), ModuleHeads(4, 16)
    for stack in (heads, again):
        stack.initialise(torch.Generator().manual_seed(5))
    assert all(torch.equal(a, b) for a, b in zip(heads.parameters(), again.parameters(), strict=True))
    assert 0.2 < heads.hidden_weight.abs().max() <= 0.25
    assert 0.25 < heads.score_weight.abs().max() <= 10**-0.5
