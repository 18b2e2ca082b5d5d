"""A patched network in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.display import show_export, show_sizes, table, terminal

if TYPE_CHECKING:
    from methods.modules.patch_effect import TargetQuality
    from orchestrator.class_modules.patching import Patched


def show_patched(made: Patched) -> None:
    """Print what the patch did, what it costs, and where it was written."""
    console = terminal()
    console.print(f"class {made.class_name} of run {made.weak_run}, patched from run {made.strong_run} ({made.way})")
    effect = made.effect
    rows = [_row("weak network", effect.before), _row("patched", effect.after)]
    if effect.control is not None:
        rows.append(_row("control: trained layer, no module", effect.control))
    rows.append(_difference(effect.before, effect.after))
    console.print(table(("", "precision", "recall", "F1", "other classes"), rows, num_left=1))
    console.print(
        f"precision, recall and F1 of the class, and accuracy on all others, on {effect.num_samples} validation "
        "samples of the weak run"
    )
    if effect.after == effect.before:
        console.print("the patch changes nothing: no sample gets another class")
    elif effect.after.f1 < effect.before.f1:
        console.print("the patch does harm: the class is told apart worse than before; take another module or way")
    if effect.control is not None:
        console.print("what the module is worth is what the patched network has over the control")
    console.print(f"the module runs {made.module_macs_share:.1%} of the MACs of the network that it was cut from")
    show_sizes(console, dict(made.sizes), dict(made.weak_sizes), dense="the weak network's")
    show_export(made.export)


def _row(name: str, found: TargetQuality) -> tuple[str, ...]:
    return name, *(f"{value:.4f}" for value in (found.precision, found.recall, found.f1, found.others))


def _difference(before: TargetQuality, after: TargetQuality) -> tuple[str, ...]:
    names = ("precision", "recall", "f1", "others")
    return "change", *(f"{getattr(after, name) - getattr(before, name):+.4f}" for name in names)
