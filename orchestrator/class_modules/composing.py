"""From the class modules of a finished run to a file: the network for some of the classes, measured and described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from methods import artefact
from methods.contract import Normalization
from methods.export import Deployed, Format
from methods.measure import deployed_sizes
from methods.modules.compacting import deployed_form
from methods.modules.grading import CompositionQuality, composition_quality
from methods.modules.library import ModuleLibrary
from methods.modules.side_by_side import Delivered, as_network
from orchestrator.class_modules.naming import few, label_of
from orchestrator.errors import ExportRefused
from orchestrator.export.description import LOGITS, Subject, normalization_of
from orchestrator.export.place import choose_place
from orchestrator.export.write import Export, require_format, write_network
from orchestrator.library_results import stored_library
from orchestrator.runs import GradedVariant, RunResult
from orchestrator.samples import SamplesMissing, task_of
from orchestrator.sizes import Sizes

if TYPE_CHECKING:
    from orchestrator.store import Store


@dataclass(frozen=True)
class Composition:
    """A network composed of class modules, as written."""

    export: Export
    classes: tuple[str, ...]
    """In the order of the network's logits."""
    accuracy: float | None
    """On the validation samples of these classes; None for one class, or where the samples are not at hand."""
    num_samples: int
    """That it was measured on."""
    not_measured: str
    """Why there is no accuracy; empty where there is one."""
    sizes: dict[str, int]
    dense_sizes: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"export": self.export.to_json()}


def export_composition(
    key: str,
    classes: Sequence[str],
    *,
    store: Store,
    format: str | None = None,
    output: Path | None = None,
    force: bool = False,
    latency: bool = False,
) -> Composition:
    """Compose the modules of some classes, measure the network as deployed, and write it with a description beside it.

    Its logits come in the order of the run's classes, whatever the order here. Of one class it is that class's module.
    The store is only read. The accuracy is that on the run's validation samples, which are loaded for it; the locked
    test split is not opened.

    Args:
        key: Of a finished run in `store` that has class modules.
        classes: Names, as `pare modules show` lists them.
        format, output, force, latency: As in `export_network`.

    Raises:
        ExportRefused: A class is unknown or named twice, the format is not known, or a file is in the way.
        UnknownRecord: There is no such run, it is not finished, or it has no class modules.
        StoreProblem: The store cannot be read, or `output` cannot be written.
        ServiceMissing: The format needs a package that is not installed.
        RunFailed: The file does not compute what the network does; nothing is left of it.
    """
    kind = require_format(format, output)
    library, result = stored_library(store, key), store.finished_run(key)
    try:
        names = tuple(library.class_names[index] for index in library.indices(classes))
    except ValueError as error:
        raise ExportRefused(f"run {key}: {error}") from error
    place = choose_place(output, _file_name(key, names, kind), force=force)
    return _write(library, result, names, kind=kind, place=place, latency=latency)


def export_all(
    key: str, *, store: Store, format: str | None = None, output: Path | None = None, force: bool = False
) -> list[Composition]:
    """Write each class module of a run to a file of its own, in the order of the classes.

    Args:
        output: A folder, made if need be; None: the current one.
        key, store, format, force: As in `export_composition`.

    Raises:
        ExportRefused: `output` is a file, or one of the files is there already, and then none is written; see also
            `export_composition`, which the other errors are those of.
    """
    if output is not None and output.suffix and not output.is_dir():
        raise ExportRefused(f"{output}: every module becomes a file of its own; give --output a folder")
    kind = require_format(format, output)
    library, result = stored_library(store, key), store.finished_run(key)
    places = [choose_place(output, _file_name(key, (name,), kind), force=force) for name in library.class_names]
    return [
        _write(library, result, (name,), kind=kind, place=place, latency=False)
        for name, place in zip(library.class_names, places, strict=True)
    ]


def _write(
    library: ModuleLibrary,
    result: RunResult,
    names: tuple[str, ...],
    *,
    kind: Format,
    place: tuple[Path, Path],
    latency: bool,
) -> Composition:
    """Compose, measure, write; `names` in the order of the library."""
    composed = library.compose(names)
    deployed = as_deployed(composed, normalization_of(result))
    measured, not_measured = _measured(library, names, deployed, result)
    variant = GradedVariant(
        label=label_of(names),
        kind="module" if len(names) == 1 else "composed",
        settings={"classes": list(names), **library.settings},
        validation=dict(measured.values) if measured else {},
        per_class={name: dict(values) for name, values in measured.per_class.items()} if measured else {},
        sizes=Sizes(**deployed_sizes(composed)),
        reference_sizes=result.variants[0].reference_sizes,
    )
    subject = Subject(
        result,
        variant,
        deployed,
        chosen=f"{'the module' if len(names) == 1 else 'composed of the modules'} of {few(names)}",
        meaning=meaning_of(library, names),
        more={
            "classes": list(names),
            "validation_samples": measured.num_samples if measured else 0,
            "not_measured": not_measured,
            "modules": [card.model_dump() for card in _cards(result, names)],
        },
    )
    return Composition(
        export=write_network(subject, kind=kind, place=place, latency=latency),
        classes=names,
        accuracy=measured.values["accuracy"] if measured else None,
        num_samples=measured.num_samples if measured else 0,
        not_measured=not_measured,
        sizes=variant.sizes.model_dump(),
        dense_sizes=variant.reference_sizes.model_dump(),
    )


def as_deployed(delivered: Delivered, normalization: Normalization | None) -> Deployed:
    """What there is to export of a composition: deployed, written, and read back."""
    stored = artefact.encode(deployed_form(delivered))
    return Deployed(as_network(artefact.decode(stored)), stored, normalization)


def _measured(
    library: ModuleLibrary, names: Sequence[str], deployed: Deployed, result: RunResult
) -> tuple[CompositionQuality | None, str]:
    """How right the network is on validation samples of its classes; or why nobody can tell."""
    if len(names) == 1:
        return None, "a single module tells nothing apart: compose at least two classes"
    try:
        task = task_of(result)
    except SamplesMissing as missing:
        return None, str(missing)
    return composition_quality(deployed.network, library.indices(names), task.validation, task), ""


def meaning_of(library: ModuleLibrary, names: Sequence[str]) -> str:
    """Of the outputs; empty: as of every module."""
    if library.heads is None:
        return LOGITS if len(names) > 1 else ""
    if len(names) == 1:
        return (
            "the score of one class before the sigmoid: above 0 the module finds the class; compare it with those of "
            "other modules of the same run"
        )
    return "scores, one per class, before the sigmoid: the largest is the answer"


def _cards(result: RunResult, names: Sequence[str]) -> list[Any]:
    cards = result.modules.cards if result.modules else ()
    return [card for card in cards if card.class_name in names]


def _file_name(key: str, names: Sequence[str], kind: Format) -> str:
    return f"{key}-{label_of(names)}{kind.suffix}"
