"""Mending a weak network of a finished run with a class module of another: measured before and after, written with a
card that says all of it, and taken off again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from methods import artefact
from methods.contract import Split
from methods.export import FORMATS, Deployed, format_of
from methods.measure import count_macs, deployed_sizes, predict
from methods.measure.quality import classification_quality
from methods.modules.patch_effect import TargetQuality, target_quality
from methods.modules.patching import Way, patched, unpatched
from methods.networks.graph import Network
from orchestrator.class_modules.naming import digest_of
from orchestrator.class_modules.weak import (
    StrongModule,
    WeakNetwork,
    control_scores,
    fitting_way,
    open_module,
    open_weak,
    patch_layer,
)
from orchestrator.errors import ExportRefused, StoreProblem
from orchestrator.export.description import Subject
from orchestrator.export.place import choose_place, parts_of
from orchestrator.export.write import Export, require_format, write_network
from orchestrator.runs import GradedVariant
from orchestrator.sizes import Sizes

if TYPE_CHECKING:
    from orchestrator.store import Store

_MEANING = {
    "calibrated": "scores, one per class: the largest is the answer; the patched one may lie below 0 or above 1",
    "score": "probabilities, that of the patched class from its module: the largest is the answer",
    "trained_head": "logits, one per class: the largest is the answer",
}


@dataclass(frozen=True)
class PatchEffect:
    """A weak network on some samples, before and after."""

    num_samples: int
    before: TargetQuality
    after: TargetQuality
    control: TargetQuality | None
    """Of `trained_head`: the weak network behind a layer trained without any module; what the module itself is worth
    is what the patched network has over this."""


@dataclass(frozen=True)
class Patched:
    """A patched network, as written."""

    export: Export
    weak_run: str
    strong_run: str
    class_name: str
    """Of the weak run, the class that was patched."""
    way: Way
    effect: PatchEffect
    """On the weak run's validation samples."""
    sizes: Mapping[str, int]
    weak_sizes: Mapping[str, int]
    module_macs_share: float
    """Multiply-accumulates of the module as a share of the network that it was cut from: the published overhead."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"export": self.export.to_json()}


def export_patched(
    weak_key: str,
    strong_key: str,
    class_name: str,
    *,
    store: Store,
    weak_class: str | None = None,
    way: Way | None = None,
    variant: str | None = None,
    format: str | None = None,
    output: Path | None = None,
    force: bool = False,
    latency: bool = False,
) -> Patched:
    """Put a class module of a strong run into a weak run's network, measure, and write with a description beside it.

    The weak network and the module go in as they are deployed, and neither is changed: `unpatch` gives the weak one
    back. Figures are those of the weak run's validation samples; the locked test split is not opened.

    Args:
        weak_key: Of a finished run of a classifier.
        strong_key: Of a finished run with class modules.
        class_name: Of the strong run, whose module is taken.
        store: Where both lie.
        weak_class: What the weak run calls that class; None: the same.
        way: See `methods.modules.patching`; None: `score` for modules with heads, else `calibrated`.
        variant: Of the weak run; None: its headline.
        format, output, force, latency: As in `export_network`.

    Raises:
        ExportRefused: Runs or classes that do not fit together, samples that are gone, an unknown format, or a file in
            the way.
        UnknownRecord: There is no such run or variant, it is not finished, or it has no class modules.
        StoreProblem: The store cannot be read, or `output` cannot be written.
        ServiceMissing: The format needs a package that is not installed.
        RunFailed: The file does not compute what the network does; nothing is left of it.
    """
    kind = require_format(format, output)
    weak = open_weak(store, weak_key, variant=variant)
    module = open_module(store, strong_key, class_name, weak=weak)
    name = weak_class or class_name
    target = weak.class_index(name)
    chosen = fitting_way(module, way)
    label = f"patched-{digest_of([weak_key, strong_key, class_name, name, chosen])}"
    place = choose_place(output, f"{weak_key}-{label}{kind.suffix}", force=force)
    deployed = patched_deployed(weak, module, target=target, way=chosen)
    variant_sizes = Sizes(**deployed_sizes(deployed.network))
    weak_sizes = Sizes(**deployed_sizes(weak.network))
    overhead = macs_of(module.network) / macs_of(module.library.network)
    scores = predict(deployed.network, weak.task.validation, normalization=weak.normalization, device="cpu")
    effect = effect_of(scores, weak, weak.task.validation, target=target, way=chosen)
    quality = classification_quality(
        scores.argmax(dim=1), weak.task.validation.targets.cpu(), class_names=weak.task.info.class_names
    )
    subject = Subject(
        weak.result,
        GradedVariant(
            label=label,
            kind="whole",
            settings={"patched": name, "way": chosen},
            validation=dict(quality.values),
            per_class={one: dict(values) for one, values in quality.per_class.items()},
            sizes=variant_sizes,
            reference_sizes=weak.result.variants[0].reference_sizes,
        ),
        deployed,
        chosen=f"the weak network's '{weak.variant}' with the module of '{class_name}' for '{name}', {chosen}",
        meaning=_MEANING[chosen],
        runs=(weak.result, module.result),
        more={
            "patch": {
                "class": name,
                "way": chosen,
                "weak": {"run_key": weak_key, "variant": weak.variant, "sizes": weak_sizes.model_dump()},
                "module": _card(module, overhead),
                "effect": {
                    "split": "validation",
                    "data_fingerprint": weak.result.run.data_fingerprint,
                    **asdict(effect),
                },
                "rollback": "pare modules unpatch FILE gives the weak network back, bit for bit",
            }
        },
    )
    return Patched(
        export=write_network(subject, kind=kind, place=place, latency=latency),
        weak_run=weak_key,
        strong_run=strong_key,
        class_name=name,
        way=chosen,
        effect=effect,
        sizes=variant_sizes.model_dump(),
        weak_sizes=weak_sizes.model_dump(),
        module_macs_share=overhead,
    )


def patched_deployed(weak: WeakNetwork, module: StrongModule, *, target: int, way: Way) -> Deployed:
    """The patched network as it is stored: deployed parts, and behind them the layer in float16."""
    network = patched(weak.network, module.network, patch_layer(weak, module, target=target, way=way)).eval()
    return Deployed(network, artefact.encode(network), weak.normalization)


def effect_of(after_NK: Tensor, weak: WeakNetwork, split: Split, *, target: int, way: Way) -> PatchEffect:
    """What the patch does on some samples of the weak run's task.

    Args:
        after_NK: What the patched network answers.

    Raises:
        ExportRefused: There are none of the class, or none of the others.
    """
    targets = split.targets.cpu()
    own = int((targets == target).sum())
    if own in (0, len(targets)):
        raise ExportRefused(
            f"run {weak.result.key}: {own} of {len(targets)} samples to measure on are of the class "
            f"'{weak.task.info.class_names[target]}'; a patch is measured on some of it and some of the others, so "
            "take a task with more samples"
        )
    control = control_scores(weak, split) if way == "trained_head" else None
    return PatchEffect(
        num_samples=len(split),
        before=target_quality(weak.logits(split), targets, target=target),
        after=target_quality(after_NK, targets, target=target),
        control=None if control is None else target_quality(control, targets, target=target),
    )


def unpatch(file: Path, *, output: Path | None = None, force: bool = False) -> Path:
    """Take the patch off again: write the weak network as it was before, and a description beside it.

    Args:
        file: Of `export_patched`, in the format safetensors or artefact.
        output: File or folder; None: the current folder.
        force: Replace what lies there.

    Raises:
        ExportRefused: The file is none of a patched network, or of a format that cannot be taken apart; or a file is in
            the way.
        StoreProblem: It cannot be read or written.
    """
    kind = format_of(file.name)
    if kind is None or kind.name not in ("safetensors", "artefact"):
        raise ExportRefused(
            f"{file}: only safetensors and artefact files can be taken apart; patch again from the runs, or export the "
            "weak run itself with `pare export`"
        )
    try:
        read = kind.read(file.read_bytes())
        if not isinstance(read, Network):
            raise ValueError("class modules side by side are no patched network, so there is nothing to take off")
        network = unpatched(read)
    except OSError as error:
        raise StoreProblem(f"{file}: {error.strerror or error}") from error
    except ValueError as error:
        raise ExportRefused(f"{file}: {error}") from error
    described = file.with_name(f"{file.name}.json")
    card = _patch_card(described) if described.exists() else {}
    name = file.name.removesuffix(kind.suffix)
    place = choose_place(output, f"{name}-unpatched{kind.suffix}", force=force)
    suffixed = format_of(place[0].name)
    if suffixed is not None and suffixed.name != kind.name:
        raise ExportRefused(f"{place[0]}: the weak network comes back as {kind.name}; name it {kind.suffix}")
    with parts_of(place[1], place[0]) as (description_part, part):
        deployed = Deployed(network, artefact.encode(network), None)
        part.write_bytes(FORMATS[kind.name].write(deployed))
        told = {"format": kind.name, "weak": card.get("weak"), "rolled_back_from": file.name, "patch": card}
        description_part.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return place[0]


def _patch_card(described: Path) -> dict[str, Any]:
    """What the description beside a patched network says of the patch; empty where it says nothing."""
    try:
        told = json.loads(described.read_text(encoding="utf-8"))
        return dict(told.get("patch", {}))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise StoreProblem(
            f"{described} is no description of a network ({error}); move it away, and the patch is taken off without it"
        ) from error


def _card(module: StrongModule, overhead: float) -> dict[str, Any]:
    """What the module is, what it was tested on, and how it did there."""
    result = module.result
    cards = result.modules.cards if result.modules else ()
    card = next((card for card in cards if card.class_name == module.class_name), None)
    return {
        "run_key": result.key,
        "method": result.run.method,
        "class": module.class_name,
        "tested_on": {
            "task": result.run.task_name,
            "data_fingerprint": result.run.data_fingerprint,
            "split": "validation",
            "samples": len(module.task.validation),
        },
        "card": None if card is None else card.model_dump(),
        "macs_share": overhead,
    }


def macs_of(network: Network) -> int:
    """Multiply-accumulates for one sample."""
    return count_macs(network, network.architecture.input_shape)
